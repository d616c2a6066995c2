"""Most tests fork the command instead of starting it: that does what the installed one does."""

import os
import subprocess
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import Command, parts
from tests.e2e.platform import PROJECT
from tests.forked import IMPORTED, ForkedSimulator, run_forked


def test_files_words_and_exit_codes_are_those_of_the_installed_command(
    harvester: Command, tmp_path: Path
) -> None:
    """Of an export, of a wrong flag, and of a variable that is set for one run alone."""
    few = ("--data-title-like", "%11%", "--quiet")
    for run, target in ((harvester, tmp_path / "forked"), (harvester.installed, tmp_path / "installed")):
        assert run("export", PROJECT, "-o", target, *few).returncode == 0
    assert parts(tmp_path / "forked") == parts(tmp_path / "installed") != {}
    for arguments, variables in (
        (("export", PROJECT, "--no-such-flag"), {}),
        (("projects",), {"ENCORD_SSH_KEY_FILE": "/nowhere"}),
        (("status", PROJECT, "--json"), {}),
    ):
        forked, installed = (run(*arguments, **variables) for run in (harvester, harvester.installed))
        assert (forked.returncode, forked.stderr) == (installed.returncode, installed.stderr)
        assert forked.stdout == installed.stdout


def test_a_forked_command_that_does_not_end_is_killed(harvester: Command) -> None:
    """As `subprocess.run` does it."""
    with pytest.raises(subprocess.TimeoutExpired):
        harvester("projects", timeout=0.0)


def test_what_is_imported_beforehand_is_there() -> None:
    """Else it would be imported each time, which is slow and shows nowhere."""
    assert [import_module(name).__name__ for name in IMPORTED] == list(IMPORTED)


def test_a_forked_command_leaves_this_process_as_it_is(tmp_path: Path) -> None:
    """Environment and directory are its own."""
    before = dict(os.environ), Path.cwd()
    assert run_forked("--version", environment={"HOME": "/"}, folder=tmp_path).returncode == 0
    assert (dict(os.environ), Path.cwd()) == before


class Forked(Simulator):
    """A simulator that is forked in any case."""

    start_process = ForkedSimulator


def test_a_forked_simulator_serves_and_ends() -> None:
    """As one of its own interpreter: it is gone once it is stopped, and a port that is taken is told."""
    with Forked(WorldSpec(rows=3), tls=False) as running:
        assert running.rows == 3
        assert running.stats()["requests"] == 0
        with pytest.raises(RuntimeError, match="did not start"):
            Forked(WorldSpec(rows=3), tls=False, port=urlsplit(running.url).port or 0).start()
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
