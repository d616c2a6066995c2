"""Runs whole parts in worker processes of this machine, each with an event loop, connections and a rate
controller of its own.

The rate controllers need not know of each other: each finds the server's limit, and together they share it.
Limits that the user set are divided among them.
"""

import subprocess
from collections.abc import AsyncIterator

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from harvester.engines.local import Part, Reports, StopSignal
from harvester.engines.messages import (
    PREFIX,
    Ask,
    Begin,
    Committed,
    CountersNow,
    Ended,
    HarvestPart,
    NoMore,
    Said,
    StopWorker,
    ToWorker,
    from_worker,
    packed,
    raise_ended,
)
from harvester.errors import CannotFinishNow, unwrapped
from harvester.events import once, one_line
from harvester.part import Work
from harvester.process import how_it_ended, not_started, worker_command
from harvester.settings import Limits

_TO_END = 3.0  # seconds that a stopped worker has after the grace period, to send `Ended`


def shares(limits: Limits, workers: int) -> list[Limits]:
    """Divide `limits` among the `workers` that get work: at most one for each request in flight.

    The requests in flight and a second of all shares add up to those of `limits`.
    """
    working = min(workers, limits.concurrency or workers)
    each, more = divmod(limits.concurrency or 0, working)
    return [
        msgspec.structs.replace(
            limits,
            max_rps=limits.max_rps and limits.max_rps / working,
            concurrency=limits.concurrency and each + (number < more),
            max_memory=max(16 * 1024**2, limits.max_memory // working),
            processes=1,
        )
        for number in range(working)
    ]


def with_limits(work: Work, limits: Limits) -> Work:
    """Return `work` with other limits."""
    return msgspec.structs.replace(work, job=msgspec.structs.replace(work.job, limits=limits))


async def run(
    work: Work,
    parts: AsyncIterator[Part],
    *,
    reports: Reports,
    stop: StopSignal,
) -> None:
    """Harvests and commits `parts` in `work.job.limits.processes` processes, or fewer: see `shares`.

    Stops as the local engine does.

    Raises:
        Stop: the error that ended a worker, unchanged.
        CannotFinishNow: a worker process was killed.
    """
    handed_out = _Parts(parts, stop.event)
    reports = reports._replace(on_event=once("rows.clocks_differ", reports.on_event))
    with unwrapped():
        async with anyio.create_task_group() as group:
            for share in shares(work.job.limits, work.job.limits.processes):
                worker = _Worker(with_limits(work, share), handed_out, reports)
                group.start_soon(worker.run, stop)


class _Parts:
    """The queue of parts that all workers take from."""

    def __init__(self, parts: AsyncIterator[Part], stopping: anyio.Event) -> None:
        self._parts = parts
        self._stopping = stopping
        self._turn = anyio.Lock()

    async def next(self) -> HarvestPart | NoMore:
        async with self._turn:
            if not self._stopping.is_set() and (part := await anext(self._parts, None)) is not None:
                return HarvestPart(part[0], list(part[1]))
            return NoMore()


class _Worker:
    """The parent's side of one worker process."""

    def __init__(self, work: Work, parts: _Parts, reports: Reports) -> None:
        self._work = work
        self._parts = parts
        self._reports = reports
        self._counted: dict[str, int] = {}
        self._sending = anyio.Lock()

    async def run(self, stop: StopSignal) -> None:
        """Start the process, and serve it until it has ended. Kills it if this is cancelled."""
        # In a session of its own, so that Ctrl-C in a terminal reaches the parent only, which tells workers.
        try:
            process = await anyio.open_process(
                worker_command(f"{__package__}.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotFinishNow(one_line(not_started(error))) from error
        async with process:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._stop_in_time, process, stop)
                    await self._send(process, Begin(self._work, stop.grace))
                    await self._listen(process)
                    tasks.cancel_scope.cancel()
            finally:
                if process.returncode is None:
                    process.kill()

    async def _stop_in_time(self, process: Process, stop: StopSignal) -> None:
        await stop.event.wait()
        await self._send(process, StopWorker())
        await anyio.sleep(stop.grace + _TO_END)
        process.kill()

    async def _send(self, process: Process, message: ToWorker) -> None:
        assert process.stdin is not None
        async with self._sending:
            try:
                await process.stdin.send(packed(message))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # it has ended: `_listen` finds out why

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        stream = BufferedByteReceiveStream(process.stdout)
        while True:
            try:
                size = int.from_bytes(await stream.receive_exactly(PREFIX), "big")
                body = await stream.receive_exactly(size)
            except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                raise CannotFinishNow(how_it_ended(await process.wait())) from None
            match from_worker(body):
                case Ask():
                    await self._send(process, await self._parts.next())
                case CountersNow(counters):
                    self._count(counters)
                case Said(event, fields):
                    self._reports.on_event(event, fields)
                case Committed(commit):
                    self._reports.on_commit(commit)
                case Ended() as ended:
                    return raise_ended(ended)

    def _count(self, now: dict[str, int]) -> None:
        """Add what the worker has done since its last report."""
        self._reports.counters.add({name: value - self._counted.get(name, 0) for name, value in now.items()})
        self._counted = now
