"""Reads a project's ontology: names, order and nesting of attributes, global classifications."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harvester.errors import BadInput


class OptionNode(msgspec.Struct, rename="camel"):
    """An option in the ontology's JSON, with the attributes that are nested under it."""

    feature_node_hash: str = ""
    label: str = ""
    value: str = ""
    archived: Any = None  # a boolean today; any type is accepted, so that a change stops no export
    options: list[AttributeNode] | None = None


class AttributeNode(msgspec.Struct, rename="camel"):
    """An attribute in the ontology's JSON."""

    feature_node_hash: str = ""
    name: str = ""
    type: str = ""
    dynamic: Any = None
    archived: Any = None
    options: list[OptionNode] | None = None


class ObjectNode(msgspec.Struct, rename="camel"):
    """An object class in the ontology's JSON."""

    feature_node_hash: str = ""
    name: str = ""
    shape: str = ""
    archived: Any = None
    attributes: list[AttributeNode] | None = None


class ClassificationNode(msgspec.Struct, rename="camel"):
    """A classification in the ontology's JSON. Its name is that of its first attribute."""

    feature_node_hash: str = ""
    archived: Any = None
    attributes: list[AttributeNode] | None = None
    level: str | None = None


class Structure(msgspec.Struct):
    """The parts of an ontology's editor structure that harvester reads."""

    objects: list[ObjectNode] | None = None
    classifications: list[ClassificationNode] | None = None


class Option(msgspec.Struct, frozen=True):
    """An option of a radio or checklist: its name, value and feature hash, each as JSON."""

    name: bytes
    value: bytes
    feature: bytes


class Attribute(msgspec.Struct, frozen=True):
    """An attribute of the ontology.

    `order` is its position in ontology order, depth first. `name` is JSON. `options` are its options by
    feature hash. `parent` and `parent_option` are the feature hashes of the attribute and the option that it
    is nested under, None for attributes that are not nested.
    """

    order: int
    name: bytes
    type: str
    options: dict[str, Option]
    parent: str | None
    parent_option: str | None


class Ontology(msgspec.Struct, frozen=True):
    """An ontology, with its parts by feature hash. `known` is false if no ontology was available."""

    known: bool
    attributes: dict[str, Attribute]
    names: dict[str, str]
    shapes: dict[str, str]
    object_features: frozenset[str]
    classification_features: frozenset[str]
    global_classifications: frozenset[str]


def read_structure(structure: bytes | None) -> Structure:
    """Parse the JSON of an ontology's editor structure. None gives an empty structure.

    Raises:
        BadInput: `structure` is not a valid ontology.
    """
    try:
        return msgspec.json.decode(structure, type=Structure) if structure is not None else Structure()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadInput(f"the project's ontology cannot be read: {exc}") from exc


def read_ontology(structure: bytes | None) -> Ontology:
    """Read the JSON of an ontology's editor structure. Unknown shapes, types and fields are accepted.

    As in the label editor, the name of a classification is that of its first attribute.

    Raises:
        BadInput: `structure` is not a valid ontology.
    """
    read = read_structure(structure)
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


def _attributes(roots: Iterable[AttributeNode], first: int) -> dict[str, Attribute]:
    """Return `roots` and all attributes nested under them, in ontology order, numbered from `first`."""
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
    attributes: Iterable[AttributeNode], parent: str | None, parent_option: str | None
) -> Iterator[tuple[AttributeNode, str | None, str | None]]:
    for attribute in attributes:
        yield attribute, parent, parent_option
        for option in attribute.options or []:
            yield from _walk(option.options or [], attribute.feature_node_hash, option.feature_node_hash)
