"""A worker process: reads parts from standard input, writes commits and counters to standard output.

Started by `harvester.engines.processes`. If standard input ends, the process of the export has died and its
lock on the target is released. The worker then exits at once, so that it writes nothing without the lock.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester import events
from harvester.engines import local
from harvester.engines.messages import (
    PREFIX,
    Ask,
    Begin,
    Committed,
    CountersNow,
    Ended,
    FromWorker,
    HarvestPart,
    NoMore,
    Said,
    StopWorker,
    ToWorker,
    ended_by,
    packed,
    to_worker,
)
from harvester.events import Counters
from harvester.output.target import Target
from harvester.process import set_up

_TICK = 0.2  # seconds between two reports of the counters: often enough for the progress display


def main() -> None:
    """Run a worker process from start to end."""
    set_up()
    # The parent handles signals, and sends `StopWorker`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a filter prints goes to standard error, not between the messages
    events.configure("error", sys.stderr, False)
    try:
        anyio.run(_work, incoming, outgoing)
        ended = Ended()
    except BaseException as error:
        ended = ended_by(error)
    with suppress(OSError):  # the parent may have died
        outgoing.write(packed(ended))
    os._exit(0)  # a thread may still be reading


async def _work(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    begin = await anyio.to_thread.run_sync(_read, incoming)
    assert isinstance(begin, Begin)
    work = begin.work
    counters, stopping = Counters(), anyio.Event()

    def put(message: FromWorker) -> None:
        # May block the loop while the pipe is full, but not for long: the parent reads all the time.
        outgoing.write(packed(message))

    def on_event(event: str, fields: Mapping[str, Any]) -> None:
        put(Said(event, dict(fields)))

    async def parts(inbox: MemoryObjectReceiveStream[HarvestPart]) -> AsyncIterator[local.Part]:
        put(Ask())
        async for part in inbox:
            yield part.index, part.rows
            put(Ask())

    send, inbox = anyio.create_memory_object_stream[HarvestPart](1)  # one part for each `Ask`
    with ExitStack() as stack:
        equipment = await anyio.to_thread.run_sync(stack.enter_context, local.equipped(work, work.connection))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, incoming, send, stopping)
            tasks.start_soon(_report, counters, put)
            tasks.start_soon(_hurry, equipment.target, stopping)
            await local.run(
                work,
                parts(inbox),
                equipment=equipment,
                reports=local.Reports(counters, on_event, lambda commit: put(Committed(commit))),
                stop=local.StopSignal(stopping, begin.grace),
            )
            put(CountersNow(counters.snapshot()))
            tasks.cancel_scope.cancel()


async def _listen(
    incoming: BinaryIO, parts: MemoryObjectSendStream[HarvestPart], stopping: anyio.Event
) -> None:
    while True:
        message = await anyio.to_thread.run_sync(_read, incoming, abandon_on_cancel=True)
        match message:
            case HarvestPart():
                await parts.send(message)
            case NoMore():
                parts.close()
            case StopWorker():
                stopping.set()


async def _hurry(target: Target, stopping: anyio.Event) -> None:
    await stopping.wait()
    target.hurry()


async def _report(counters: Counters, put: Any) -> None:
    while True:
        put(CountersNow(counters.snapshot()))
        await anyio.sleep(_TICK)


def _read(incoming: BinaryIO) -> ToWorker:
    prefix = incoming.read(PREFIX)
    body = incoming.read(int.from_bytes(prefix, "big"))
    if not body:
        os._exit(1)
    return to_worker(body)
