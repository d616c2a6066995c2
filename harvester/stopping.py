"""How a run is asked to end before it is complete: by its caller, or by the clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync as in_thread

from harvester.errors import CannotFinishNow, unwrapped

T = TypeVar("T")


class Stopping:
    """Set once the run is to end; `reason` says why, for the message."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.reason = ""
        self._asked_at = 0.0

    def end(self, reason: str) -> None:
        """Asks for the end. What is under way may finish in a short while."""
        if not self.event.is_set():
            self.reason, self._asked_at = reason, anyio.current_time()
            self.event.set()

    async def cut_short(self, work: Callable[[], Awaitable[T]], *, grace: float = 0.0) -> T:
        """What `work` returns: something that leaves nothing half done, and so is cancelled at once.

        With `grace`, so many seconds after the end was asked for.

        Raises:
            CannotFinishNow: the run is to end.
        """
        results: list[T] = []

        async def watch(scope: anyio.CancelScope) -> None:
            await self.event.wait()
            await anyio.sleep_until(self._asked_at + grace)
            scope.cancel()

        with unwrapped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch, tasks.cancel_scope)
                results.append(await work())
                tasks.cancel_scope.cancel()
        if not results:
            raise CannotFinishNow(self.reason)
        return results[0]


@asynccontextmanager
async def stopping_when(asked: anyio.Event | None, after: float | None) -> AsyncIterator[Stopping]:
    """A `Stopping` that is set when `asked` is, or `after` so many seconds."""
    state = Stopping()

    async def when_asked(event: anyio.Event) -> None:
        await event.wait()
        state.end("stopped")

    async def in_time(seconds: float) -> None:
        await anyio.sleep(seconds)
        state.end(f"stopped after {seconds:g} s, as asked")

    with unwrapped():
        async with anyio.create_task_group() as tasks:
            if asked is not None:
                tasks.start_soon(when_asked, asked)
            if after is not None:
                tasks.start_soon(in_time, after)
            yield state
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def held(lock: AbstractContextManager[None], ending: Stopping) -> AsyncIterator[None]:
    """Holds a blocking `lock`, which may take its time to be had; waiting for it ends when the run is to."""
    await ending.cut_short(partial(in_thread, lock.__enter__))
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(lock.__exit__, None, None, None)
