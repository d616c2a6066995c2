"""The project's current ontology, and the changes that an edit call can make to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import msgspec

from harvester.simulator.ontology import COLOURS, Json, feature_hash, renamed, structure, value_of

ROOTS = ("objects", "classifications")
# What `WorldSpec(archived=True)` archives: two objects, a classification, an attribute, an option.
ARCHIVED = ("Pedestrian", "Speech", "Comment", "Car/Plate", "Car/Kind/Bus")


class OntologyEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of the ontology.

    Attributes:
        do: `rename` (an option: its label), `move` among its siblings, `add`, `remove`, `restore` (put back
            what was removed, with all below it, where it was), `archive`, `unarchive`, or `set` any other
            key (`color`, `required`, `dynamic`).
        node: what is changed, by its feature hash or by the path of the names that it and its parents had
            first: `Car`, `Car/Kind` (attribute), `Car/Kind/Van` (option), `Car/Kind/Truck/Cargo`
            (nested), `Weather` (classification), `Weather/Weather` (its attribute). For `add`, the path of
            the new node: its parent must be there.
        to: the new name (`rename`), position from 0 (`move`) or value (`set`).
        key: the key to `set`.
        type: of an attribute (or a classification's attribute) that is added.
        shape: of an object that is added; without it, a new node without parent is a classification.
    """

    do: Literal["rename", "move", "add", "remove", "restore", "archive", "unarchive", "set"]
    node: str
    to: Any = None
    key: str | None = None
    type: Literal["radio", "checklist", "text", "numeric"] = "text"
    shape: str | None = None


class Ontology:
    """The editor structure. An archived classification is one whose attribute is archived: it has no flag."""

    def __init__(self, archived: Iterable[str] = ()) -> None:
        """`archived`: what is archived from the start, named as in `OntologyEdit.node`."""
        self._structure = structure()
        self._hashes = {
            path: hash for root in ROOTS for path, hash in _hashes(self._structure[root], ()).items()
        }
        self._removed: dict[str, tuple[str, int, Json]] = {}  # by hash: its parent, its place, and itself
        self._names: Mapping[str, str] = {}
        self.hidden = frozenset[str]()
        self.edit([OntologyEdit(do="archive", node=node) for node in archived])

    def current(self) -> Json:
        """Return a copy of the editor structure."""
        made: Json = renamed(self._structure, self._names)
        return made

    def rename_all(self, names: Mapping[str, str]) -> None:
        """Rename every feature, attribute and option of these names; undo earlier such renames."""
        self._names = dict(names)

    def edit(self, edits: Iterable[OntologyEdit]) -> None:
        """Make all changes, or none. Raises ValueError for one that cannot be made."""
        before = deepcopy((self._structure, self._hashes, self._removed))
        try:
            for edit in edits:
                _ACTIONS[edit.do](self, edit)
        except ValueError:
            self._structure, self._hashes, self._removed = before
            raise
        # The hashes of archived root features; their labels are only sent on request.
        self.hidden = frozenset(
            node["featureNodeHash"]
            for root in ROOTS
            for node in self._structure[root]
            if _flagged(node)["archived"]
        )

    # Nodes

    def _hash(self, node: str) -> str:
        return self._hashes.get(node, node)

    def _place(self, node: str) -> tuple[list[Json], int, str]:
        """Return the list that holds a node, its position, and the hash of its parent (or the root list)."""
        wanted = self._hash(node)
        for root in ROOTS:
            if found := _find(self._structure[root], root, wanted):
                return found
        raise ValueError(f"the ontology has no {node!r}")

    def _node(self, node: str) -> Json:
        siblings, position, _ = self._place(node)
        return siblings[position]

    # Changes

    def _rename(self, edit: OntologyEdit) -> None:
        if not isinstance(edit.to, str):
            raise ValueError("a node is renamed to a text")
        node = _flagged(self._node(edit.node))
        node["label" if "label" in node else "name"] = edit.to

    def _move(self, edit: OntologyEdit) -> None:
        if not isinstance(edit.to, int):
            raise ValueError("a node is moved to a position, counted from 0")
        siblings, position, _ = self._place(edit.node)
        siblings.insert(edit.to, siblings.pop(position))

    def _remove(self, edit: OntologyEdit) -> None:
        siblings, position, parent = self._place(edit.node)
        self._removed[self._hash(edit.node)] = parent, position, siblings.pop(position)

    def _restore(self, edit: OntologyEdit) -> None:
        hash = self._hash(edit.node)
        if hash not in self._removed:
            raise ValueError(f"{edit.node!r} was not removed")
        parent, position, node = self._removed[hash]
        siblings = self._structure[parent] if parent in ROOTS else _children(self._node(parent))
        siblings.insert(position, node)
        del self._removed[hash]

    def _archive(self, edit: OntologyEdit) -> None:
        _flagged(self._node(edit.node))["archived"] = edit.do == "archive"

    def _set(self, edit: OntologyEdit) -> None:
        if edit.key is None or edit.key == "featureNodeHash":
            raise ValueError("name the key to set; a feature hash never changes")
        self._node(edit.node)[edit.key] = edit.to

    def _add(self, edit: OntologyEdit) -> None:
        *parents, name = path = edit.node.split("/")
        if edit.node in self._hashes:
            raise ValueError(f"{edit.node!r} is there, or was: restore it, or add one of another name")
        if not parents:
            made = _object(name, edit.shape) if edit.shape else _classification(name, edit.type)
            siblings = self._structure[ROOTS[0] if edit.shape else ROOTS[1]]
        else:
            parent = self._node("/".join(parents))
            siblings = _children(parent)
            if "attributes" in parent and "shape" not in parent:
                raise ValueError("a classification has one attribute only")
            if parent.get("type") in ("text", "numeric"):
                raise ValueError(f"{'/'.join(parents)!r} has no options: it is {parent['type']}")
            if "type" in parent:
                made = _option(path)
            else:
                made = _attribute(path, edit.type)
                # Attributes of objects say whether they are dynamic, those of classifications do not.
                if any(
                    self._hash(parents[0]) == each["featureNodeHash"] for each in self._structure[ROOTS[0]]
                ):
                    made["dynamic"] = False
            _number(made, parent["id"] + ".", siblings)
        if not parents:
            _number(made, "", siblings)
        siblings.append(made)
        self._hashes |= _hashes([made], tuple(parents))


