"""Runs parts in this process, a few at a time, so that the pool never idles while a part ends."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from anyio.to_thread import run_sync as in_thread

from harvester.encord.opening import open_session
from harvester.errors import unwrapped
from harvester.events import Counters
from harvester.fetch.pool import Pool
from harvester.fetch.source import LabelRows
from harvester.job import OnEvent
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit
from harvester.output.target import Target
from harvester.part import Work, harvest_part
from harvester.settings import Connection, Format, Limits

Part = tuple[int, Sequence[PlanRow]]

# Typical numbers of requests and of rows per request. They only decide how many parts to keep open if the
# user sets no limits.
_USUAL_REQUESTS = 32
_USUAL_BUNDLE = 100
_MOST_OPEN_PARTS = 16  # bounds the open files, and the work that a kill loses


class Reports(NamedTuple):
    """Where an engine reports what it does: its counters, events, and the parts that it has committed."""

    counters: Counters
    on_event: OnEvent
    on_commit: Callable[[Commit], None]


class StopSignal(NamedTuple):
    """When an engine has to stop.

    Once `event` is set it begins no part; open parts have `grace` seconds to end, then they are cancelled.
    """

    event: anyio.Event
    grace: float


class Equipment(NamedTuple):
    """What a process needs to harvest parts: the source of label rows, the target and the extractor."""

    source: LabelRows
    target: Target
    extractor: Extractor


@contextmanager
def equipped(work: Work, connection: Connection) -> Iterator[Equipment]:
    """Open the equipment of a process that got `work` from another process. Blocking.

    Raises:
        CredentialsRefused, BadInput: as `open_session`; BadInput also if a filter does not import here.
    """
    session, job = open_session(connection), work.job
    try:
        yield Equipment(
            session.label_rows(job.project, job.selection, job.format),
            work.open_target(),
            Extractor(job.selection, job.format, job.project.ontology),
        )
    finally:
        session.close()


@asynccontextmanager
async def harvesting(
    work: Work, equipment: Equipment, counters: Counters, on_event: OnEvent
) -> AsyncIterator[Callable[[int, Sequence[PlanRow]], Awaitable[Commit]]]:
    """Open a pool, and yield a function that harvests and commits a part, given its number and rows."""
    async with Pool(
        equipment.source,
        work.job.limits,
        counters=counters,
        on_event=on_event,
        request_deadline=work.connection.request_deadline,
        row_bytes=work.row_bytes,
    ) as pool:
        yield partial(
            harvest_part,
            work=work, target=equipment.target, pool=pool, extractor=equipment.extractor, counters=counters,
        )  # fmt: skip


async def run(
    work: Work,
    parts: AsyncIterator[Part],
    *,
    equipment: Equipment,
    reports: Reports,
    stop: StopSignal,
) -> None:
    """Harvest and commit `parts`, a few at once, with one pool for all of their requests.

    An error in one part cancels the others and is raised unchanged.
    """
    async with harvesting(work, equipment, reports.counters, reports.on_event) as harvest_one:

        async def harvest(index: int, rows: Sequence[PlanRow]) -> None:
            reports.on_event("part.started", {"part": index, "rows": len(rows)})
            reports.on_commit(await harvest_one(index, rows))

        width = usual_width(work.job.limits, work.job.format)
        await spread(parts, harvest, width=width, stop=stop)


def usual_width(limits: Limits, format: Format) -> int:
    """Return how many parts to keep open, from the limits, or from typical values where these are unset."""
    in_flight = (limits.concurrency or _USUAL_REQUESTS) * (limits.bundle_size or _USUAL_BUNDLE)
    return open_parts(in_flight, format.rows_per_part)


def open_parts(in_flight_rows: int, rows_per_part: int) -> int:
    """Return how many parts to keep open: enough for all rows in flight, and one that is being committed."""
    return min(_MOST_OPEN_PARTS, 1 + math.ceil(in_flight_rows / rows_per_part))


async def spread(
    parts: AsyncIterator[Part],
    harvest: Callable[[int, Sequence[PlanRow]], Awaitable[None]],
    *,
    width: int,
    stop: StopSignal,
) -> None:
    """Call `harvest` for each of `parts`, in order, `width` at once. Stops as `StopSignal` says."""
    # A buffer of 0: a part's rows are read from the plan only when a worker is free to harvest them.
    send, receive = anyio.create_memory_object_stream[Part](0)

    async def worker(todo: MemoryObjectReceiveStream[Part]) -> None:
        async with todo:
            async for index, rows in todo:
                if stop.event.is_set():
                    return
                await harvest(index, rows)

    async def hand_out() -> None:
        async with send:
            async for part in parts:
                if stop.event.is_set():
                    return
                try:
                    await send.send(part)
                except anyio.BrokenResourceError:
                    return  # all workers have stopped

    async def watch(scope: anyio.CancelScope) -> None:
        await stop.event.wait()
        await anyio.sleep(stop.grace)
        scope.cancel()

    with unwrapped():
        async with anyio.create_task_group() as whole:
            whole.start_soon(watch, whole.cancel_scope)
            async with anyio.create_task_group() as group:
                for _ in range(width):
                    group.start_soon(worker, receive.clone())
                receive.close()
                group.start_soon(hand_out)
            whole.cancel_scope.cancel()


async def in_thread_each(iterator: Iterator[Part]) -> AsyncIterator[Part]:
    """Yield the items of a blocking iterator, each read in a thread."""
    while (item := await in_thread(next, iterator, None)) is not None:
        yield item
