"""The shape of the package: one meaning a name, rooms in layers, functions and files that fit on a screen.

Each limit has its list of exceptions with a reason. An exception that is no longer needed fails the test,
so the lists only get shorter.
"""

import re
from pathlib import Path

from tests.house.source import Function, classes, functions, imported_rooms, modules, used_twice

TESTS = Path(__file__).parents[1]
MOST_PARAMETERS = 7
MOST_FUNCTION_LINES = 65
MOST_MODULE_LINES = 400

# The simulator plays the other side, and speaks of the same things: answers, listings, label rows.
OTHER_SIDE = "simulator"
# The module of a verb is called as the job that it starts.
VERBS = "cli"
# What takes a setting each, because users give them one by one.
SETTINGS = ("settings.py", "api.py", "__init__.py")


def _all_functions() -> list[Function]:
    return [function for module in modules() for function in functions(module)]


def test_no_class_name_has_two_meanings() -> None:
    """A class's name is its own in the whole package, but for the simulator."""
    names = [
        (name, module.path) for module in modules() if module.room != OTHER_SIDE for name in classes(module)
    ]
    assert not used_twice(names)


def test_no_module_name_has_two_meanings() -> None:
    """A file's name says which file it is, but for the simulator's, and for verbs that start a job."""
    names = [
        (module.name, module.path)
        for module in modules()
        if module.room not in (OTHER_SIDE, VERBS) and module.name != "__init__.py"
    ]
    assert not used_twice(names)


def test_no_two_rooms_import_each_other() -> None:
    """Rooms stand in layers."""
    arrows = {
        (module.room, other)
        for module in modules()
        if module.room not in (OTHER_SIDE, "__init__")
        for other in imported_rooms(module)
    }
    circles = {tuple(sorted(arrow)) for arrow in arrows if arrow[::-1] in arrows}
    assert not circles


def test_no_function_takes_more_than_can_be_told_apart() -> None:
    """What travels together is one value. Settings and flags are given one by one."""
    found = {
        str(function)
        for function in _all_functions()
        if function.parameters > MOST_PARAMETERS
        and function.module.room not in (OTHER_SIDE, VERBS)
        and function.module.path not in SETTINGS
    }
    assert not found


def test_every_function_fits_on_a_screen() -> None:
    """The simulator's too."""
    found = {str(function) for function in _all_functions() if function.lines > MOST_FUNCTION_LINES}
    assert not found


def test_every_module_can_be_read_at_a_sitting() -> None:
    """The simulator's too."""
    assert [m.path for m in modules() if len(m.text.splitlines()) > MOST_MODULE_LINES] == []


def test_what_is_counted_is_there() -> None:
    """Rooms, methods and nested functions are found: no test passes because it sees nothing."""
    assert {"fetch", "labels", "output", OTHER_SIDE, VERBS} <= {module.room for module in modules()}
    found = {str(function): function for function in _all_functions()}
    assert found["fetch/pool.py: Pool.__init__"].parameters == MOST_PARAMETERS
    assert "encord/connections.py: _bounded.BoundedConnection.send" in found
    assert "Pool" in {name for module in modules() for name in classes(module)}


def test_no_test_is_skipped_but_for_want_of_a_browser() -> None:
    """Nor is one expected to fail. Only where pages are looked at a test may be skipped, see its conftest."""
    ways = re.compile(r"\b(pytest|mark|unittest)\.(skip|skipif|skipUnless|xfail|importorskip)\b(?!\.Exc)")
    found = {str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py") if ways.search(path.read_text())}
    assert found == {"report/conftest.py"}
