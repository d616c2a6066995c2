"""Most tests fork the command instead of starting it: that does what the installed one does."""

import json
import os
import signal
import subprocess
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from subprocess import DEVNULL, PIPE
from urllib.parse import urlsplit

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import Command, parts
from tests.e2e.platform import PROJECT
from tests.forked import IMPORTED, ForkedSimulator, run_forked
from tests.patience import LONG
from tests.stand_in import stand_in


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


def test_a_command_under_way_is_read_and_signalled(harvester: Command, tmp_path: Path) -> None:
    """As one that `subprocess.Popen` starts; its streams are what they are told to be."""
    with harvester.start("status", PROJECT, "--json", stdout=PIPE, stderr=PIPE) as running:
        out, err = running.communicate(timeout=LONG)
    installed = harvester.installed("status", PROJECT, "--json")
    assert (running.returncode, out.decode(), err.decode()) == (0, installed.stdout, installed.stderr)
    for number in (signal.SIGTERM, signal.SIGKILL):
        endless = harvester.start("simulate", stdout=PIPE, stderr=DEVNULL)
        assert endless.stdout
        assert endless.stdout.readline()
        endless.send_signal(number)
        endless.communicate(timeout=LONG)
        assert endless.returncode == (-number if number == signal.SIGKILL else 0)


def test_a_forked_command_runs_what_is_in_pythonpath(harvester: Command, tmp_path: Path) -> None:
    """As an interpreter does when it starts."""
    (tmp_path / "sitecustomize.py").write_text("print('customised')")
    assert harvester("--version", PYTHONPATH=str(tmp_path)).stdout.splitlines()[0] == "customised"


def test_a_shell_finds_what_stands_in_for_the_command(harvester: Command, tmp_path: Path) -> None:
    """Folder, environment, streams and exit code are the shell's; what is killed ends."""
    script = (
        f"harvester status '{PROJECT}' --json > said; harvester verify nothing; code=$?; exec >&-; exit $code"
    )
    with stand_in() as first:
        path = f"{first}{os.pathsep}{os.environ['PATH']}"
        environment = harvester.environment | {"PATH": path}
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 2
        assert b"nothing" in done.stderr
        assert json.loads((tmp_path / "said").read_text())["project"]["title"] == PROJECT
        with subprocess.Popen([first / "harvester", "simulate"], env=environment, stdout=PIPE) as endless:
            assert endless.stdout
            assert endless.stdout.readline()
            endless.kill()
            assert wait([endless.stdout.fileno()], LONG)
            assert endless.stdout.read() == b""  # no process holds it any more


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
