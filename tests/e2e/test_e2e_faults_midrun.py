"""What happens to an export that is under way: outages, revoked credentials, signals."""

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import parts, wait_for
from tests.e2e.platform import PROJECT, SMALL, Platform, since
from tests.patience import LONG, patience

# Seconds for what takes one or two. An answer that hangs takes a minute.
WITHOUT_HANGING = 40
# The same where open parts have a grace of fifteen seconds, which is not to be used.
WITHOUT_GRACE = 12
SHIM = Path(__file__).with_name("shim")


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(WorldSpec(rows=160, objects=2, branches=())) as running:
        yield Platform(running)


@pytest.fixture(scope="module")
def whole(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of an export that nothing happened to."""
    return platform.export(tmp_path_factory.mktemp("whole") / "out", *SMALL).parts


def test_fault_13_credentials_revoked_in_mid_run(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Exit 4 within seconds, with a request or two for each in flight; restored, it goes on."""
    running = platform.start(tmp_path / "out", *SMALL)
    before = platform.simulator.stats()
    platform.simulator.set_faults(revoked=True)
    _, said = running.communicate(timeout=patience(WITHOUT_HANGING))
    assert running.returncode == 4, said
    assert since(before, platform.simulator.stats())["errors"]["AUTHENTICATION_ERROR"] <= 16
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


def test_fault_13_refused_while_other_answers_hang(platform: Platform, tmp_path: Path) -> None:
    """Threads that wait for an answer for a minute do not keep the process from ending."""
    running = platform.start(tmp_path / "out", *SMALL)
    platform.simulator.set_faults(strikes=("mute", "mute", "AUTHENTICATION_ERROR"))
    assert running.communicate(timeout=patience(WITHOUT_HANGING))[1]
    assert running.returncode == 4


def test_fault_07_an_outage_is_waited_out(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Complete, exit 0; at most 20 requests wasted beyond those in flight when it began."""
    running = platform.start(tmp_path / "out", *SMALL)
    before = platform.simulator.stats()

    def wasted() -> int:
        return int(since(before, platform.simulator.stats())["in_outage"])

    platform.simulator.set_faults(down=True)
    wait_for(running, lambda: wasted() > 0)
    platform.simulator.set_faults(outages=((0.0, 2.0),))
    _, said = running.communicate(timeout=LONG)
    assert running.returncode == 0, said
    assert wasted() <= 20 + 8
    assert parts(tmp_path / "out") == whole


def test_fault_07_an_outage_longer_than_the_deadline(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Exit 5 and the command to go on, in time although answers hang; it leads to the same bytes."""
    flags, little_grace = (*SMALL, "--max-duration", "2s"), {"PYTHONPATH": str(SHIM)}
    ended = platform.export(tmp_path / "out", *flags, hold_after=60, variables=little_grace)
    assert ended.code == 5
    assert "stopped after 2 s, as asked" in ended.said
    assert "to go on: harvester export" in ended.said
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


def test_fault_16_a_second_signal_stops_at_once(platform: Platform, tmp_path: Path) -> None:
    """Although every answer hangs and open parts had a grace."""
    running = platform.start(tmp_path / "out", *SMALL)
    running.send_signal(signal.SIGINT)
    assert running.stderr
    assert any(b"again to stop at once" in line for line in running.stderr)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=patience(WITHOUT_GRACE))
    assert running.returncode == 130


def test_fault_16_a_second_signal_gives_the_terminal_back(platform: Platform, tmp_path: Path) -> None:
    """The cursor is shown, and on a line of its own stands the command that goes on."""
    ours, theirs = pty.openpty()
    platform.simulator.set_faults(hold_after=70)
    running = platform.command.start("export", PROJECT, "-o", tmp_path / "out", *SMALL, stderr=theirs)
    os.close(theirs)
    shown = b""
    for wanted in (b" of 160 rows", b"again to stop at once"):
        while wanted not in shown:
            shown += os.read(ours, 4096)
        running.send_signal(signal.SIGINT)
    assert running.wait(patience(WITHOUT_GRACE)) == 130
    with suppress(OSError):  # which the end of a terminal is
        while more := os.read(ours, 4096):
            shown += more
    os.close(ours)
    last = shown.rpartition(b"\x1b[?25h\r\n")[2].decode()
    command = f"harvester export '{PROJECT}' -o {tmp_path / 'out'} {' '.join(SMALL)}"
    assert last == f"harvester: interrupted; to go on: {command}\r\n"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_fault_16_the_grace_of_sigterm_is_short_and_ends_in_good_order(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path, processes: str
) -> None:
    """What hangs is given up, without leftovers; the same command leads to the same bytes."""
    platform.command.environment["PYTHONPATH"] = str(SHIM)
    running = platform.start(tmp_path / "out", *SMALL, "--processes", processes)
    del platform.command.environment["PYTHONPATH"]
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=patience(WITHOUT_GRACE))
    assert running.returncode == 143
    assert b"; to go on: harvester export" in said
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


def test_fault_16_sigterm_ends_a_verb_that_only_looks(platform: Platform) -> None:
    """As Ctrl-C does: one line, and the code of the signal."""
    platform.simulator.set_faults(strikes=("mute",), on=("*",))
    before = platform.simulator.stats()
    running = platform.command.start("status", PROJECT, stderr=subprocess.PIPE)
    wait_for(running, lambda: platform.simulator.stats() != before)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=LONG)
    assert (running.returncode, said) == (143, b"harvester: interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_16_a_signal_while_the_reader_is_stuck(platform: Platform, number: int, code: int) -> None:
    """Standard output that nobody reads holds up no signal."""
    platform.simulator.set_faults()
    flags = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = platform.command.start("export", PROJECT, "-o", "-", "--emit", "rows", "--quiet", **flags)
    assert running.stdout
    assert running.stdout.read(1) == b"{"
    running.send_signal(number)
    assert running.wait(patience(WITHOUT_GRACE)) == code
    running.communicate()
