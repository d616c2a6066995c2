"""Runs parts in this process, a few at a time, so that the pool never idles while a part ends."""

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from harvester.labels.wire import PlanRow

Part = tuple[int, Sequence[PlanRow]]

_MOST_OPEN_PARTS = 8


def open_parts(in_flight_rows: int, rows_per_part: int) -> int:
    """How many parts to keep open: enough to hold what can be in flight, and one that is ending."""
    return min(_MOST_OPEN_PARTS, 1 + math.ceil(in_flight_rows / rows_per_part))


async def run(
    parts: Iterator[Part],
    harvest: Callable[[int, Sequence[PlanRow]], Awaitable[None]],
    *,
    width: int,
    stopping: anyio.Event,
    grace: float,
) -> None:
    """Harvests `parts` in order, `width` at a time.

    Once `stopping` is set no part is begun; those that are open have `grace` seconds to end, then they
    are cancelled. An error in one part cancels the others and is raised as itself.
    """
    # No room in the stream: a part's rows are read from the plan when someone is free to harvest them.
    send, receive = anyio.create_memory_object_stream[Part](0)

    async def worker(todo: MemoryObjectReceiveStream[Part]) -> None:
        async with todo:
            async for index, rows in todo:
                await harvest(index, rows)

    async def hand_out() -> None:
        async with send:
            for part in parts:
                if stopping.is_set():
                    return
                await send.send(part)

    async def watch(scope: anyio.CancelScope) -> None:
        await stopping.wait()
        await anyio.sleep(grace)
        scope.cancel()

    try:
        async with anyio.create_task_group() as whole:
            whole.start_soon(watch, whole.cancel_scope)
            async with anyio.create_task_group() as group:
                for _ in range(width):
                    group.start_soon(worker, receive.clone())
                receive.close()
                group.start_soon(hand_out)
            whole.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that came first; those after it are of the cancellation that it caused."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
