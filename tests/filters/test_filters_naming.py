"""Names of filter functions: the same for the same function in any process, others for others."""

import functools
import operator
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import BadInput
from harvester.filters.naming import is_digest, stored_name
from harvester.filters.own import load_filter


def large(record: Any) -> bool:
    return bool(record)


class Kept:
    """Filters of every kind that is no plain function."""

    def __call__(self, record: Any) -> bool:
        return True

    def method(self, record: Any) -> bool:
        return True

    @classmethod
    def of_class(cls, record: Any) -> bool:
        return True

    @staticmethod
    def static(record: Any) -> bool:
        return True


def of_script(source: str) -> Callable[..., object]:
    """`f` of a script of that source."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "script.py", "exec"), namespace)
    found: Callable[..., object] = namespace["f"]
    return found


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (large, f"{__name__}:large"),
        (Kept.of_class, f"{__name__}:Kept.of_class"),
        (Kept.static, f"{__name__}:Kept.static"),
        (operator.truth, "_operator:truth"),
        (bool, "builtins:bool"),
    ],
)
def test_a_function_that_imports_is_named_by_its_path(function: Callable[..., object], name: str) -> None:
    """The path that loads it, whatever it depends on."""
    assert stored_name(function) == name
    assert load_filter(name) == function


SAME = """
import math
LIMIT = (0.5, frozenset({"Car", "Truck", "Bus", "Van"}))
def helper(record):
    return math.floor(record["frame"]) in {1, 2, 3, 4} or helper(record)
def make(shape):
    def f(record, *, name="Car"):
        try:
            return any(o == shape for o in record) and helper(record) and LIMIT
        except KeyError:
            return record in {"Car", "Truck", "Bus", "Van"}
    return f
