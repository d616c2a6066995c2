"""Answers: the lists of `object_answers`, `object_actions` and `classification_answers`, in one fixed shape.

On the wire, the answer to an attribute nested under an option is a sibling of its parent's, tied to it only
through the ontology; a checklist may come as one dict an option; order means nothing. Here answers stand in
ontology order, depth first, each with the option that it is nested in; see `harvester.schema.AnswerItem`.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec

from harvester.labels.ontology import Attribute, Ontology

JSON = bytes | msgspec.Raw
Key = TypeVar("Key")

NULL = b"null"
_RAW_NULL = msgspec.Raw(NULL)
# Bounds of a `Written` cache: how many lists, and the bytes of one, as sent and as written. 16 MB at most.
_CACHED_LISTS = 4096
_CACHED_BYTES = 4096

_ITEM = (
    b'{"name":%b,"value":%b,"feature_hash":%b,"parent":%b,"manual_annotation":%b,'
    b'"options":%b,"text":%b,"number":%b,"ranges":%b}'
)
_MANUAL = (b"true", b"false", NULL)
# A number of at most so many characters is within 64 bits, and within a double if it has no exponent.
_SHORT_NUMBER = 18


class Answer(msgspec.Struct, rename="camel", gc=False):
    """One answer as sent. `range` and `space_id` are there on dynamic answers only."""

    name: msgspec.Raw = _RAW_NULL
    value: msgspec.Raw = _RAW_NULL
    feature_hash: str | None = None
    manual_annotation: msgspec.Raw = _RAW_NULL
    answers: msgspec.Raw = _RAW_NULL
    range: msgspec.Raw = _RAW_NULL
    space_id: str | None = None


class AnswerList(NamedTuple):
    """The JSON list of some answers; `as_text` if one has a form that fits nowhere, and stands in `text`."""

    json: bytes
    as_text: bool = False


class _ChosenOption(msgspec.Struct, rename="camel", gc=False):
    name: msgspec.Raw = _RAW_NULL
    value: msgspec.Raw = _RAW_NULL
    feature_hash: msgspec.Raw = _RAW_NULL


_decode_list = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_answers = msgspec.json.Decoder(list[Answer] | None).decode
_decode_options = msgspec.json.Decoder(list[_ChosenOption]).decode
_encode = msgspec.json.encode

# The answered attributes by the attribute and option that they are nested under; None, None for roots.
_ByParent = dict[tuple[str | None, str | None], list[str]]
# Chosen options by feature hash as JSON (without one: by their own JSON).
_Chosen = dict[bytes, _ChosenOption]

NO_ANSWERS = AnswerList(b"[]")


class AnswerWriter:
    """Turns answers as sent into answers as written, by an ontology. Safe to use from many threads."""

    def __init__(self, ontology: Ontology) -> None:
        self._attributes = ontology.attributes

    def static(self, answers: JSON) -> AnswerList:
        """A list of answers (or null) as sent, as the JSON list to write."""
        return self.written(_decode_answers(answers) or ())

    def in_ontology_order(self, actions: msgspec.Raw) -> list[Answer]:
        """A list of dynamic answers (or null) as sent, decoded; unknown ones last."""
        last = len(self._attributes)
        return sorted(
            _decode_answers(actions) or (),
            key=lambda answer: (
                self._attributes[answer.feature_hash].order
                if answer.feature_hash in self._attributes
                else last
            ),
        )

    def written(self, answers: Iterable[Answer], ranges: JSON = NULL) -> AnswerList:
        """The JSON list of `answers`, each with these `ranges`.

        A later answer to a text, number or radio replaces an earlier one; checklists are unioned.
        """
        known: dict[str, list[Answer]] = {}
        unknown: list[Answer] = []
        for answer in answers:
            if answer.feature_hash in self._attributes:
                known.setdefault(answer.feature_hash, []).append(answer)
            else:
                unknown.append(answer)
        by_parent: _ByParent = {}
        for feature in sorted(known, key=lambda feature: self._attributes[feature].order):
            attribute = self._attributes[feature]
            by_parent.setdefault((attribute.parent, attribute.parent_option), []).append(feature)
        items = _Items(ranges)
        self._add_below((None, None), known, by_parent, items)
        # What is left is nested under an option that is not chosen. It is kept, like what the ontology does
        # not know.
        while by_parent:
            self._add_below(next(iter(by_parent)), known, by_parent, items)
        for answer in unknown:
            items.add(answer, answer.name, NULL, _chosen([answer]))
        return AnswerList(b"[%b]" % b",".join(items.written), items.as_text)

    def _add_below(
        self,
        parent: tuple[str | None, str | None],
        known: dict[str, list[Answer]],
        by_parent: _ByParent,
        items: "_Items",
    ) -> None:
        for feature in by_parent.pop(parent, ()):
            attribute, given = self._attributes[feature], known[feature]
            nested_in = NULL if attribute.parent_option is None else _encode(attribute.parent_option)
            chosen = _chosen(given if attribute.type == "checklist" else given[-1:])
            if chosen is None and attribute.type == "checklist":
                for answer in given:  # one of them is odd: none is left out
                    items.add(answer, attribute.name, nested_in, _chosen([answer]))
                continue
            chosen = chosen and _in_ontology_words(attribute, chosen)
            items.add(given[-1], attribute.name, nested_in, chosen)
            if chosen and by_parent:
                for feature_hash, option in attribute.options.items():
                    if option.feature in chosen:
                        self._add_below((feature, feature_hash), known, by_parent, items)


class _Items:
    """The items of one list in the making."""

    def __init__(self, ranges: JSON) -> None:
        self.written: list[bytes] = []
        self.as_text = False
        self._ranges = ranges

    def add(self, answer: Answer, name: JSON, parent: bytes, chosen: _Chosen | None) -> None:
        """Adds an answer. `chosen` are its options, None where it is no list of options."""
        value, manual, answers = bytes(answer.value), bytes(answer.manual_annotation), bytes(answer.answers)
        options = text = number = NULL
        if not (_is_text(name) and _is_text(value) and manual in _MANUAL):
            # Not one of the forms that the platform has: all of it, as JSON text.
            text, self.as_text = _as_text(_encode(answer)), True
            name, value, manual = (
                name if _is_text(name) else NULL,
                value if _is_text(value) else NULL,
                manual if manual in _MANUAL else NULL,
            )
        elif chosen is not None:
            options = _options_json(chosen)
        elif answers[:1] == b'"':
            text = answers
        elif _is_number(answers):
            number = answers
        elif answers != NULL:
            text, self.as_text = _as_text(answers), True
        feature = NULL if answer.feature_hash is None else _encode(answer.feature_hash)
        self.written.append(
            _ITEM % (name, value, feature, parent, manual, options, text, number, self._ranges)
        )


class Written(dict[Key, AnswerList]):
    """Cache: answers as sent to answers as written. The same recur on thousands of labels. Bounded.

    Safe to use from many threads: each step is atomic, and threads that race do the same work twice.
    """

    def keep(self, key: Key, sent: bytes, written: AnswerList) -> None:
        """Remembers what was written for `sent`, which is (in) the `key`, unless they are long."""
        if len(sent) + len(written.json) <= _CACHED_BYTES:
            if len(self) >= _CACHED_LISTS:
                self.clear()
            self[key] = written


class StaticAnswers(Written[bytes]):
    """A list of static answers (or null) as sent, to what is written for it, which is found here or made."""

    def __init__(self, writer: AnswerWriter) -> None:
        self._writer = writer

    def __missing__(self, sent: bytes) -> AnswerList:
        written = self._writer.static(sent)
        self.keep(sent, sent, written)
        return written


def _chosen(given: Iterable[Answer]) -> _Chosen | None:
    """The chosen options of all that is `given`; None if one of them is no list of options."""
    chosen: _Chosen = {}
    for answer in given:
        options = _options(answer.answers)
        if options is None:
            return None
        for option in options:
            feature = bytes(option.feature_hash)
            chosen[_encode(option) if feature == NULL else feature] = option
    return chosen


def _options(answers: msgspec.Raw) -> list[_ChosenOption] | None:
    if bytes(memoryview(answers)[:1]) != b"[":
        return None
    try:
        options = _decode_options(answers)
    except msgspec.ValidationError:
        return None
    return options if all(map(_is_option, options)) else None


def _is_option(option: _ChosenOption) -> bool:
    """Whether all of it is text, and it says anything at all."""
    fields = (option.name, option.value, option.feature_hash)
    return all(map(_is_text, fields)) and any(bytes(field) != NULL for field in fields)


def _in_ontology_words(attribute: Attribute, chosen: _Chosen) -> _Chosen:
    """`chosen` in ontology order and with the ontology's names; what it does not know stays, last."""
    known = {
        option.feature: _ChosenOption(
            msgspec.Raw(option.name), msgspec.Raw(option.value), msgspec.Raw(option.feature)
        )
        for option in attribute.options.values()
        if option.feature in chosen
    }
    return known | {feature: option for feature, option in chosen.items() if feature not in known}


def _options_json(chosen: _Chosen) -> bytes:
    return b"[%b]" % b",".join(
        [
            b'{"name":%b,"value":%b,"feature_hash":%b}' % (option.name, option.value, option.feature_hash)
            for option in chosen.values()
        ]
    )


def _is_text(sent: JSON) -> bool:
    """Whether this JSON is a text, or null."""
    start = bytes(memoryview(sent)[:1])
    return start in (b'"', b"n")


def _is_number(sent: bytes) -> bool:
    """Whether this JSON is a number that readers of 64-bit integers and of doubles take."""
    if not sent or sent[:1] not in b"-0123456789":
        return False
    if len(sent) <= _SHORT_NUMBER and sent.isdigit():
        return True
    if sent.lstrip(b"-").isdigit():
        return -(2**63) <= int(sent) < 2**63
    return math.isfinite(float(sent))


def _as_text(sent: bytes) -> bytes:
    """JSON as a JSON text."""
    return _encode(sent.decode())
