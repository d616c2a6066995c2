"""Runs parts in this process, a few at a time, so that the pool never idles while a part ends."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from anyio.to_thread import run_sync as in_thread

from harvester.encord.opening import open_session
from harvester.errors import unwrapped
from harvester.events import Counters
from harvester.fetch.pool import Pool
from harvester.fetch.source import LabelRows
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit
from harvester.output.target import Target
from harvester.part import Work, harvest_part
from harvester.settings import Connection, Format, Limits

Part = tuple[int, Sequence[PlanRow]]

# What is in flight where the limits are left to be found out: only to tell how many parts to keep open.
_USUAL_REQUESTS = 32
_USUAL_BUNDLE = 100
_MOST_OPEN_PARTS = 16  # each holds some files open, and is what a kill can lose


OnEvent = Callable[[str, Mapping[str, Any]], None]


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
    """What a process harvests parts with: where label rows come from, where lines go, what makes them."""

    source: LabelRows
    target: Target
    extractor: Extractor


@contextmanager
def equipped(work: Work, connection: Connection) -> Iterator[Equipment]:
    """The equipment of a process that got `work` from another one. Blocking.

    Raises:
        CredentialsRefused, BadInput: as `open_session`, or a filter does not import here.
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
    """A pool, and what harvests and commits a part through it, given the part's number and rows."""
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
    """Harvests and commits `parts`, rows fetched through one pool.

    An error in one part cancels the others and is raised as itself.
    """
    async with harvesting(work, equipment, reports.counters, reports.on_event) as harvest_one:

        async def harvest(index: int, rows: Sequence[PlanRow]) -> None:
            reports.on_event("part.started", {"part": index, "rows": len(rows)})
            reports.on_commit(await harvest_one(index, rows))

        width = usual_width(work.job.limits, work.job.format)
        await spread(parts, harvest, width=width, stop=stop)


def usual_width(limits: Limits, format: Format) -> int:
    """How many parts to keep open, by the limits, or by what is usual where these are left open."""
    in_flight = (limits.concurrency or _USUAL_REQUESTS) * (limits.bundle_size or _USUAL_BUNDLE)
    return open_parts(in_flight, format.rows_per_part)


def open_parts(in_flight_rows: int, rows_per_part: int) -> int:
    """How many parts to keep open: enough to hold what can be in flight, and one that is ending."""
    return min(_MOST_OPEN_PARTS, 1 + math.ceil(in_flight_rows / rows_per_part))


async def spread(
    parts: AsyncIterator[Part],
    harvest: Callable[[int, Sequence[PlanRow]], Awaitable[None]],
    *,
    width: int,
    stop: StopSignal,
) -> None:
    """Calls `harvest` for each of `parts`, begun in order, `width` at a time. Stops as `run` does."""
    # No room in the stream: a part's rows are read from the plan when someone is free to harvest them.
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
    """The items of a blocking iterator, each drawn in a thread."""
    while (item := await in_thread(next, iterator, None)) is not None:
        yield item
