"""The source of the package, as the tests of the house look at it."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harvester"


class Module(NamedTuple):
    """One file: its path below the package, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def room(self) -> str:
        """The top folder of the package that it is in; of a module that is in none, its own name."""
        return self.path.partition("/")[0].removesuffix(".py")


class Function(NamedTuple):
    """One function or method, with the names of the classes and functions that it stands in."""

    module: Module
    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    def __str__(self) -> str:
        return f"{self.module.path}: {self.name}"

    @property
    def parameters(self) -> int:
        """How many arguments a caller can give."""
        arguments = self.node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        return sum(argument.arg not in ("self", "cls") for argument in named)

    @property
    def lines(self) -> int:
        assert self.node.end_lineno is not None
        return self.node.end_lineno - self.node.lineno + 1


@cache
def modules() -> list[Module]:
    """All of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path.relative_to(PACKAGE).as_posix(), text, ast.parse(text)))
    return found


def functions(module: Module) -> Iterator[Function]:
    """All functions of a module, those within others too."""
    yield from _functions(module, module.tree, "")


def _functions(module: Module, parent: ast.AST, prefix: str) -> Iterator[Function]:
    for node in ast.iter_child_nodes(parent):
        inner = prefix
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{prefix}{node.name}."
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(module, prefix + node.name, node)
        yield from _functions(module, node, inner)


def classes(module: Module) -> Iterator[str]:
    """The names of a module's classes, without those that only the module itself uses."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def imported_rooms(module: Module) -> set[str]:
    """The other rooms that a module imports from, at its top or anywhere else."""
    names = list[str]()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "harvester":
            names += [f"harvester.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    rooms = {name.split(".")[1] for name in names if name.startswith("harvester.")} - {module.room}
    return {room for room in rooms if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").exists()}


def used_twice(names: list[tuple[str, str]]) -> set[str]:
    """Of pairs of a name and where it stands, the names that stand in several places."""
    places = defaultdict(set)
    for name, place in names:
        places[name].add(place)
    return {name for name, where in places.items() if len(where) > 1}
