"""Harvest ONE part: fetch -> extract -> filter -> write. The unit of work of every engine."""

from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Protocol

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.job import Job
from harvester.labels.extract import Extracted, Extractor
from harvester.labels.notes import Note
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit, IdDigest, KindCounts, write_commit
from harvester.output.merging import failed_in, merge_part, part_with_failures
from harvester.output.ndjson import PartWriter
from harvester.output.scratch_files import ScratchFiles
from harvester.output.target import Target, open_target
from harvester.settings import Connection


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a process needs to harvest parts of one export.

    `target` names the place whose lock is held, `folder` what of it is the export's, if not all, and `token`
    is the lock's (see `Target.opened_as`); `plan` is the digest of the frozen plan in there. `row_bytes` is
    what a label row weighed on average in an earlier run, if that is known. `retry_failed`: of a part that is
    there already, the failed rows are fetched again.
    """

    connection: Connection
    job: Job
    target: str
    folder: str = ""
    token: str = ""
    plan: str
    row_bytes: float | None = None
    retry_failed: bool = False

    def open_target(self) -> Target:
        """Where the parts go, in a process that does not hold the lock itself. Touches nothing yet."""
        whole = open_target(self.target, self.token)
        return whole.within(self.folder) if self.folder else whole


class RecordSink(Protocol):
    """A sink for the lines of a part. Blocking.

    `would_flush` says whether a `write` of `size` bytes would flush the buffer: then it must run in a thread.
    Other writes only append to the buffer.
    """

    def would_flush(self, kind: str, size: int) -> bool: ...

    def write(self, kind: str, lines: Iterable[bytes], records: int, rows: int) -> None: ...

    def fail(self, row: FailedRow) -> None: ...

    def note(self, notes: Iterable[Note]) -> None: ...


class Tally:
    """Counts of harvested and failed rows, and of their records by kind.

    `lacking`: see `harvester.output.commit.Commit`.
    """

    def __init__(self) -> None:
        self.harvested = 0
        self.failed = 0
        self.records: dict[str, KindCounts] = {}
        self.harvested_ids = IdDigest()
        self.lacking: frozenset[str] | None = None

    def add(self, rows: Sequence[PlanRow], extracted: Extracted) -> None:
        """Count harvested rows and their records."""
        self.harvested += len(rows)
        self.harvested_ids.add(rows)
        self.lacking = extracted.lacking if self.lacking is None else self.lacking & extracted.lacking
        for kind, seen in extracted.seen.items():
            counts = self.records.get(kind)
            if counts is None:
                counts = self.records[kind] = KindCounts()
            counts.count(seen, extracted.written[kind], extracted.dropped[kind])


async def harvest_part(
    part: int,
    rows: Sequence[PlanRow],
    work: Work,
    *,
    target: Target,
    pool: Pool,
    extractor: Extractor,
    counters: Counters,
) -> Commit:
    """Harvest part number `part` of the plan, which has the rows `rows`, and commit it to `target`.

    If it fails or is cancelled, its files are deleted. With `work.retry_failed`, a part that is there already
    keeps its rows, and only those that failed are fetched. Raises what `harvest_rows` raises, and
    CannotFinishNow if the target cannot be written.
    """
    fetch = partial(_fetch_part, part, work=work, pool=pool, extractor=extractor, counters=counters)
    if work.retry_failed and (former := await in_thread(part_with_failures, target, work.plan, part)):
        return await _retry_failed(former, rows, fetch, work, target, counters)
    writer = PartWriter(target, part, work.job.format.compress)
    try:
        commit = await fetch(rows, writer)
        await in_thread(write_commit, target, commit)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await in_thread(writer.discard)
        raise
    return commit


async def _fetch_part(
    part: int,
    rows: Sequence[PlanRow],
    writer: PartWriter,
    *,
    work: Work,
    pool: Pool,
    extractor: Extractor,
    counters: Counters,
) -> Commit:
    """Harvest rows of a part, and make its files durable. Return the commit record, which is not written."""
    outcomes = Counter(row.outcome for row in rows)
    counters.unlabelled += outcomes["unlabelled"]
    counters.filtered += outcomes["filtered"]
    tally = await harvest_rows(
        (row for row in rows if row.outcome is None), pool=pool, extractor=extractor, sink=writer
    )
    notes = writer.notes(without=("stale",) if pool.clocks_differ else ())
    counters.notes += sum(notes.values())
    return Commit(
        part=part,
        plan=work.plan,
        rows={
            "harvested": tally.harvested,
            "unlabelled": outcomes["unlabelled"],
            "filtered": outcomes["filtered"],
            "failed": tally.failed,
        },
        harvested_ids=tally.harvested_ids.hexdigest(),
        records=tally.records,
        files=await in_thread(writer.close),  # in a thread, because fsync blocks
        notes=notes,
        lacking=None if tally.lacking is None else sorted(tally.lacking),
    )


async def _retry_failed(
    former: Commit,
    rows: Sequence[PlanRow],
    fetch: Callable[[Sequence[PlanRow], PartWriter], Awaitable[Commit]],
    work: Work,
    target: Target,
    counters: Counters,
) -> Commit:
    """Fetch the failed rows of a part, into temporary files, and merge them into the part."""
    failed = await in_thread(failed_in, target, former)
    with closing(ScratchFiles()) as beside:
        again = [row for row in rows if row.label_hash in failed]
        fresh = await fetch(again, PartWriter(beside, former.part))
        compression = work.job.format.compress
        merge = partial(merge_part, target, former, rows, beside=beside, fresh=fresh, compression=compression)
        commit = await in_thread(merge)
    counters.add(former.counted | {"failed": 0})
    return commit


async def harvest_rows(
    rows: Iterable[PlanRow] | AsyncIterable[PlanRow],
    *,
    pool: Pool,
    extractor: Extractor,
    sink: RecordSink,
) -> Tally:
    """Fetch `rows`, extract and filter their records, and write them to `sink` in the order of `rows`.

    A row that fails is written as a failed row, and the others go on. An error that concerns more than one
    row (see `harvester.errors.Stop`) is raised.
    """
    tally = Tally()
    async with aclosing(pool.stream(rows, extractor)) as outcomes:
        async for some, outcome in outcomes:
            if isinstance(outcome, FailedRow):
                tally.failed += 1
                sink.fail(outcome)
                continue
            tally.add(some, outcome)
            if outcome.notes:
                sink.note(outcome.notes)
            for kind, lines in outcome.lines.items():
                if lines.size:
                    write = partial(sink.write, kind, lines.chunks, outcome.written[kind], outcome.rows[kind])
                    if sink.would_flush(kind, lines.size):  # in a thread: it compresses and writes
                        await in_thread(write)
                    else:
                        write()
    return tally
