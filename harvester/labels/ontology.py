"""The ontology as the reader of labels needs it: names, attribute order, nesting, global classifications."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from harvester.errors import BadInput


class _Option(msgspec.Struct, rename="camel"):
    feature_node_hash: str = ""
    label: str = ""
    value: str = ""
    options: list[_Attribute] | None = None


class _Attribute(msgspec.Struct, rename="camel"):
    feature_node_hash: str = ""
    name: str = ""
    type: str = ""
    options: list[_Option] | None = None


class _Object(msgspec.Struct, rename="camel"):
    feature_node_hash: str = ""
    name: str = ""
    shape: str = ""
    attributes: list[_Attribute] | None = None


class _Classification(msgspec.Struct, rename="camel"):
    feature_node_hash: str = ""
    attributes: list[_Attribute] | None = None
    level: str | None = None


class _Structure(msgspec.Struct):
    objects: list[_Object] | None = None
    classifications: list[_Classification] | None = None


class Option(msgspec.Struct, frozen=True):
    """An option of a radio or checklist: name, value and feature hash, each as JSON."""

    name: bytes
    value: bytes
    feature: bytes


class Attribute(msgspec.Struct, frozen=True):
    """An attribute: its place in ontology order, its name as JSON, and the option it is nested under."""

    order: int
    name: bytes
    type: str
    options: dict[str, Option]
    parent: str | None
    parent_option: str | None


class Ontology(msgspec.Struct, frozen=True):
    """An ontology by feature hash. `known` is False where the project's ontology is not at hand."""

    known: bool
    attributes: dict[str, Attribute]
    names: dict[str, str]
    shapes: dict[str, str]
    object_features: frozenset[str]
    classification_features: frozenset[str]
    global_classifications: frozenset[str]


def read_ontology(structure: bytes | None) -> Ontology:
    """Reads the JSON of an ontology's editor structure. Unknown shapes, types and fields pass by.

    Names: an object's own; a classification's is that of its root attribute, as in the label editor.

    Raises:
        BadInput: `structure` is no ontology.
    """
    try:
        read = msgspec.json.decode(structure, type=_Structure) if structure is not None else _Structure()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadInput(f"the project's ontology cannot be read: {exc}") from exc
    objects, classifications = read.objects or [], read.classifications or []
    attributes: dict[str, Attribute] = {}
    for roots in (*(thing.attributes for thing in objects), *(thing.attributes for thing in classifications)):
        attributes |= _attributes(roots or [], len(attributes))
    names = {thing.feature_node_hash: thing.name for thing in objects}
    names |= {
        thing.feature_node_hash: thing.attributes[0].name for thing in classifications if thing.attributes
    }
    return Ontology(
        known=structure is not None,
        attributes=attributes,
        names=names,
        shapes={thing.feature_node_hash: thing.shape for thing in objects if thing.shape},
        object_features=frozenset(thing.feature_node_hash for thing in objects),
        classification_features=frozenset(thing.feature_node_hash for thing in classifications),
        global_classifications=frozenset(
            thing.feature_node_hash for thing in classifications if thing.level == "global"
        ),
    )


def _attributes(roots: Iterable[_Attribute], first: int) -> dict[str, Attribute]:
    """`roots` and all that is nested under their options, in ontology order, numbered from `first`."""
    found: dict[str, Attribute] = {}
    for attribute, parent, parent_option in _walk(roots, None, None):
        found[attribute.feature_node_hash] = Attribute(
            order=first + len(found),
            name=msgspec.json.encode(attribute.name),
            type=attribute.type,
            options={
                option.feature_node_hash: Option(
                    msgspec.json.encode(option.label),
                    msgspec.json.encode(option.value),
                    msgspec.json.encode(option.feature_node_hash),
                )
                for option in attribute.options or []
            },
            parent=parent,
            parent_option=parent_option,
        )
    return found


def _walk(
    attributes: Iterable[_Attribute], parent: str | None, parent_option: str | None
) -> Iterator[tuple[_Attribute, str | None, str | None]]:
    for attribute in attributes:
        yield attribute, parent, parent_option
        for option in attribute.options or []:
            yield from _walk(option.options or [], attribute.feature_node_hash, option.feature_node_hash)
