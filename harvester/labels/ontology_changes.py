"""Compares two ontologies, by feature hash. Only differences that records can show are found. Pure.

An object or classification is compared together with everything below it: attributes, options, nested
attributes, and their order. Its own position, its colour, its id and its required flags are ignored, because
no record shows them.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from harvester.labels.ontology import (
    AttributeNode,
    ClassificationNode,
    ObjectNode,
    OptionNode,
    read_structure,
)

RootKind = Literal["objects", "classifications"]


class ChangedNode(msgspec.Struct, frozen=True, kw_only=True):
    """An object, classification, attribute or option that has changed.

    `name` is its current name, or its last name if it was removed. `was` is its former name if it was
    renamed. `how` lists the changes, such as ``added`` or ``renamed``.
    """

    feature_hash: str
    name: str
    was: str | None = None
    how: tuple[str, ...]

    def __str__(self) -> str:
        how = [f"renamed {self.name}" if one == "renamed" else one for one in self.how]
        return f"{self.was or self.name} ({self.feature_hash}) {', '.join(how)}"


class Root(NamedTuple):
    """An object or classification: everything about it that records can show.

    Two of them are equal if `compared` is equal. `nodes` are the node itself and the nodes below it by
    feature hash, `features` all feature hashes in it.
    """

    kind: RootKind
    name: str
    shape: str
    is_global: bool
    archived: bool
    compared: tuple[Any, ...]
    nodes: dict[str, "_Node"]
    features: frozenset[str]


class _Node(NamedTuple):
    name: str
    archived: bool
    facts: tuple[object, ...]
    parent: str | None
    children: tuple[str, ...]


Roots = dict[str, Root]  # by feature hash


class OntologyDifferences(msgspec.Struct, frozen=True):
    """The objects and classifications that differ between two ontologies.

    `before` and `now` hold the differing ones as they are in each ontology, by feature hash. One that was
    added is only in `now`, one that was removed only in `before`.
    """

    before: Roots
    now: Roots

    @property
    def roots(self) -> list[str]:
        """Return the feature hashes of the objects and classifications that differ."""
        return list({**self.before, **self.now})

    def roots_of(self) -> dict[str, frozenset[str]]:
        """Return, for each feature hash in the differing roots (down to options), the roots that contain it.

        Both ontologies count: a node that was moved has its former and its present root.
        """
        found: dict[str, frozenset[str]] = {}
        for roots in (self.before, self.now):
            for root_hash, root in roots.items():
                for feature in root.features:
                    found[feature] = found.get(feature, frozenset()) | {root_hash}
        return found

    def changed_nodes(self, wanted: Container[str]) -> list[ChangedNode]:
        """Return the changed nodes in the objects and classifications with the feature hashes in `wanted`."""
        return list(_changed(_nodes(self.before, wanted), _nodes(self.now, wanted)))


def ontology_differences(before: bytes | None, now: bytes | None) -> OntologyDifferences:
    """Compare two ontologies. Each is the JSON of an editor structure, or None if there was none.

    Raises:
        BadInput: one of them is not a valid ontology.
    """
    olds, news = _roots(before), _roots(now)
    return OntologyDifferences(
        {name: root for name, root in olds.items() if not _same(root, news.get(name))},
        {name: root for name, root in news.items() if not _same(root, olds.get(name))},
    )


def _same(one: Root, other: Root | None) -> bool:
    return other is not None and one.compared == other.compared


def _nodes(roots: Roots, wanted: Container[str]) -> dict[str, _Node]:
    found: dict[str, _Node] = {}
    for feature, root in roots.items():
        if feature in wanted:
            found |= root.nodes
    return found


def _changed(before: Mapping[str, _Node], now: Mapping[str, _Node]) -> Iterator[ChangedNode]:
    for feature, node in {**before, **now}.items():
        old, new = before.get(feature), now.get(feature)
        if old is None or new is None:
            there = now if old is None else before
            if node.parent is None or _is_kept(node.parent, before, now):  # else naming the parent is enough
                yield ChangedNode(
                    feature_hash=feature, name=node.name, how=("added" if there is now else "removed",)
                )
        elif how := tuple(_how(old, new)):
            was = old.name if old.name != new.name else None
            yield ChangedNode(feature_hash=feature, name=new.name, was=was, how=how)


def _is_kept(feature: str, before: Mapping[str, _Node], now: Mapping[str, _Node]) -> bool:
    return feature in before and feature in now


def _how(old: _Node, new: _Node) -> Iterator[str]:
    if old.name != new.name:
        yield "renamed"
    if old.archived != new.archived:
        yield "archived" if new.archived else "no longer archived"
    if old.parent != new.parent:
        yield "moved"
    common = set(old.children) & set(new.children)
    if [one for one in old.children if one in common] != [one for one in new.children if one in common]:
        yield "reordered"
    if old.facts != new.facts:
        yield "changed"


# -- reading ------------------------------------------------------------------------------------------


def _roots(structure: bytes | None) -> Roots:
    read = read_structure(structure)
    found: Roots = {}
    for thing in read.objects or ():
        found[thing.feature_node_hash] = _object(thing)
    for one in read.classifications or ():
        found[one.feature_node_hash] = _classification(one)
    return found


def _object(thing: ObjectNode) -> Root:
    attributes, own = thing.attributes or [], thing.feature_node_hash
    node = _Node(thing.name, thing.archived is True, ("object", thing.shape), None, _hashes(attributes))
    return Root(
        "objects",
        thing.name,
        thing.shape,
        False,
        node.archived,
        (*node[:3], _compared(attributes)),
        {own: node, **dict(_below(attributes, own))},
        frozenset({own, *_features(attributes)}),
    )


def _classification(thing: ClassificationNode) -> Root:
    attributes, own, is_global = thing.attributes or [], thing.feature_node_hash, thing.level == "global"
    # The label editor shows a classification and its first attribute as one, so they are one node here.
    first, others = attributes[0] if attributes else AttributeNode(), attributes[1:]
    archived = thing.archived is True or first.archived is True
    facts = ("classification", is_global, first.feature_node_hash, *_facts(first))
    children = (*(first.options or ()), *others)
    node = _Node(first.name, archived, facts, None, _hashes(children))
    return Root(
        "classifications",
        first.name,
        "",
        is_global,
        archived,
        (*node[:3], _compared(attributes)),
        {own: node, **dict(_below(children, own))},
        frozenset({own, *_features(attributes)}),
    )


def _facts(node: AttributeNode) -> tuple[object, ...]:
    return node.type, node.dynamic is True


def _children(node: AttributeNode | OptionNode) -> Iterable[AttributeNode | OptionNode]:
    return node.options or ()


def _name(node: AttributeNode | OptionNode) -> str:
    return node.name if isinstance(node, AttributeNode) else node.label


def _below(nodes: Iterable[AttributeNode | OptionNode], parent: str) -> Iterator[tuple[str, _Node]]:
    for node in nodes:
        facts = _facts(node) if isinstance(node, AttributeNode) else (node.value,)
        own = node.feature_node_hash
        yield own, _Node(_name(node), node.archived is True, facts, parent, _hashes(_children(node)))
        yield from _below(_children(node), own)


def _compared(nodes: Iterable[AttributeNode | OptionNode]) -> tuple[Any, ...]:
    return tuple(
        (
            node.feature_node_hash,
            _name(node),
            node.archived is True,
            _facts(node) if isinstance(node, AttributeNode) else node.value,
            _compared(_children(node)),
        )
        for node in nodes
    )


def _features(nodes: Iterable[AttributeNode | OptionNode]) -> Iterator[str]:
    for node in nodes:
        yield node.feature_node_hash
        yield from _features(_children(node))


def _hashes(nodes: Iterable[AttributeNode | OptionNode]) -> tuple[str, ...]:
    return tuple(node.feature_node_hash for node in nodes)
