"""The demo, and the code of docs/python.md, as a user runs them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Command
from tests.forked import HARVESTER, run_forked
from tests.patience import LONG

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_demo_shows_status_export_and_record(tmp_path: Path) -> None:
    """In another process over TLS; run again, it replaces its own output."""
    subprocess.run([HARVESTER, "demo", "--rows", "200"], cwd=tmp_path, capture_output=True, check=True)
    done = run_forked("demo", "--rows", "200", environment=os.environ, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "label status" in done.stdout
    for said in (
        "✓ complete",
        "200 listed = ",
        "demo-out/objects-00000.ndjson",
        '"kind": "object"',
        "Now your own",
    ):
        assert said in done.stderr


def test_the_demo_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    """A directory with somebody's files is refused."""
    (tmp_path / "demo-out").mkdir()
    (tmp_path / "demo-out" / "thesis.txt").write_text("mine")
    done = run_forked("demo", environment=os.environ, folder=tmp_path)
    assert done.returncode == 2
    assert "no earlier demo's" in done.stderr
    assert (tmp_path / "demo-out" / "thesis.txt").read_text() == "mine"


CODE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def exported(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished export, for blocks that read one."""
    target = tmp_path_factory.mktemp("exported") / "out"
    harvester.export(target, "Demo street scenes", "--data-type", "image")
    return target


@pytest.mark.parametrize("code", CODE)
def test_the_documented_code_runs(harvester: Command, exported: Path, tmp_path: Path, code: str) -> None:
    """Each block as it stands, with credentials from the environment; beside an export, if it makes none."""
    if "export(" not in code and "export_async(" not in code:
        shutil.copytree(exported, tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=harvester.environment, capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
