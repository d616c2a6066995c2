"""What happens to an export that is under way: outages, revoked credentials, signals."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import parts
from tests.e2e.platform import PROJECT, SMALL, Platform, since


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
    platform.simulator.set_faults(latency=0.2)
    running = platform.start(tmp_path / "out", *SMALL)
    before = platform.simulator.stats()
    platform.simulator.set_faults(revoked=True)
    _, said = running.communicate(timeout=10)
    assert running.returncode == 4, said
    assert since(before, platform.simulator.stats())["errors"]["AUTHENTICATION_ERROR"] <= 16
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


def test_fault_13_refused_while_other_answers_hang(platform: Platform, tmp_path: Path) -> None:
    """Threads that wait for an answer for a minute do not keep the process from ending."""
    platform.simulator.set_faults(latency=0.2)
    running = platform.start(tmp_path / "out", *SMALL)
    platform.simulator.set_faults(strikes=("mute", "mute", "AUTHENTICATION_ERROR"))
    assert running.communicate(timeout=10)[1]
    assert running.returncode == 4


def test_fault_07_an_outage_is_waited_out(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Complete, exit 0; at most 20 requests wasted beyond those in flight when it began."""
    platform.simulator.set_faults(latency=0.2)
    running = platform.start(tmp_path / "out", *SMALL)
    before = platform.simulator.stats()
    platform.simulator.set_faults(latency=0.02, outages=((0.0, 4.0),))
    _, said = running.communicate(timeout=30)
    assert running.returncode == 0, said
    assert 0 < since(before, platform.simulator.stats())["in_outage"] <= 20 + 8
    assert parts(tmp_path / "out") == whole


def test_fault_07_an_outage_longer_than_the_deadline(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Exit 5 and the command to go on, in time although answers hang; it leads to the same bytes."""
    platform.simulator.set_faults(latency=0.2)
    running = platform.start(tmp_path / "out", *SMALL, "--max-duration", "2s")
    platform.simulator.set_faults(down=True)
    _, said = running.communicate(timeout=25)
    assert running.returncode == 5
    assert b"stopped after 2 s, as asked" in said
    assert b"to go on: harvester export" in said
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


def test_fault_16_a_second_signal_stops_at_once(platform: Platform, tmp_path: Path) -> None:
    """Although every answer hangs and open parts had a grace."""
    platform.simulator.set_faults(latency=0.2)
    running = platform.start(tmp_path / "out", *SMALL)
    platform.simulator.set_faults(strikes=("mute",))
    running.send_signal(signal.SIGINT)
    assert running.stderr
    while b"again to stop at once" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=3)
    assert running.returncode == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_16_a_signal_while_the_reader_is_stuck(platform: Platform, number: int, code: int) -> None:
    """Standard output that nobody reads holds up no signal."""
    platform.simulator.set_faults()
    flags = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = platform.command.start("export", PROJECT, "-o", "-", "--emit", "rows", "--quiet", **flags)
    assert running.stdout
    assert running.stdout.read(1) == b"{"
    running.send_signal(number)
    assert running.wait(5) == code
    running.communicate()
