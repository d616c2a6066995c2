"""Names of filter functions. An export stores them, and refuses to be resumed with other filters.

A function that can be imported is named by its path. Any other is named by a digest of what it does: its
bytecode, its constants, and the values that it captured. The same source gives the same name in another
process if both run the same minor version of Python, since bytecode may change between versions. Functions
that depend on other than plain values are refused, because only plain values can be described completely as
text.
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

_DIGITS = 16  # hexadecimal digits of the digest in a name: 64 bits, enough to distinguish one user's filters
_DIGEST_NAME = re.compile(rf"\w+-[0-9a-f]{{{_DIGITS}}}'*")
# Types whose values are equal if, and only if, their `repr` is equal.
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(...), slice)
_SCRIPTS = ("__main__", "__mp_main__")  # module names that mean another module in each process
_READS_GLOBAL = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))


class _NotPlainError(Exception):
    """A value is not plain, so text cannot describe it. `where` is the path to it, innermost part first."""

    def __init__(self, problem: str, where: tuple[str, ...] = ()) -> None:
        super().__init__(f"{' of '.join(where) or 'it'} is {problem}")
        self.problem = problem
        self.where = where


def shown_name(function: Callable[..., object]) -> str:
    """Return a name of any callable for messages. It is not unique."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def stored_name(function: Callable[..., object]) -> str:
    """Return a name that identifies a filter function in any process.

    It is ``module:qualname`` if importing that gives this function, else a digest: ``lambda-3f2a...``.

    Raises:
        BadInput: `function` is a callable object, or it depends on values that are not plain. Plain values
        are
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
    """Return whether a name is a digest: `stored_name` gives one to functions that cannot be imported."""
    return _DIGEST_NAME.fullmatch(name) is not None


def _import_path(value: object) -> str | None:
    """Return the ``module:qualname`` at which other processes find a value, or None. Imports nothing."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module in _SCRIPTS:
        return None
    found: object = sys.modules.get(module)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    # Each lookup of a class method makes a new object, which is equal but not identical.
    same = found is value or (isinstance(value, MethodType) and found == value)
    return f"{module}:{qualname}" if same else None


def _callable(function: object, within: tuple[object, ...] = ()) -> str:
    """Return text that describes what a callable does.

    `within` are the functions that are being described, and that read this one as a global.
    """
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
    """Return text for everything in `code` that affects what it does: not its file, lines and own name."""
    facts = (
        code.co_code, code.co_exceptiontable, code.co_flags,
        code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
        code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
    )  # fmt: skip
    return f"code({facts!r},{_plain(code.co_consts)})"


def _plain(value: object) -> str:
    """Return text that is equal if, and only if, the plain values are equal, in every process."""
    if type(value) in _PLAIN:
        return repr(value)
    if type(value) is tuple:
        return f"({','.join(map(_plain, value))},)"
    if type(value) is frozenset:  # sorted, because its order differs from process to process
        return f"{{{','.join(sorted(map(_plain, value)))}}}"
    if type(value) is CodeType:
        return _code(value)
    raise _NotPlainError(f"of type {type(value).__name__}")


def _at(where: str, describe: Callable[[Any], str], value: object) -> str:
    """Return `describe(value)`. If the value is not plain, the error says that it is at `where`."""
    try:
        return describe(value)
    except _NotPlainError as error:
        raise _NotPlainError(error.problem, (*error.where, where)) from None


def _values(what: str, values: Mapping[str, object], describe: Callable[[Any], str]) -> str:
    """Return text of named values, in the order of their names."""
    described = (f"{name}={_at(f'the {what} {name}', describe, values[name])}" for name in sorted(values))
    return f"{{{','.join(described)}}}"
