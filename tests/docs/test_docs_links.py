"""The pages agree with each other and with the code: links, names, tables, and code that runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import pacing
from harvester.encord import faults
from tests.docs.definitions import defined, fields
from tests.docs.markdown import (
    PAGES,
    ROOT,
    Block,
    Table,
    anchors,
    clone_blocks,
    code_references,
    first_cell,
    links,
    prose,
    tables,
)
from tests.patience import LONG

_PYTHON = re.compile(r"([\w./-]+\.py)(?:::?([\w.]+))?")
_PATH = re.compile(r"(?:harvester|tests|benchmarks|docs|requirements|\.ci)/[\w./*-]*")
_ELSEWHERE = re.compile(r"[a-z]+:")

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@by_name
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file that is there, and an anchor a heading of that page."""
    for link in links(page):
        if _ELSEWHERE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@by_name
def test_every_code_path_is_there(page: Path) -> None:
    """`path/file.py` is a file of this repository, and `path/file.py:name` is defined in it."""
    for reference in code_references(page):
        if found := _PYTHON.fullmatch(reference):
            path, name = found.groups()
            assert (ROOT / path).is_file(), reference
            assert name is None or name in defined(ROOT / path), reference
        elif _PATH.fullmatch(reference):
            assert list(ROOT.glob(reference.rstrip("/"))), reference


@pytest.mark.parametrize("table", tables(), ids=str)
def test_a_table_about_code_names_what_the_code_has(table: Table) -> None:
    """One marked "names of" holds names that exist; one marked "fields of" holds all fields and no other."""
    path, _, scope = table.scope.partition(":")
    assert table.names
    if table.complete:
        assert set(table.names) == set(fields(ROOT / path, scope))
    for name in table.names:
        assert (f"{scope}.{name}" if scope else name) in defined(ROOT / path), name


def test_the_table_of_errors_is_the_one_that_the_code_uses() -> None:
    """docs/wire-format.md says of each exception what it becomes for one row, several rows, the project."""
    text = prose(ROOT / "docs" / "wire-format.md")
    rows = [row for row in text.splitlines() if re.match(r"\| `\w+", row)]
    told = {first_cell(row): [cell.strip() for cell in row.strip("|").split("|")[-3:]] for row in rows}
    for exception, *meanings in faults._TABLE:
        named = [one if isinstance(one, str) else one.__name__ for one in meanings]
        assert told[f"`{exception.__name__}`"] == [f"`{name}`" for name in named], exception


def test_the_drawing_of_rate_control_is_made_by_the_present_code() -> None:
    """After a change of the controller, `python -m benchmarks.pacing draw` makes it anew."""
    assert pacing.DRAWING.read_text(encoding="utf-8") == pacing.drawing()


@pytest.mark.parametrize("block", clone_blocks(), ids=str)
def test_commands_for_a_clone_run_there(block: Block) -> None:
    """Tests that a page would run are collected only: they run anyway."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", block.code],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTEST_ADDOPTS": "--collect-only"},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
