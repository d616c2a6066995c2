"""Names of filter functions: an export stores them, so that another filter is refused when it goes on.

A function that can be imported is named by its path. Any other is named by a digest of what it does: its
bytecode, its constants, and the values that it captured. The same source gives the same name in another
process, as long as both run the same minor version of Python: bytecode may change with it. Only of plain
values can text say all that they are, so functions that depend on others are refused.
"""

import dis
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from harvester.errors import BadInput

_DIGITS = 16  # of the digest: 64 bits, plenty to tell one user's filters apart
_DIGEST_NAME = re.compile(rf"\w+-[0-9a-f]{{{_DIGITS}}}'*")
# Types of which all values are written as Python source by `repr`, and are equal if that is.
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(...), slice)
_SCRIPTS = ("__main__", "__mp_main__")  # other modules in each process
_READS_GLOBAL = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))


class _NotPlainError(Exception):
    """A value is not plain, so that no text says all of it. `where` is the way to it, from the inside out."""

    def __init__(self, problem: str, where: tuple[str, ...] = ()) -> None:
        super().__init__(f"{' of '.join(where) or 'it'} is {problem}")
        self.problem = problem
        self.where = where


def shown_name(function: Callable[..., object]) -> str:
    """Return a name of any callable for messages; several may share one."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def stored_name(function: Callable[..., object]) -> str:
    """Return the name of a filter function that tells it from others, in any process.

    It is ``module:qualname`` where that imports this very function, else a digest: ``lambda-3f2a...``.

    Raises:
        BadInput: it is an object that can be called, or it depends on values that are not plain: other than
            strings, bytes, numbers, booleans, None, and tuples and frozensets of these.
    """
    if path := _import_path(function):
        return path
    try:
        described = _callable(function)
    except _NotPlainError as error:
        raise BadInput(
            f"filter {shown_name(function)} cannot be told from another when the export goes on: {error}. "
            "Write it as a function of a module that can be imported; or have it depend on strings, numbers, "
            "booleans, None and tuples or frozensets of these only, for example as default arguments"
        ) from None
    label = re.sub(r"\W", "", getattr(function, "__name__", "")) or type(function).__name__
    return f"{label}-{hashlib.sha256(described.encode()).hexdigest()[:_DIGITS]}"


def is_digest(name: str) -> bool:
    """Return whether `stored_name` gave that name to a function that cannot be imported."""
    return _DIGEST_NAME.fullmatch(name) is not None


def _import_path(value: object) -> str | None:
    """Return ``module:qualname`` of a value that other processes find there, if any. Imports nothing."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module in _SCRIPTS:
        return None
    found: object = sys.modules.get(module)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    # A class method is made anew each time that it is looked up, and is equal then.
    same = found is value or (isinstance(value, MethodType) and found == value)
    return f"{module}:{qualname}" if same else None


def _callable(function: object, within: tuple[object, ...] = ()) -> str:
    """Return text that says what a callable does. `within`: the functions that read it as a global."""
    if path := _import_path(function):
        return path
    if isinstance(function, partial):
        called = _at("the function", _callable, function.func)
        positional = _at("an argument", _plain, function.args)
        return f"partial({called},{positional},{_values('argument', function.keywords, _plain)})"
    if not isinstance(function, FunctionType):
        raise _NotPlainError(f"of type {type(function).__name__}")
    if function in within:  # recursive
        return f"outer {within.index(function)}"
    within = (*within, function)
    code, cells = function.__code__, function.__closure__ or ()
    captured = {name: _content(name, cell) for name, cell in zip(code.co_freevars, cells, strict=True)}
    read = {name: function.__globals__[name] for name in _globals(code) if name in function.__globals__}
    return ",".join(
        (
            _code(code),
            _at("a default argument", _plain, function.__defaults__),
            _values("default argument", function.__kwdefaults__ or {}, _plain),
            _values("captured variable", captured, _plain),
            _values("global", read, lambda value: _global(value, within)),
        )
    )


def _content(name: str, cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        raise _NotPlainError("not set yet", (f"the captured variable {name}",)) from None


def _globals(code: CodeType) -> Iterator[str]:
    """Yield the names of the globals that `code` reads, and the functions defined in it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in _READS_GLOBAL:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _global(value: object, within: tuple[object, ...]) -> str:
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if callable(value):
        return _callable(value, within)
    return _plain(value)


def _code(code: CodeType) -> str:
    """Return text for all of `code` that decides what it does: not its file, lines and own name."""
    facts = (
        code.co_code, code.co_exceptiontable, code.co_flags,
        code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
        code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
    )  # fmt: skip
    return f"code({facts!r},{_plain(code.co_consts)})"


def _plain(value: object) -> str:
    """Return text that is the same for equal plain values only, and in every process."""
    if type(value) in _PLAIN:
        return repr(value)
    if type(value) is tuple:
        return f"({','.join(map(_plain, value))},)"
    if type(value) is frozenset:  # in an order of its own in each process
        return f"{{{','.join(sorted(map(_plain, value)))}}}"
    if type(value) is CodeType:
        return _code(value)
    raise _NotPlainError(f"of type {type(value).__name__}")


def _at(where: str, describe: Callable[[Any], str], value: object) -> str:
    """Return what `describe` says of `value`, which stands `where`: the error for one not plain names it."""
    try:
        return describe(value)
    except _NotPlainError as error:
        raise _NotPlainError(error.problem, (*error.where, where)) from None


def _values(what: str, values: Mapping[str, object], describe: Callable[[Any], str]) -> str:
    """Return text of named values, in the order of their names."""
    described = (f"{name}={_at(f'the {what} {name}', describe, values[name])}" for name in sorted(values))
    return f"{{{','.join(described)}}}"
