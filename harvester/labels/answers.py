"""Answers: the flat lists of `object_answers`, `object_actions` and `classification_answers`, nested.

On the wire, the answer to an attribute nested under an option is a sibling of its parent's, tied to it
only through the ontology; a checklist may come as one dict an option; order means nothing. Here answers
stand in ontology order, nested ones under the option that they belong to. Values are copied as sent.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from harvester.labels.ontology import Attribute, Ontology

JSON = bytes | msgspec.Raw
Key = TypeVar("Key")

_NULL = msgspec.Raw(b"null")
# Bounds of what each `Written` holds: so many lists of answers, none longer than this in bytes, as sent and
# as written together. 16 MB at the worst.
_CACHED_LISTS = 4096
_CACHED_BYTES = 4096


class Answer(msgspec.Struct, rename="camel", gc=False):
    """One answer as sent. `range` and `space_id` are there on dynamic answers only."""

    name: msgspec.Raw = _NULL
    value: msgspec.Raw = _NULL
    feature_hash: str | None = None
    manual_annotation: msgspec.Raw = _NULL
    answers: msgspec.Raw = _NULL
    range: msgspec.Raw = _NULL
    space_id: str | None = None


class _OptionFeature(msgspec.Struct, rename="camel", gc=False):
    feature_hash: str | None = None


_decode_list = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_option = msgspec.json.Decoder(_OptionFeature).decode

# The answered attributes by the attribute and option that they are nested under; None, None for roots.
_Places = dict[tuple[str | None, str | None], list[str]]


class Nesting:
    """Turns answers as sent into answers as written, by an ontology."""

    def __init__(self, ontology: Ontology) -> None:
        self._attributes = ontology.attributes

    def static(self, answers: JSON) -> bytes:
        """A list of answers (or null) as sent, as the JSON list to write."""
        return self.nested([(raw, _decode_answer(raw)) for raw in _decode_list(answers) or ()])

    def in_ontology_order(self, actions: msgspec.Raw) -> list[Answer]:
        """A list of dynamic answers (or null) as sent, decoded; unknown ones last."""
        last = len(self._attributes)
        decoded = [_decode_answer(raw) for raw in _decode_list(actions) or ()]
        return sorted(
            decoded,
            key=lambda answer: (
                self._attributes[answer.feature_hash].order
                if answer.feature_hash in self._attributes
                else last
            ),
        )

    def nested(self, answers: Iterable[tuple[JSON, Answer]]) -> bytes:
        """The JSON list of `answers`, each given with what to write where the ontology has no place for it.

        A later answer to a text, number or radio replaces an earlier one; checklists are unioned.
        """
        known: dict[str, list[Answer]] = {}
        as_sent: dict[str, list[JSON]] = {}
        strangers: list[JSON] = []
        for sent, answer in answers:
            if answer.feature_hash in self._attributes:
                known.setdefault(answer.feature_hash, []).append(answer)
                as_sent.setdefault(answer.feature_hash, []).append(sent)
            else:
                strangers.append(sent)
        places: _Places = {}
        for feature in sorted(known, key=lambda feature: self._attributes[feature].order):
            attribute = self._attributes[feature]
            places.setdefault((attribute.parent, attribute.parent_option), []).append(feature)
        written = self._attribute_list((None, None), known, places)
        # What is left hangs on an option that is not chosen: kept, like what the ontology does not know.
        orphans = [sent for features in places.values() for feature in features for sent in as_sent[feature]]
        return b"[%b]" % b",".join([*written, *orphans, *strangers])

    def _attribute_list(
        self, place: tuple[str | None, str | None], known: dict[str, list[Answer]], places: _Places
    ) -> list[bytes]:
        return [self._attribute(feature, known, places) for feature in places.pop(place, ())]

    def _attribute(self, feature: str, known: dict[str, list[Answer]], places: _Places) -> bytes:
        attribute, given = self._attributes[feature], known[feature]
        last = given[-1]
        answers: JSON = last.answers
        if attribute.type in ("radio", "checklist"):
            counted = given if attribute.type == "checklist" else given[-1:]
            chosen = [option for answer in counted for option in _options(answer.answers)]
            if chosen:
                nested = {
                    option: self._attribute_list((feature, option), known, places) for option, _ in chosen
                }
                answers = _option_list(attribute, dict(chosen), nested)
        return written_answer(last, name=attribute.name, answers=answers)


class Written(dict[Key, bytes]):
    """What was written for answers as sent. The same recur on thousands of labels. Bounded.

    Safe to use from many threads: each step is atomic, and those that race do the same work twice.
    """

    def keep(self, key: Key, sent: bytes, written: bytes) -> None:
        """Remembers what was written for `sent`, which is (in) the `key`, unless they are long."""
        if len(sent) + len(written) <= _CACHED_BYTES:
            if len(self) >= _CACHED_LISTS:
                self.clear()
            self[key] = written


class StaticAnswers(Written[bytes]):
    """A list of static answers (or null) as sent, to what is written for it, which is found here or made."""

    def __init__(self, nesting: Nesting, within: bytes) -> None:
        """`within` is what the list of answers is written into, with a ``%b`` for it."""
        self._nesting = nesting
        self._within = within

    def __missing__(self, sent: bytes) -> bytes:
        written = self._within % self._nesting.static(sent)
        self.keep(sent, sent, written)
        return written


def written_answer(answer: Answer, *, name: JSON | None = None, answers: JSON | None = None) -> bytes:
    """The JSON of one answer, with the ontology's name and the nested `answers` where they are given."""
    return b'{"name":%b,"value":%b,"featureHash":%b,"manualAnnotation":%b,"answers":%b}' % (
        answer.name if name is None else name,
        answer.value,
        msgspec.json.encode(answer.feature_hash),
        answer.manual_annotation,
        answer.answers if answers is None else answers,
    )


def _options(answers: msgspec.Raw) -> list[tuple[str, msgspec.Raw]]:
    """The chosen options, by feature hash; those without one by their own JSON. Empty if this is no list."""
    if not _opens_with(b"[", answers):
        return []
    options = []
    for sent in _decode_list(answers) or ():
        feature = _decode_option(sent).feature_hash if _opens_with(b"{", sent) else None
        options.append((bytes(sent).decode() if feature is None else feature, sent))
    return options


def _opens_with(bracket: bytes, sent: msgspec.Raw) -> bool:
    return memoryview(sent)[:1] == bracket


def _option_list(
    attribute: Attribute, chosen: dict[str, msgspec.Raw], nested: dict[str, list[bytes]]
) -> bytes:
    """The JSON of the chosen options in ontology order; those that it does not know as sent, last."""
    written: list[JSON] = []
    for feature, option in attribute.options.items():
        if feature in chosen:
            under = b',"attributes":[%b]' % b",".join(nested[feature]) if nested[feature] else b""
            written.append(
                b'{"name":%b,"value":%b,"featureHash":%b%b}'
                % (option.name, option.value, msgspec.json.encode(feature), under)
            )
    written += [sent for feature, sent in chosen.items() if feature not in attribute.options]
    return b"[%b]" % b",".join(written)
