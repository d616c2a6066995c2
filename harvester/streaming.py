"""Rows as they come, in the order of the plan, for who keeps nothing: standard output, the Python API."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

import anyio
import anyio.from_thread
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.encord.project import ProjectInfo
from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.filters.own import OwnFilter
from harvester.labels.extract import Extractor, Harvest
from harvester.labels.wire import PlanRow
from harvester.output.compression import compressor
from harvester.output.stdout import send
from harvester.part import Tally
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import rows_of
from harvester.plan.planned import plan_lines
from harvester.settings import Format, Limits, Selection
from harvester.stopping import stopping_when
from harvester.summary import Summary

if TYPE_CHECKING:
    from harvester.encord.session import Session

OnEvent = Callable[[str, Mapping[str, Any]], None]

_ROWS_AT_ONCE = 500  # rows of the plan drawn from the sorter in one go
_WRITE_AT_ONCE = 64 * 1024  # bytes: a pipe's own buffer


async def stream_rows(
    session: "Session",
    project: ProjectInfo,
    selection: Selection,
    format: Format,
    limits: Limits,
    *,
    counters: Counters,
    on_event: OnEvent,
    functions: Mapping[str, OwnFilter],
    reader: type[Extractor] = Extractor,
) -> AsyncGenerator[tuple[list[PlanRow], Harvest | FailedRow], None]:
    """The rows that are asked for, some at a time, with their lines, or one with why it could not be had.

    `reader` makes their records. To be closed by the task that iterates (`contextlib.aclosing`). Raises as
    `harvester.export.export`.
    """
    format = format.for_streams()
    extractor = reader(selection, format, project.ontology, functions)
    source = session.label_rows(project, selection, format)
    deadline = session.connection.request_deadline

    decide = ListingFilter(selection)

    def plan() -> Iterator[PlanRow]:
        with session.listing(project, selection, format) as listing:
            yield from rows_of(plan_lines(listing, selection, format, decide=decide, on_listed=listed))

    def listed(count: int) -> None:
        anyio.from_thread.check_cancelled()
        counters.listed = count

    async def wanted() -> AsyncIterator[PlanRow]:
        rows = plan()
        chunk = await in_thread(lambda: list(islice(rows, _ROWS_AT_ONCE)), abandon_on_cancel=True)
        decide.report(on_event)  # all is listed before the first of them
        while chunk:
            for row in chunk:
                if row.outcome is None:
                    yield row
                else:
                    counters.add({row.outcome: 1})
            chunk = await in_thread(lambda: list(islice(rows, _ROWS_AT_ONCE)))

    async with (
        Pool(source, limits, counters=counters, on_event=on_event, request_deadline=deadline) as pool,
        aclosing(pool.stream(wanted(), extractor)) as outcomes,
    ):
        async for some, outcome in outcomes:
            if isinstance(outcome, FailedRow):
                counters.failed += 1
            else:
                counters.harvested += len(some)
                counters.add(outcome.written)
                counters.out_bytes += sum(lines.size for lines in outcome.lines.values())
                counters.notes += len(outcome.notes)
                for note in outcome.notes:
                    on_event("row.noted", msgspec.structs.asdict(note))
            yield some, outcome


async def write_stream(
    session: "Session",
    project: ProjectInfo,
    selection: Selection,
    format: Format,
    limits: Limits,
    stream: BinaryIO,
    *,
    counters: Counters,
    on_event: OnEvent,
    stopping: anyio.Event | None = None,
    functions: Mapping[str, OwnFilter] | None = None,
) -> Summary:
    """Writes a project's records to `stream`, in the order of the plan. Failed rows are only reported.

    With `format.compress` it is one compressed stream.

    Raises:
        BrokenPipeError: the reader has gone.
        CannotFinishNow, and others: as `harvester.export.export` does.
    """
    began = anyio.current_time()
    tally, notes = Tally(), Counter[str]()
    compressing = compressor(format.compress)

    async def put(lines: list[bytes], last: bool = False) -> None:
        data = compressing.compress(b"".join(lines)) + (compressing.flush() if last else b"")
        # In a thread, so that a reader who takes his time does not keep us from hearing a signal.
        await in_thread(send, stream, data, abandon_on_cancel=True)

    async def work() -> None:
        waiting, size = list[bytes](), 0
        rows = stream_rows(
            session, project, selection, format, limits,
            counters=counters, on_event=on_event, functions=functions or {},
        )  # fmt: skip
        async with aclosing(rows):
            async for some, outcome in rows:
                if isinstance(outcome, FailedRow):
                    continue
                tally.add(some, outcome)
                notes.update(note.note for note in outcome.notes)
                for chunk in chain.from_iterable(lines.chunks for lines in outcome.lines.values()):
                    waiting.append(chunk)
                    size += len(chunk)
                    if size >= _WRITE_AT_ONCE:
                        await put(waiting)
                        waiting, size = [], 0
        await put(waiting, last=True)

    async with stopping_when(stopping, limits.max_duration) as ending:
        await ending.cut_short(work)
    outcomes = ("listed", "harvested", "unlabelled", "filtered", "failed")
    return Summary(
        target="-",
        project=project.title,
        counts={name: getattr(counters, name) for name in outcomes},
        records=msgspec.to_builtins(dict(sorted(tally.records.items()))),
        notes=dict(sorted(notes.items())),
        drift=None,
        run={
            "seconds": round(anyio.current_time() - began, 3),
            "resumed": False,
            "harvested": counters.harvested,
            **counters.work(),
        },
    )
