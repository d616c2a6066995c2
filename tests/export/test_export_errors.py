"""Errors that the documentation names can be caught by the names that it gives them."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import harvester
from harvester import errors

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
OPTIONAL = ("harvester.simulator",)


def error_classes() -> dict[str, type[Exception]]:
    """Every error of the tree, wherever it is defined."""
    for module in pkgutil.walk_packages(harvester.__path__, "harvester."):
        if not module.name.startswith(OPTIONAL) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = dict[str, type[Exception]](), [errors.HarvesterError]
    while waiting:
        error = waiting.pop()
        found[error.__name__] = error
        waiting += error.__subclasses__()
    return found


def documented() -> set[str]:
    """Words that the pages, and the docstrings of what can be imported, spell like classes."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    texts += [
        inspect.getdoc(getattr(harvester, name)) or "" for name in harvester.__all__ if name != "Record"
    ]
    return {word for text in texts for word in re.findall(r"\b[A-Z][A-Za-z]+\b", text)}


def test_every_error_that_is_documented_can_be_imported() -> None:
    """From `harvester` itself, and as the class that is raised."""
    classes, named = error_classes(), documented()
    assert {"BadInput", "CannotFinishNow", "SkipRow", "Unsound"} < classes.keys() & named
    for name in classes.keys() & named:
        assert getattr(harvester, name, None) is classes[name], name
        assert name in harvester.__all__


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+)` \|", PYTHON, re.M))
def test_the_documented_errors_are_all_raised_to_users(name: str) -> None:
    """Each is an error; all but `SkipRow` stop the run with the exit code of the command."""
    error = getattr(harvester, name)
    assert issubclass(error, harvester.HarvesterError)
    assert issubclass(error, harvester.Stop) == (name != "SkipRow")


def test_the_page_names_every_error_that_stops_a_run() -> None:
    """And what to do next."""
    stops = {error.__name__ for error in errors.Stop.__subclasses__() if error.__module__ == errors.__name__}
    assert stops | {"SkipRow"} == set(re.findall(r"^\| `(\w+)` \|", PYTHON, re.M))


def test_everything_that_harvester_exports_is_there() -> None:
    """In order, once, and every record's type among it."""
    assert sorted(set(harvester.__all__)) == harvester.__all__
    assert all(hasattr(harvester, name) for name in harvester.__all__)
    assert {record.__name__ for record in harvester.Record.__args__} < set(harvester.__all__)
