"""The answers of an object as COCO's flat `attributes`: one key for each attribute, or option of a checklist.

Keys are made of names, since people read them, and are unique within a class: a nested attribute is called
after the attribute and the option above it, and where two would have the same key, each further one ends in
its feature hash.
"""

from collections.abc import Iterable

import msgspec

from harvester.labels.ontology import AttributeNode, OptionNode, read_structure

# Keys that are no answers, see `coco_annotations`.
TAKEN = ("track_id", "encord_track_uuid", "manual_annotation", "rotated_box")

# Lists of answers that are remembered, and the longest of them in bytes: 4 MB in all.
_MOST_REMEMBERED = 4000
_LONGEST_REMEMBERED = 1000

_encode = msgspec.json.encode


class _GivenOption(msgspec.Struct, gc=False):
    feature_hash: str | None
    name: str | None = None


class _GivenAnswer(msgspec.Struct, gc=False):
    """An answer of a record: what becomes an attribute of COCO."""

    feature_hash: str | None
    name: str | None
    options: list[_GivenOption] | None
    text: str | None
    number: msgspec.Raw


class _Key(msgspec.Struct, frozen=True):
    """The key of an attribute, as JSON with a colon; of a checklist, instead, the key of each option."""

    key: bytes
    checklist: dict[str | None, bytes] | None


class AttributeKeys:
    """The keys of all attributes of an ontology."""

    def __init__(self, structure: bytes | None) -> None:
        """Read an ontology. Raises BadInput if it is none."""
        self._keys: dict[str | None, _Key] = {}
        for one in read_structure(structure).objects or ():
            self._add_all(one.attributes or (), "", set(TAKEN))

    def _add_all(self, attributes: Iterable[AttributeNode], above: str, taken: set[str]) -> None:
        for attribute in attributes:
            path = above + attribute.name
            options = attribute.options or []
            checklist: dict[str | None, bytes] | None = None
            if attribute.type == "checklist":
                checklist = {
                    option.feature_node_hash: _unique(
                        f"{path}/{option.label}", option.feature_node_hash, taken
                    )
                    for option in options
                }
                key = b""
            else:
                key = _unique(path, attribute.feature_node_hash, taken)
            self._keys[attribute.feature_node_hash] = _Key(key, checklist)
            for option in options:
                self._add_below(option, path, taken)

    def _add_below(self, option: OptionNode, path: str, taken: set[str]) -> None:
        self._add_all(option.options or (), f"{path}/{option.label}/", taken)

    def pairs(self, answers: bytes) -> list[bytes]:
        """Return a list of answers as the pairs of a JSON object.

        An answered checklist has all its options, true or false. What is not answered is not there.

        Raises:
            msgspec.DecodeError: it is no list of answers.
        """
        pairs: list[bytes] = []
        for answer in _decode(answers):
            key = self._keys.get(answer.feature_hash)
            if key is not None and key.checklist is not None and answer.options is not None:
                chosen = {option.feature_hash for option in answer.options}
                for option, text in key.checklist.items():
                    pairs.append(text + (b"true" if option in chosen else b"false"))
                pairs += (
                    _key_of(f"{answer.name}/{option.name}", option.feature_hash) + b"true"
                    for option in answer.options
                    if option.feature_hash not in key.checklist
                )
                continue
            own = key.key if key is not None and key.key else _key_of(answer.name, answer.feature_hash)
            pairs.append(own + _value(answer))
        return pairs


class FlatAnswers(dict[bytes, bytes]):
    """Lists of answers as the inside of a JSON object, each pair with a comma before it.

    Looking one up makes it. It is remembered, because answers repeat: most choose from a few options.
    """

    def __init__(self, keys: AttributeKeys) -> None:
        self._pairs = keys.pairs

    def __missing__(self, answers: bytes) -> bytes:
        """Make what is not remembered. Raises as `AttributeKeys.pairs` does."""
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        found = b"".join([b"," + pair for pair in self._pairs(answers)])
        if len(answers) <= _LONGEST_REMEMBERED:
            self[answers] = found
        return found


def _value(answer: _GivenAnswer) -> bytes:
    if answer.options is not None:
        names = [option.name for option in answer.options]
        return _encode(names[0] if len(names) == 1 else names or None)
    return _encode(answer.text) if answer.text is not None else bytes(answer.number)


def _unique(path: str, feature_hash: str, taken: set[str]) -> bytes:
    if path in taken:
        return _key_of(path, feature_hash)
    taken.add(path)
    return _encode(path) + b":"


def _key_of(name: str | None, feature_hash: str | None) -> bytes:
    """Return a key that no other attribute has: it ends in the feature hash."""
    return _encode(f"{name} ({feature_hash})") + b":"


_decode = msgspec.json.Decoder(list[_GivenAnswer]).decode
