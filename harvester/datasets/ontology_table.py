"""The ontology as a table: one line for each class, attribute and option."""

from collections.abc import Iterator
from typing import Any

import msgspec

from harvester.errors import BadInput

_NESTED = ("attributes", "options")  # what stands in lines of its own
_TEXTS = ("shape", "type", "color", "value")


def ontology_lines(structure: bytes | None) -> Iterator[bytes]:
    """Yield a line for each node of an ontology, in its order: each is followed by what is nested in it.

    `sent` is the node as the server has it, without what is nested in it.

    Raises:
        BadInput: `structure` is no ontology.
    """
    if structure is None:
        return
    try:
        tree = msgspec.json.decode(structure)
        nodes = [
            *_nodes(tree.get("objects"), "object", None),
            *_nodes(tree.get("classifications"), "classification", None),
        ]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, TypeError) as error:
        raise BadInput(f"the ontology cannot be read: {error}") from error
    for position, node in enumerate(nodes):
        yield msgspec.json.encode({"position": position, **node}) + b"\n"


def _nodes(nodes: Any, kind: str, parent: str | None) -> Iterator[dict[str, Any]]:
    for node in nodes or ():
        feature = node.get("featureNodeHash")
        yield {
            "kind": kind,
            "feature_hash": feature,
            "parent": parent,
            "name": _name(node, kind),
            **{key: _text(node.get(key)) for key in _TEXTS},
            "dynamic": _flag(node.get("dynamic")),
            "archived": _flag(node.get("archived")),
            "sent": msgspec.json.encode({k: v for k, v in node.items() if k not in _NESTED}).decode(),
        }
        yield from _nodes(node.get("attributes"), "attribute", feature)
        # An attribute's options have attributes nested in them, under the key `options`, too.
        inner = "attribute" if kind == "option" else "option"
        yield from _nodes(node.get("options"), inner, feature)


def _name(node: dict[str, Any], kind: str) -> str | None:
    """As the label editor has it, a classification is named like its first attribute."""
    if kind == "classification":
        attributes = node.get("attributes") or [{}]
        return _text(attributes[0].get("name"))
    return _text(node.get("label") if kind == "option" else node.get("name"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
