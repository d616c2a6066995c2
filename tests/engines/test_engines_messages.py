"""What the export's process and its workers say to each other arrives as it was said."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from harvester import errors
from harvester.encord.project import ProjectInfo
from harvester.engines import messages
from harvester.engines.local import Part, Reports, StopSignal
from harvester.engines.messages import WorkerFailed, ended_by, raise_ended
from harvester.engines.processes import run, shares, with_limits
from harvester.events import Counters
from harvester.job import Job
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit, KindCounts
from harvester.part import Work
from harvester.settings import Connection, Format, Limits, Selection

WORK = Work(
    connection=Connection(ssh_key_file=Path("/key"), bearer_token="secret"),
    job=Job(
        ProjectInfo("hash", "Title ❄", "2024", b'{"objects": [1e400, "\xff"]}'[:20]),
        Selection(shapes=("polygon",), min_confidence=0.5),
        Format(emit=("rows",)),
        Limits(max_rps=3),
    ),
    target="out",
    plan="digest",
)
ROW = PlanRow(dataset_hash="d", data_title="t\n", label_hash="l", branch_name=None, data_hash="x")
LISTED = msgspec.structs.replace(ROW, metadata=msgspec.Raw(b'{"a":\n1}'), outcome="filtered")
COMMIT = Commit(
    part=3,
    plan="p",
    rows={"failed": 1},
    harvested_ids="i",
    records={"rows": KindCounts(2, 1, {"f": 1})},
    files=[],
)


@pytest.mark.parametrize(
    "message", [messages.Begin(WORK, 15.0), messages.NoMore(), messages.StopWorker()], ids=type
)
def test_what_a_worker_is_told_arrives(message: messages.ToWorker) -> None:
    """Settings, credentials and all."""
    assert messages.to_worker(messages.packed(message)[messages.PREFIX :]) == message


def test_rows_arrive_with_their_listing() -> None:
    """The listing of a row is the same JSON, and a row without one has none."""
    body = messages.packed(messages.HarvestPart(7, [ROW, LISTED]))[messages.PREFIX :]
    arrived = messages.to_worker(body)
    assert isinstance(arrived, messages.HarvestPart)
    assert arrived.rows == [ROW, LISTED]
    assert bytes(arrived.rows[1].metadata) == b'{"a":\n1}'


@pytest.mark.parametrize(
    "message",
    [
        messages.Ask(),
        messages.CountersNow({"requests": 3}),
        messages.Said("row.failed", {"label_hash": "h"}),
        messages.Committed(COMMIT),
        messages.Ended(),
    ],
    ids=type,
)
def test_what_a_worker_says_arrives(message: messages.FromWorker) -> None:
    """Counters, events, commits, the end."""
    assert messages.from_worker(messages.packed(message)[messages.PREFIX :]) == message


@pytest.mark.parametrize(
    "error",
    [
        errors.CredentialsRefused("revoked"),
        errors.CannotFinishNow("disk full"),
        errors.BadInput("no such filter"),
        errors.TargetRefused("in use"),
    ],
)
def test_an_error_of_a_worker_is_raised_as_itself(error: errors.Stop) -> None:
    """Kind and message cross the pipe, out of the group that a task group made of it."""
    with pytest.raises(type(error), match=error.message):
        raise_ended(ended_by(BaseExceptionGroup("group", [error])))


def test_a_disk_error_of_a_worker_keeps_its_number() -> None:
    """So that the command line can say whether waiting mends it."""
    with pytest.raises(OSError, match=r"Errno 28\] no room$") as found:
        raise_ended(ended_by(OSError(28, "no room")))
    assert found.value.errno == 28


def test_a_bug_in_a_worker_brings_its_traceback() -> None:
    """As a note of the error, so that its message stays short."""
    with pytest.raises(WorkerFailed, match="ZeroDivisionError: by nothing") as found:
        raise_ended(ended_by(ZeroDivisionError("by nothing")))
    assert "ZeroDivisionError" in found.value.__notes__[0]


def test_limits_are_divided_among_processes() -> None:
    """Each gets its share of what the user set; what is left to be found out stays so."""
    given = Limits(max_rps=10, concurrency=8, max_memory=512 * 1024**2, processes=4)
    share = Limits(max_rps=2.5, concurrency=2, max_memory=128 * 1024**2)
    assert shares(given, 4) == [share] * 4
    assert [(share.max_rps, share.concurrency) for share in shares(Limits(), 2)] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("concurrency", "workers", "each"), [(1, 3, [1]), (3, 4, [1, 1, 1]), (7, 4, [2, 2, 2, 1]), (5, 1, [5])]
)
def test_the_requests_in_flight_of_all_processes_add_up(
    concurrency: int, workers: int, each: list[int]
) -> None:
    """To no more and no less than was asked for: a process without a share is not started."""
    found = shares(Limits(concurrency=concurrency, max_rps=6), workers)
    assert [share.concurrency for share in found] == each
    assert sum(share.max_rps or 0 for share in found) == pytest.approx(6)


@pytest.mark.anyio
async def test_a_worker_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update has removed this Python, say."""
    monkeypatch.setattr("sys.executable", "/no/such/python")

    async def parts() -> AsyncIterator[Part]:
        return
        yield

    with pytest.raises(errors.CannotFinishNow, match=r"cannot be started: .*: /no/such/python$"):
        await run(
            with_limits(WORK, Limits(processes=2)),
            parts(),
            reports=Reports(Counters(), lambda *_: None, lambda _: None),
            stop=StopSignal(anyio.Event(), 1.0),
        )