f = make("polygon")
"""


def test_the_same_source_has_the_same_name_in_another_process() -> None:
    """Wherever it stands in the file, whatever the order of sets there, and however often it was called."""
    f = of_script(SAME)
    name = stored_name(f)
    assert re.fullmatch(r"f-[0-9a-f]{16}", name)
    for _ in range(100):
        f([])
    assert stored_name(f) == name
    shown = "\nfrom harvester.filters.naming import stored_name\nprint(stored_name(f))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", "\n\n# moved\n" + SAME + shown],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == name


MAKE = "def make(x):\n    return lambda r: r == x\nf = make({})"
DIFFERENT = {
    "number": [f"f = lambda r: r > {number}" for number in ("1", "1.0", "2", "True", "'1'", "b'1'", "-1")],
    "zero": [f"f = lambda r: r.get(1, {zero})" for zero in ("0", "0.0", "-0.0", "False", "None", "()")],
    "set": [f"f = lambda r: r in {{{names}}}" for names in ("1, 2", "1, 3", "'1', '2'")],
    "comparison": ["f = lambda r: r > 1", "f = lambda r: r >= 1", "f = lambda r: not r > 1"],
    "attribute": ["f = lambda r: r.a", "f = lambda r: r.b", "f = lambda r: r['a']"],
    "global": ["f = lambda r: len(r)", "f = lambda r: max(r)"],
    "value of a global": [f"X = {x}\nf = lambda r: r == X" for x in ("1", "2", "1.0", "'1'", "(1,)", "None")],
    "global read inside": [f"X = {x}\nf = lambda r: any(o == X for o in r)" for x in ("1", "2")],
    "helper": [f"def help(r): return r == {x}\nf = lambda r: help(r)" for x in ("1", "2")],
    "imported helper": [f"from math import {x} as help\nf = lambda r: help(r)" for x in ("floor", "ceil")],
    "module": [f"import {x} as m\nf = lambda r: m.sqrt(r)" for x in ("math", "cmath")],
    "inner function": [f"f = lambda r: list(map(lambda o: o == {x}, r))" for x in ("1", "2")],
    "default": [f"f = lambda r, x={x}: r == x" for x in ("1", "2", "1.0", "(1, 2)", "(1, (2,))")],
    "keyword default": [f"f = lambda r, *, x={x}: r == x" for x in ("1", "2")],
    "captured": [MAKE.format(x) for x in ("1", "2", "1.0", "True", "'1'", "b'1'", "(1,)", "frozenset({1})")],
    "nested captured": [
        MAKE.format(x) for x in ("((1,), 2)", "(1, (2,))", "(1, 2)", "('1, 2',)", "('1', '2')")
    ],
    "what is caught": [
        f"def f(r):\n  try:\n    return r['a']\n  except {error}:\n    return 1"
        for error in ("KeyError", "OSError")
    ],
    "where it is caught": [
        "def f(r):\n  r.a()\n  try:\n    r.b()\n  except OSError:\n    return 1",
        "def f(r):\n  try:\n    r.a()\n    r.b()\n  except OSError:\n    return 1",
    ],
    "partial": [
        f"from functools import partial\nimport operator\nf = partial(operator.{call})"
        for call in ("eq, 1", "eq, 2", "eq, (1,)", "ne, 1", "eq, b=1", "eq, b=2")
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_functions_that_do_something_else_have_another_name(what: str) -> None:
    """One difference at a time, all names apart, and each the same once more."""
    names = [stored_name(of_script(source)) for source in DIFFERENT[what]]
    assert len(set(names)) == len(names) > 1
    assert names == [stored_name(of_script(source)) for source in DIFFERENT[what]]
    assert all(map(is_digest, names))


def test_a_lambda_is_called_one_in_its_name() -> None:
    """A name that cannot be taken for a path to import, whatever the function calls itself."""
    assert stored_name(lambda record: True).startswith("lambda-")

    def local(record: Any) -> bool:
        return True

    assert stored_name(local).startswith("local-")
    local.__name__ = "os:system"
    assert ":" not in stored_name(local)
    assert stored_name(functools.partial(large, 1)).startswith("partial-")


def test_one_function_in_place_of_another_is_not_taken_for_it() -> None:
    """A decorated copy has the path of the original, which would import something else."""

    @functools.wraps(large)
    def stricter(record: Any) -> bool:
        return False

    assert stored_name(stricter).startswith("large-")


UNPLAIN = {
    "captured list": (MAKE.format("[]"), "captured variable x is of type list"),
    "captured dictionary": (MAKE.format("{}"), "captured variable x is of type dict"),
    "captured function": (MAKE.format("len"), "captured variable x is of type builtin_function_or_method"),
    "list in a tuple": (MAKE.format("(1, [2])"), "captured variable x is of type list"),
    "captured before it is set": (
        "def make():\n    f = lambda r: x\n    yield f\n    x = 1\nit = make()\nf = next(it)",
        "captured variable x is not set yet",
    ),
    "default": ("f = lambda r, seen={}: r", "a default argument is of type dict"),
    "keyword default": ("f = lambda r, *, seen={}: r", "the default argument seen is of type dict"),
    "global": ("X = {1}\nf = lambda r: r in X", "the global X is of type set"),
    "global of a helper": (
        "X = [1]\ndef help(r): return r in X\nf = lambda r: help(r)",
        "the global X of the global help is of type list",
    ),
    "class of the script": ("class X: pass\nf = lambda r: isinstance(r, X)", "the global X is of type type"),
    "subclass of a plain type": (
        "class Text(str): pass\ndef make(x):\n    return lambda r: x\nf = make(Text('a'))", "is of type Text",
    ),
    "partial": ("from functools import partial\nf = partial(max, [1])", "an argument is of type list"),
    "partial by keyword": (
        "from functools import partial\nf = partial(max, key=[])",
        "the argument key is of type list",
    ),
    "partial of an object": (
        "from functools import partial\nclass X:\n    def __call__(self, r): pass\nf = partial(X())",
        "the function is of type X",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "problem"), UNPLAIN.values(), ids=UNPLAIN.keys())
def test_what_cannot_be_told_apart_is_refused_with_the_way_out(source: str, problem: str) -> None:
    """One line that names the value."""
    with pytest.raises(BadInput) as refused:
        stored_name(of_script(source))
    assert problem in refused.value.message
    assert "a module that can be imported; or have it depend on strings" in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("made", [Kept(), Kept().method, operator.itemgetter("a"), "abc".startswith])
def test_objects_that_can_be_called_are_refused(made: Callable[..., object]) -> None:
    """What they hold cannot be told."""
    with pytest.raises(BadInput, match="it is of type"):
        stored_name(made)


def test_a_digest_is_not_taken_for_a_path() -> None:
    """The command cannot have the function of a program: it says that the program must be run."""
    with pytest.raises(BadInput, match=r"'lambda-[0-9a-f]{16}' is a function of a Python program .* again"):
        load_filter(stored_name(lambda record: True))
    assert not is_digest("package.module:call-0123456789abcdef")
    assert not is_digest(f"{Path(__file__).stem}:large")
