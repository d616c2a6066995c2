"""A server that refuses, fails, lies or goes away, against the installed command: the matrix of faults."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from harvester.schema import FAILED_KEYS, Failure
from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.faults import HOSTILE_TITLES, RowTrouble
from tests.e2e.platform import PROJECT, SMALL, Ended, Platform

SPEC = WorldSpec(rows=120, objects=2, branches=(), unlabelled=0.0)


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


# A limit that a slow machine may not reach, and a refusal that it meets all the same.
LIMITED = Faults(rate=40, burst=4, strikes=("429",), every=9, times=1)
SECONDS_LONG = ("--read-timeout", "1s", "--request-deadline", "3s")
PASSING = {
    "01_rate_limit_by_status": Passing(LIMITED),
    "01_rate_limit_in_the_envelope": Passing(replace(LIMITED, refused_as="envelope")),
    "02_retry_after_in_seconds": Passing(replace(LIMITED, burst=12, times=2, retry_after="seconds")),
    "03_retry_after_as_a_date": Passing(Faults(strikes=("429",), times=1, retry_after="date")),
    "03_retry_after_garbage": Passing(replace(LIMITED, retry_after="garbage")),
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


# By the number in its title: what is the matter with the row, what the message says, and the code.
TROUBLES: dict[int, tuple[RowTrouble, str, Failure]] = {
    5: ("too_large", "Request Entity Too Large", "too_large"),
    10: ("foreign", "leave this row out", "left_out"),
    30: ("corrupt", "The label blurb is corrupted", "unreadable"),
    40: ("deleted", "was not found", "gone"),
    50: ("forbidden", "You are not authorised", "forbidden"),
    60: ("bomb", "unpacks to over 1000 times its size", "too_large"),
    70: ("nested", "nested too deep", "unreadable"),
    80: ("nan", "no valid JSON: NaN at data_units.", "unreadable"),
    90: ("broken", "no valid JSON", "unreadable"),
}
# Row 23: what stays as it was sent, byte by byte; half a surrogate pair is no text.
ODD_VALUES: dict[int, tuple[RowTrouble, bytes]] = {
    15: ("pretty", b""),
    25: ("line_separator", '"simulator":"one\u2028two\u2029three\u0085four"'.encode()),
    45: ("big_integer", b'"simulator":123456789012345678901234567890'),
    35: ("surrogate", b'"simulator":"\\ufffd alone"'),
    55: ("duplicate_keys", b'"simulator":1,"simulator":2'),
}


@pytest.fixture(scope="module")
def troubled(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """All troubles that rows can have at once, each in a row of its own, asked for in bundles."""
    rows = {str(number): trouble for number, (trouble, *_) in {**TROUBLES, **ODD_VALUES}.items()}
    target = tmp_path_factory.mktemp("troubled") / "out"
    return platform.export(target, "--emit", "rows,objects", rows=rows)


def expect_failed(troubled: Ended, *numbers: int) -> None:
    """Those rows are listed as failed, with the reason; and only troubled rows are."""
    assert troubled.code == 3
    assert troubled.failed.keys() == {f"{number:07}" for number in TROUBLES}
    assert troubled.counts["failed"] + troubled.counts["harvested"] == SPEC.rows
    for number in numbers:
        row = troubled.failed[f"{number:07}"]
        assert TROUBLES[number][1] in row["message"]
        assert row["error"] == TROUBLES[number][2]
        assert tuple(row) == FAILED_KEYS
        assert row["attempts"] >= 1
        assert row["label_hash"].encode() not in troubled.kept("objects") + troubled.kept("rows")


def test_fault_05_a_row_too_large_for_the_server(troubled: Ended) -> None:
    """That row failed, exit 3."""
    expect_failed(troubled, 5)


def test_fault_10_a_row_that_never_comes(troubled: Ended) -> None:
    """Another row always comes in its place: it is asked for again, then it has failed."""
    expect_failed(troubled, 10)


def test_fault_11_a_corrupt_row_in_a_bundle(troubled: Ended) -> None:
    """Bisected down to it; its neighbours are harvested."""
    expect_failed(troubled, 30)
    assert all(f"_{number:07}." in troubled.kept("rows").decode() for number in (28, 29, 31, 32))


def test_fault_12_a_row_deleted_or_forbidden(troubled: Ended) -> None:
    """Failed with the server's reason; the rest goes on."""
    expect_failed(troubled, 40, 50)


def test_fault_22_a_bomb_and_json_nested_deep(troubled: Ended) -> None:
    """100 MB of zeros and 100,000 brackets: capped, and those rows failed."""
    expect_failed(troubled, 60, 70)


def test_fault_23_values_that_trip_parsers(troubled: Ended) -> None:
    """One valid line each with the value as sent, or the row failed: NaN. Half a pair becomes U+FFFD."""
    expect_failed(troubled, 80, 90)
    lines = troubled.kept("rows").split(b"\n")[:-1]
    assert len(lines) == SPEC.rows - len(TROUBLES)
    for line in lines:
        json.loads(line)
    for number, (trouble, sent) in ODD_VALUES.items():
        (line,) = (line for line in lines if f"_{number:07}.".encode() in line)
        assert sent in line, trouble


def test_fault_13_credentials_refused_at_the_start(platform: Platform, tmp_path: Path) -> None:
    """Exit 4 with what to do, after one request."""
    ended = platform.export(tmp_path / "out", revoked=True)
    assert (ended.code, ended.stats["requests"]) == (4, 1)
    assert "does not accept these credentials" in ended.said


def test_fault_14_an_unknown_host(platform: Platform, tmp_path: Path) -> None:
    """Exit 5 at once: nothing is tried again."""
    domain = "https://no-such-host.invalid"
    done = platform.command("export", PROJECT, "-o", tmp_path / "out", ENCORD_DOMAIN=domain)
    assert done.returncode == 5
    assert f"the host of {domain} is not known" in done.stderr
    assert "request.retried" not in done.stderr  # progress lines say how many were retried


def test_fault_24_titles_that_want_to_be_more(platform: Platform, tmp_path: Path) -> None:
    """`../`, escapes, NUL, 255 bytes, bidi marks: never a path, stripped on the terminal, kept."""
    rows = {str(number): "corrupt" for number in range(len(HOSTILE_TITLES))}
    ended = platform.export(tmp_path / "out", hostile_titles=True, rows=rows)
    assert ended.code == 3
    assert {row["data_title"] for row in ended.failed.values()} <= set(HOSTILE_TITLES)
    assert sum(1 for line in ended.kept("failed").splitlines()) == len(HOSTILE_TITLES)
    listed = platform.command("projects")
    for said in (ended.said, listed.stdout):
        assert not set(said) & set("\x00\x07\x1b\u202e\u2028\u2029")
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert all(name.isascii() and name[0] not in "-x" for name in names)
