"""The ontology as the reader of labels needs it: names, attribute order, nesting, global classifications."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harvester.errors import BadInput


class OptionNode(msgspec.Struct, rename="camel"):
    """An option as the ontology has it, with the attributes that are nested under it."""

    feature_node_hash: str = ""
    label: str = ""
    value: str = ""
    archived: Any = None  # true or false; what else it may be one day must not stop an export
    options: list[AttributeNode] | None = None


class AttributeNode(msgspec.Struct, rename="camel"):
    """An attribute as the ontology has it."""

    feature_node_hash: str = ""
    name: str = ""
    type: str = ""
    dynamic: Any = None
    archived: Any = None
    options: list[OptionNode] | None = None


class ObjectNode(msgspec.Struct, rename="camel"):
    """An object as the ontology has it."""

    feature_node_hash: str = ""
    name: str = ""
    shape: str = ""
    archived: Any = None
    attributes: list[AttributeNode] | None = None


class ClassificationNode(msgspec.Struct, rename="camel"):
    """A classification as the ontology has it: name and archived flag are those of its attribute."""

    feature_node_hash: str = ""
    archived: Any = None
    attributes: list[AttributeNode] | None = None
    level: str | None = None


class Structure(msgspec.Struct):
    """An ontology's editor structure, as far as it is looked at."""

    objects: list[ObjectNode] | None = None
    classifications: list[ClassificationNode] | None = None


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


def read_structure(structure: bytes | None) -> Structure:
    """Reads the JSON of an ontology's editor structure; an empty one where it is not at hand.

    Raises:
        BadInput: `structure` is no ontology.
    """
    try:
        return msgspec.json.decode(structure, type=Structure) if structure is not None else Structure()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadInput(f"the project's ontology cannot be read: {exc}") from exc


def read_ontology(structure: bytes | None) -> Ontology:
    """Reads the JSON of an ontology's editor structure. Unknown shapes, types and fields pass by.

    Names: an object's own; a classification's is that of its root attribute, as in the label editor.

    Raises:
        BadInput: `structure` is no ontology.
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
    attributes: Iterable[AttributeNode], parent: str | None, parent_option: str | None
) -> Iterator[tuple[AttributeNode, str | None, str | None]]:
    for attribute in attributes:
        yield attribute, parent, parent_option
        for option in attribute.options or []:
            yield from _walk(option.options or [], attribute.feature_node_hash, option.feature_node_hash)
