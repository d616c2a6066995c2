"""A server that refuses, fails, lies or goes away, against the installed command: the matrix of faults."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Faults, Simulator, WorldSpec
from tests.e2e.conftest import command_for, parts, wait_for

PROJECT = "Demo street scenes"
SPEC = WorldSpec(rows=120, objects=2, branches=())
SMALL = ("--bundle-size", "4", "--concurrency", "8", "--rows-per-part", "20")


@dataclass(frozen=True)
class Ended:
    """How an export ended, and what the server counted meanwhile."""

    code: int
    said: str
    seconds: float
    counts: dict[str, int]
    parts: dict[str, bytes]
    stats: dict[str, Any]

    @property
    def failed(self) -> dict[str, dict[str, Any]]:
        """The failed rows, by the number in their title."""
        lines = b"".join(lines for name, lines in self.parts.items() if name.startswith("failed-"))
        rows = [json.loads(line) for line in lines.splitlines()]
        return {row["data_title"].rpartition("_")[2].partition(".")[0]: row for row in rows}

    def kept(self, kind: str = "objects") -> bytes:
        return b"".join(lines for name, lines in self.parts.items() if name.startswith(kind))


class Platform:
    """A simulator, and the installed command that exports from it while something is the matter."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.command = command_for(simulator)

    def export(self, target: Path, *flags: str, faults: Faults | None = None, **changes: Any) -> Ended:
        self.simulator.set_faults(faults, **changes)
        before = self.simulator.stats()
        done = self.command("export", PROJECT, "-o", target, "--json", *flags, timeout=60)
        summary = json.loads(done.stdout) if done.stdout else {"counts": {}, "run": {"seconds": 0}}
        assert "Traceback" not in done.stderr
        return Ended(
            done.returncode,
            done.stderr,
            summary["run"]["seconds"],
            summary["counts"],
            parts(target),
            since(before, self.simulator.stats()),
        )

    def start(self, target: Path, *flags: str) -> "subprocess.Popen[bytes]":
        """An export under way: a part is committed."""
        running = self.command.start("export", PROJECT, "-o", target, *flags, stderr=subprocess.PIPE)
        wait_for(running, lambda: any(target.glob(".harvester/commits/*.json")))
        return running


