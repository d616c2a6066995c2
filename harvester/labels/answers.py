"""Answer serialiser: writes the answer lists of a label row in one fixed form.

A label row has such lists in `object_answers`, `object_actions` and `classification_answers`. As sent by the
server, a list is flat and in no particular order: the answer to an attribute that is nested under an option
stands beside the answer to its parent attribute, and only the ontology says that they belong together. A
checklist may be sent as one item per option. The output is in ontology order, depth first, and each item
names the option that it is nested under; see `harvester.schema.AnswerItem`.
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
# Bounds of an `AnswerCache`: the number of answer lists, and the bytes of one list, as sent plus as written.
# Together they limit a cache to 16 MB.
_CACHED_LISTS = 4096
_CACHED_BYTES = 4096

_ITEM = (
    b'{"name":%b,"value":%b,"feature_hash":%b,"parent":%b,"manual_annotation":%b,'
    b'"options":%b,"text":%b,"number":%b,"ranges":%b}'
)
_MANUAL = (b"true", b"false", NULL)
# Characters. An integer of at most this many digits always fits in 64 bits.
_SHORT_NUMBER = 18
# Characters of the longest 64-bit integer, with its sign. Checked before int() is called, because Python
# raises ValueError for integers of more than 4,300 digits.
_LONGEST_INTEGER = 20


class Answer(msgspec.Struct, rename="camel", gc=False):
    """One answer as sent by the server. Only dynamic answers have `range` and `space_id`."""

    name: msgspec.Raw = _RAW_NULL
    value: msgspec.Raw = _RAW_NULL
    feature_hash: str | None = None
    manual_annotation: msgspec.Raw = _RAW_NULL
    answers: msgspec.Raw = _RAW_NULL
    range: msgspec.Raw = _RAW_NULL
    space_id: str | None = None


class AnswerList(NamedTuple):
    """Answers as a JSON list, ready to be written.

    `as_text` is true if at least one answer has a form that harvester does not know. The key `text` of that
    item then holds the answer as sent, as JSON text.
    """

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

# (parent attribute, parent option) -> the answered attributes nested under it, all by feature hash. The key
# of attributes that are not nested is (None, None).
_ByParent = dict[tuple[str | None, str | None], list[str]]
# Feature hash as JSON -> chosen option. The key of an option without a feature hash is its whole JSON.
_Chosen = dict[bytes, _ChosenOption]

NO_ANSWERS = AnswerList(b"[]")


class AnswerSerialiser:
    """Serialises answer lists in the order and with the names of an ontology. Thread-safe."""

    def __init__(self, ontology: Ontology) -> None:
        self._attributes = ontology.attributes

    def serialise_static(self, answers: JSON) -> AnswerList:
        """Return the JSON list to write for a list of static answers (or null) as sent."""
        return self.serialise(_decode_answers(answers) or ())

    def in_ontology_order(self, actions: msgspec.Raw) -> list[Answer]:
        """Decode a list of dynamic answers (or null), in ontology order. Unknown attributes come last."""
        last = len(self._attributes)
        return sorted(
            _decode_answers(actions) or (),
            key=lambda answer: (
                self._attributes[answer.feature_hash].order
                if answer.feature_hash in self._attributes
                else last
            ),
        )

    def serialise(self, answers: Iterable[Answer], ranges: JSON = NULL) -> AnswerList:
        """Return the JSON list of `answers`, each with the same `ranges`.

        If an attribute is answered more than once, the last answer wins. For a checklist, the options of all
        its answers are united.
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
        # The remaining answers are nested under options that are not chosen. They are written all the same,
        # like answers to attributes that the ontology does not know: an export must not lose data.
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
                for answer in given:  # one of them is no list of options: write each of them on its own
                    items.add(answer, attribute.name, nested_in, _chosen([answer]))
                continue
            chosen = chosen and _in_ontology_words(attribute, chosen)
            items.add(given[-1], attribute.name, nested_in, chosen)
            if chosen and by_parent:
                for feature_hash, option in attribute.options.items():
                    if option.feature in chosen:
                        self._add_below((feature, feature_hash), known, by_parent, items)


class _Items:
    """Collects the items of one answer list. `as_text` has the meaning that it has in `AnswerList`."""

    def __init__(self, ranges: JSON) -> None:
        self.written: list[bytes] = []
        self.as_text = False
        self._ranges = ranges

    def add(self, answer: Answer, name: JSON, parent: bytes, chosen: _Chosen | None) -> None:
        """Add an item. `chosen`: the chosen options, or None if the answer is not a list of options."""
        value, manual, answers = bytes(answer.value), bytes(answer.manual_annotation), bytes(answer.answers)
        options = text = number = NULL
        if not (_is_text(name) and _is_text(value) and manual in _MANUAL):
            # An unknown form: write the whole answer as JSON text, so that nothing is lost.
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


class AnswerCache(dict[Key, AnswerList]):
    """Bounded cache: answers as sent -> answers as written. The same answers recur on thousands of labels.

    Safe to use from many threads: each operation on the dictionary is atomic. If two threads miss the same
    key at the same time, both serialise it, with the same result.
    """

    def keep(self, key: Key, sent: bytes, written: AnswerList) -> None:
        """Add an entry, unless it is too long for the cache. `sent` are the bytes that `key` is made of."""
        if len(sent) + len(written.json) <= _CACHED_BYTES:
            if len(self) >= _CACHED_LISTS:
                self.clear()
            self[key] = written


class StaticAnswerCache(AnswerCache[bytes]):
    """Cache: a list of static answers (or null) as sent -> its JSON list as written. A miss serialises it."""

    def __init__(self, serialiser: AnswerSerialiser) -> None:
        self._serialiser = serialiser

    def __missing__(self, sent: bytes) -> AnswerList:
        written = self._serialiser.serialise_static(sent)
        self.keep(sent, sent, written)
        return written


def _chosen(given: Iterable[Answer]) -> _Chosen | None:
    """Return the chosen options of all answers in `given`, or None if one of them is no list of options."""
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
    """Return whether each field of an option is text or null, and at least one is text."""
    fields = (option.name, option.value, option.feature_hash)
    return all(map(_is_text, fields)) and any(bytes(field) != NULL for field in fields)


def _in_ontology_words(attribute: Attribute, chosen: _Chosen) -> _Chosen:
    """Return `chosen` in ontology order and with the ontology's names. Unknown options come last, as sent."""
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
    """Return whether this JSON value is a text or null."""
    start = bytes(memoryview(sent)[:1])
    return start in (b'"', b"n")


def _is_number(sent: bytes) -> bool:
    """Return whether this JSON value is a number that fits in a 64-bit integer or a double."""
    if not sent or sent[:1] not in b"-0123456789":
        return False
    if len(sent) <= _SHORT_NUMBER and sent.isdigit():
        return True
    if sent.lstrip(b"-").isdigit():
        return len(sent) <= _LONGEST_INTEGER and -(2**63) <= int(sent) < 2**63
    return math.isfinite(float(sent))


def _as_text(sent: bytes) -> bytes:
    """Return JSON as a JSON text: quoted and escaped."""
    return _encode(sent.decode())
