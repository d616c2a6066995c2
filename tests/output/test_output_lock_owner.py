"""Whether the process that holds a lock still runs, as far as it can be seen from here."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harvester.output.lock_owner import LockOwner

HOLDER = LockOwner(
    pid=4242, host="here", since="2026-01-01", command="harvester", machine="boot pid:[1]", started="777"
)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc that shows no process, as one with hidepid=2 does to another user."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("boot\n")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[1]")
    return tmp_path


def show(proc: Path, state: str, started: str) -> None:
    (proc / "4242").mkdir()
    (proc / "4242/stat").write_text(f"4242 (a ) name) {state} {'0 ' * 18}{started} 0 0")


@pytest.mark.parametrize(
    ("raised", "alive"),
    [(PermissionError, True), (ProcessLookupError, False), (OverflowError, False), (None, None)],
)
def test_a_process_that_is_not_shown_is_asked_for_by_a_signal(
    proc: Path, raised: type[Exception] | None, alive: bool | None
) -> None:
    """Another user's is alive; one that is not there is dead; of one that is only hidden nothing is known."""
    sent: list[tuple[int, int]] = []

    def send(pid: int, number: int) -> None:
        sent.append((pid, number))
        if raised is not None:
            raise raised

    assert HOLDER.is_alive(proc, send) is alive
    assert sent == [(4242, 0)], "0: it is only checked whether it could be sent"


@pytest.mark.parametrize(
    ("state", "started", "alive"), [("S", "777", True), ("S", "778", False), ("Z", "777", False)]
)
def test_a_process_that_is_shown_is_known_by_its_start(
    proc: Path, state: str, started: str, alive: bool
) -> None:
    """A zombie is dead, and so is a holder whose number another process has by now."""
    show(proc, state, started)
    assert HOLDER.is_alive(proc, unasked) is alive


@pytest.mark.parametrize("lacking", [{"machine": "another"}, {"machine": ""}, {"started": ""}])
def test_of_a_process_without_an_id_here_nothing_is_known(proc: Path, lacking: dict[str, str]) -> None:
    """Its lease tells, by its time."""
    show(proc, "S", "777")
    assert msgspec.structs.replace(HOLDER, **lacking).is_alive(proc, unasked) is None


def unasked(pid: int, number: int) -> None:
    raise AssertionError("no signal is needed")


def test_this_process_is_alive_and_one_that_has_ended_is_dead() -> None:
    """By this machine's own /proc; without one nothing is known."""
    holder = LockOwner.this_process()
    assert holder.pid == os.getpid()
    alive, dead = (True, False) if holder.machine else (None, None)
    assert holder.is_alive() is alive
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert msgspec.structs.replace(holder, pid=process.pid).is_alive() is dead
