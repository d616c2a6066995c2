"""The page of promises names a test for each; each of them is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_promise_is_held_by_a_test_that_exists() -> None:
    """Every test that docs/promises.md names is defined in the file that it names."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs" / "promises.md").read_text())
    assert len(named) > 9
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_each_fault_of_the_matrix_has_a_test() -> None:
    """Tests through the installed command, named for their rows: 1 to 25, or a range of them in one."""
    covered = set[int]()
    for file in (ROOT / "tests" / "e2e").glob("test_e2e_*.py"):
        text = file.read_text()
        covered |= {int(number) for number in re.findall(r"def test_fault_(\d\d)_", text)}
        covered |= {int(number) for number in re.findall(r'^    "(\d\d)_\w+": Passing', text, re.M)}
    assert covered == set(range(1, 26))