def since(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was counted between two snapshots."""
    return {
        name: since(before[name], value) if isinstance(value, dict) else value - before.get(name, 0)
        for name, value in after.items()
        if name in before or not isinstance(value, dict)
    }


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(SPEC) as running:
        yield Platform(running)


@pytest.fixture(scope="module")
def whole(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of an export with nothing the matter, in small parts."""
    return platform.export(tmp_path_factory.mktemp("whole") / "out", *SMALL).parts


@dataclass(frozen=True)
class Passing:
    """A trouble that passes: the export ends complete, with the bytes of an undisturbed one."""

    faults: Faults
    flags: tuple[str, ...] = SMALL
    struck: int = 0  # requests that it hits, at least


SECONDS_LONG = ("--read-timeout", "0.5s", "--request-deadline", "2s")
PASSING = {
    "01_rate_limit_by_status": Passing(Faults(rate=40, burst=4)),
    "01_rate_limit_in_the_envelope": Passing(Faults(rate=40, burst=4, refused_as="envelope")),
    "02_retry_after_in_seconds": Passing(Faults(rate=40, burst=12, retry_after="seconds")),
    "03_retry_after_as_a_date": Passing(Faults(strikes=("429",), times=1, retry_after="date")),
    "03_retry_after_garbage": Passing(Faults(rate=40, burst=4, retry_after="garbage")),
    "04_more_rows_than_allowed": Passing(Faults(max_rows=7), ("--concurrency", "1", "--rows-per-part", "20")),
    "04_answers_larger_than_sent": Passing(Faults(max_response_bytes=60_000), ("--rows-per-part", "20")),
    "06_server_errors": Passing(
        Faults(strikes=("500", "502", "503", "504", "html", "html_200"), every=3, times=6), struck=6
    ),
    "08_hangs_and_trickles": Passing(
        Faults(strikes=("mute", "stalled", "trickle"), every=5, times=3), SMALL + SECONDS_LONG, struck=3
    ),
    "09_broken_answers": Passing(
        Faults(strikes=("reset", "truncated", "not_json", "closed"), every=4, times=4), struck=4
    ),
    "10_wrong_rows_in_an_answer": Passing(Faults(bundle=("missing", "duplicate", "foreign"), bundle_every=2)),
}


@pytest.fixture(params=PASSING)
def passed(request: pytest.FixtureRequest, platform: Platform, tmp_path: Path) -> tuple[str, Ended]:
    case = PASSING[request.param]
    return request.param, platform.export(tmp_path / "out", *case.flags, faults=case.faults)


def test_fault_01_to_10_that_pass_leave_no_trace(passed: tuple[str, Ended], whole: dict[str, bytes]) -> None:
    """Complete, exit 0, no row failed, the same bytes; and no request while Retry-After asks for none."""
    name, ended = passed
    assert ended.code == 0, ended.said
    assert ended.counts["failed"] == 0
    assert ended.parts == whole
    assert ended.stats["in_retry_after"] == 0
    assert sum(ended.stats["struck"].values()) >= PASSING[name].struck
    assert bool(ended.stats["refused"]) == name.startswith(("01", "02", "03"))
    if name.startswith("04_more"):
        assert ended.stats["errors"]["MULTI_LABEL_LIMIT_ERROR"] == 1, "the limit is learnt in one error"


def test_fault_03_retry_after_of_a_day_ends_it_at_once(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Exit 5 with the pause asked for, and the command to go on, which leads to the same bytes."""
    ended = platform.export(tmp_path / "out", *SMALL, strikes=("429",), every=9, retry_after="day")
    assert ended.code == 5
    assert "asks for a pause of 86400 s" in ended.said
    assert "to go on: harvester export" in ended.said
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


TROUBLES = {
    5: ("too_large", "SkipRow", "Request Entity Too Large"),
    10: ("foreign", "SkipRow", "leave this row out"),
    11: ("corrupt", "SkipRow", "corrupted"),
    12: ("deleted", "SkipRow", "not found"),
    13: ("forbidden", "SkipRow", "not authorised"),
    22: ("bomb", "SkipRow", "unpacks to over 1000 times"),
    23: ("nested", "SkipRow", "nested too deep"),
    31: ("nan", "SkipRow", "JSON"),
    32: ("broken", "SkipRow", "no valid JSON"),
}


@pytest.fixture(scope="module")
def troubled(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """All troubles at once, each in a row of its own, all rows in one bundle."""
    rows: dict[str, Any] = {str(number): trouble for number, (trouble, _, _) in TROUBLES.items()}
    target = tmp_path_factory.mktemp("troubled") / "out"
    return platform.export(target, "--concurrency", "1", rows=rows, seed=1)


def test_fault_05_10_11_12_22_and_23_cost_their_own_row_only(troubled: Ended) -> None:
    """Each troubled row is listed as failed with its reason, exit 3, and all the others are harvested."""
    assert troubled.code == 3, troubled.said
    assert troubled.counts["failed"] == len(TROUBLES)
    assert troubled.counts["harvested"] == sum(
        troubled.counts[name] * sign for name, sign in (("listed", 1), ("unlabelled", -1), ("failed", -1))
    )
    by_title = [row for _, row in sorted(troubled.failed.items())]
    for row, (trouble, error, words) in zip(by_title, TROUBLES.values(), strict=True):
        assert row["error"] == error, trouble
        assert words in row["message"], trouble
        assert row["attempts"] >= 1


def test_fault_07_an_outage_is_waited_out(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Few requests are spent on a server that is down, no row fails, and the bytes are the same."""
    ended = platform.export(
        tmp_path / "out", *SMALL, "--concurrency", "2", latency=0.5, outages=((2.5, 6.5),)
    )
    assert ended.code == 0, ended.said
    assert ended.counts["failed"] == 0
    assert 0 < ended.stats["in_outage"] <= 2 + 20
    assert ended.parts == whole


def test_fault_13_credentials_revoked_in_mid_run_end_it_at_once(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Exit 4 within seconds and no storm of requests; once they are good again, the export goes on."""
    target = tmp_path / "out"
    platform.simulator.set_faults(latency=0.4)
    running = platform.start(target, *SMALL, "--concurrency", "1")
    before = platform.simulator.stats()
    platform.simulator.set_faults(latency=0.4, revoked=True)
    _, said = running.communicate(timeout=10)
    assert running.returncode == 4, said
    assert since(before, platform.simulator.stats())["requests"] <= 3
    assert not (target / "manifest.json").exists()
    assert platform.export(target, *SMALL).parts == whole


def test_fault_24_hostile_titles_are_data_and_nothing_else(platform: Platform, tmp_path: Path) -> None:
    """No title becomes a path, and none steers the terminal."""
    target = tmp_path / "in" / "out"
    ended = platform.export(target, *SMALL, hostile_titles=True)
    assert ended.code == 0, ended.said
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert all(name.partition("-")[0] in ("objects", "classifications") for name in ended.parts)
    assert ended.said.isprintable() or not set(ended.said) & set("\x1b\x00\u202e\x07")
