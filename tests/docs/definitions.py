"""Find out what a Python file defines, without importing it."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


@cache
def defined(file: Path) -> frozenset[str]:
    """Return the names that a file defines at its top level, and those in its classes (``Pool.stream``)."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set(_bound(tree.body))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for name in (*_bound(node.body), *_set_on_self(node))}
    return frozenset(found)


@cache
def fields(file: Path, name: str) -> tuple[str, ...]:
    """Return the annotated fields of a class, in order."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    (node,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return tuple(
        part.target.id
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    )


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=targets):
                yield from (leaf.id for target in targets for leaf in ast.walk(target) if _is_name(leaf))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def _set_on_self(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        match inner:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name
