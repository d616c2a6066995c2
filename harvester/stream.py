"""The stream: list -> fetch -> extract -> filter, without a target. For standard output and Python."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

import anyio
import anyio.from_thread
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.fetch.pool import FailedRow, Pool
from harvester.filters.own import OwnFilter
from harvester.job import Job, Observer
from harvester.known import check_selection
from harvester.labels.extract import Extracted, Extractor
from harvester.labels.wire import PlanRow
from harvester.nothing_left import nothing_left
from harvester.output.compression import compressor
from harvester.output.stdout import send
from harvester.part import Tally
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import rows_of
from harvester.plan.planned import plan_lines
from harvester.settings import Compression
from harvester.stopping import stopping_when
from harvester.summary import Summary

if TYPE_CHECKING:
    from harvester.encord.session import Session

_ROWS_AT_ONCE = 500  # rows of the plan read from the sorter in one call of a thread
_WRITE_AT_ONCE = 64 * 1024  # bytes: the capacity of a pipe on Linux, see pipe(7)


async def write_stream(
    session: "Session",
    job: Job,
    stream: BinaryIO,
    observer: Observer,
    *,
    functions: Mapping[str, OwnFilter] | None = None,
) -> Summary:
    """Write a project's records to `stream`, in plan order. Failed rows are counted and reported only.

    With `format.compress`, the output is one compressed stream.

    Raises:
        BrokenPipeError: the reader of `stream` has closed it.
        CannotFinishNow, and others: as `harvester.export.export` does.
    """
    began, counters = anyio.current_time(), observer.counters
    tally, notes, decide = Tally(), Counter[str](), ListingFilter(job.selection)
    output = _Output(stream, job.format.compress)

    async def work() -> None:
        found = stream_rows(session, job, observer, functions=functions or {}, decide=decide)
        async with aclosing(found) as rows:
            async for some, outcome in rows:
                if not isinstance(outcome, FailedRow):
                    tally.add(some, outcome)
                    notes.update(note.note for note in outcome.notes)
                    await output.write(chain.from_iterable(lines.chunks for lines in outcome.lines.values()))
        await output.end()

    async with stopping_when(observer.stopping, job.limits.max_duration) as stopping:
        await stopping.cut_short(work)
    outcomes = ("listed", "harvested", "unlabelled", "filtered", "failed")
    counts = {name: getattr(counters, name) for name in outcomes}
    return Summary(
        target="-",
        project=job.project.title,
        counts=counts,
        records=msgspec.to_builtins(dict(sorted(tally.records.items()))),
        notes=dict(sorted(notes.items())),
        drift=None,
        run={
            "seconds": round(anyio.current_time() - began, 3),
            "resumed": False,
            "harvested": counters.harvested,
            **counters.work(),
        },
        nothing_left=nothing_left(
            job.selection, job.format.for_streams(), counts, tally.records,
            lacking=tally.lacking or (), ruled_out=decide.last,
        ),
    )  # fmt: skip


async def stream_rows(
    session: "Session",
    job: Job,
    observer: Observer,
    *,
    functions: Mapping[str, OwnFilter],
    reader: type[Extractor] = Extractor,
    decide: ListingFilter | None = None,
) -> AsyncGenerator[tuple[list[PlanRow], Extracted | FailedRow], None]:
    """Yield harvested rows in groups with their lines, and failed rows one by one, in plan order.

    `reader` extracts the records, `decide` says which rows are fetched. The task that iterates must also
    close it (`contextlib.aclosing`). Raises as `harvester.export.export`.
    """
    selection, format, counters = job.selection, job.format.for_streams(), observer.counters
    extractor = reader(selection, format, job.project.ontology, functions)
    check = partial(check_selection, session, job.project, selection, observer.on_event)
    await in_thread(check, abandon_on_cancel=True)
    source = session.label_rows(job.project, selection, format)
    deadline = session.connection.request_deadline
    decide = decide or ListingFilter(selection)

    def plan() -> Iterator[PlanRow]:
        counters.is_listing = True
        with session.listing(job.project, selection, format) as listing:
            lines = plan_lines(listing, selection, format, decide=decide, on_listed=listed)
            first = list(islice(lines, 1))  # comes when the last row has been listed
            counters.is_listing = False
            yield from rows_of(chain(first, lines))

    def listed(count: int) -> None:
        anyio.from_thread.check_cancelled()
        counters.listed = count

    async def wanted() -> AsyncIterator[PlanRow]:
        rows = plan()
        chunk = await in_thread(lambda: list(islice(rows, _ROWS_AT_ONCE)), abandon_on_cancel=True)
        decide.report(observer.on_event)  # the first row comes after the whole listing
        while chunk:
            for row in chunk:
                if row.outcome is None:
                    yield row
                else:
                    counters.add({row.outcome: 1})
            chunk = await in_thread(lambda: list(islice(rows, _ROWS_AT_ONCE)))

    pool = Pool(source, job.limits, counters=counters, on_event=observer.on_event, request_deadline=deadline)
    async with pool, aclosing(pool.stream(wanted(), extractor)) as outcomes:
        async for some, outcome in outcomes:
            if not isinstance(outcome, FailedRow):
                counters.notes += len(outcome.notes)
                for note in outcome.notes:
                    observer.on_event("row.noted", msgspec.structs.asdict(note))
            yield some, outcome


class _Output:
    """Buffers and compresses what is written to a stream."""

    def __init__(self, stream: BinaryIO, compression: Compression | None) -> None:
        self._stream = stream
        self._compressor = compressor(compression)
        self._waiting: list[bytes] = []
        self._size = 0

    async def write(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self._waiting.append(chunk)
            self._size += len(chunk)
            if self._size >= _WRITE_AT_ONCE:
                await self._send(self._compressor.compress(self._taken()))

    async def end(self) -> None:
        await self._send(self._compressor.compress(self._taken()) + self._compressor.flush())

    def _taken(self) -> bytes:
        taken, self._waiting, self._size = b"".join(self._waiting), [], 0
        return taken

    async def _send(self, data: bytes) -> None:
        # In a thread, because a slow reader blocks the write, and the event loop must still handle signals.
        await in_thread(send, self._stream, data, abandon_on_cancel=True)