_ACTIONS: Mapping[str, Callable[[Ontology, OntologyEdit], None]] = {
    "rename": Ontology._rename,
    "move": Ontology._move,
    "add": Ontology._add,
    "remove": Ontology._remove,
    "restore": Ontology._restore,
    "archive": Ontology._archive,
    "unarchive": Ontology._archive,
    "set": Ontology._set,
}


def _children(node: Json) -> list[Json]:
    """Return a node's children: attributes of a feature or option, options of an attribute."""
    below: list[Json] = node.setdefault("attributes" if "attributes" in node else "options", [])
    return below


def _flagged(node: Json) -> Json:
    """Return the node that has name and archived flag: a classification's attribute, else the node."""
    flagged: Json = node["attributes"][0] if "attributes" in node and "shape" not in node else node
    return flagged


def _hashes(nodes: Iterable[Json], above: tuple[str, ...]) -> dict[str, str]:
    """Return the feature hash of every node by its path."""
    made: dict[str, str] = {}
    for node in nodes:
        named = _flagged(node)
        path = (*above, named["label"] if "label" in named else named["name"])
        made["/".join(path)] = node["featureNodeHash"]
        made |= _hashes(node.get("attributes") or node.get("options") or (), path)
    return made


def _find(nodes: list[Json], parent: str, wanted: str) -> tuple[list[Json], int, str] | None:
    for position, node in enumerate(nodes):
        if node["featureNodeHash"] == wanted:
            return nodes, position, parent
        below = node.get("attributes") or node.get("options") or []
        if found := _find(below, node["featureNodeHash"], wanted):
            return found
    return None


def _number(node: Json, prefix: str, siblings: list[Json]) -> None:
    """Give new nodes ids above 100, which no removed node had."""
    node["id"] = f"{prefix}{101 + len(siblings)}"
    for attribute in node.get("attributes", ()):
        attribute["id"] = f"{node['id']}.1"


def _attribute(path: Sequence[str], type: str) -> Json:
    made: Json = {
        "name": path[-1],
        "type": type,
        "featureNodeHash": feature_hash(*path),
        "required": False,
        "archived": False,
    }
    return made | ({"options": []} if type in ("radio", "checklist") else {})


def _option(path: Sequence[str]) -> Json:
    label = path[-1]
    return {
        "label": label,
        "value": value_of(label),
        "featureNodeHash": feature_hash(*path),
        "archived": False,
    }


def _object(name: str, shape: str) -> Json:
    return {
        "name": name,
        "color": COLOURS[len(name) % len(COLOURS)],
        "shape": shape,
        "featureNodeHash": feature_hash(name),
        "required": False,
        "archived": False,
        "attributes": [],
    }


def _classification(name: str, type: str) -> Json:
    return {
        "featureNodeHash": feature_hash(name, "classification"),
        "attributes": [_attribute((name, name), type)],
    }
