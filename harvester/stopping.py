"""Stops a run before it is complete, when its caller asks for it or its time is up.

Threads cannot be interrupted. A thread that only writes a listing to temporary files may be abandoned. A
thread that writes to a target is always waited for before the lock is released, because after that the next
run may begin to write.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

import anyio
import anyio.from_thread
from anyio.to_thread import run_sync as in_thread

from harvester.errors import CannotFinishNow, TargetRefused, unwrapped
from harvester.output.target import Target

T = TypeVar("T")

_LOOK_EVERY = 1000  # items: takes a few milliseconds, and looking costs nothing beside it


class Stopping:
    """A stop request for one run. `event` is set once the run has to stop; `reason` is for the message."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.reason = ""
        self._asked_at = 0.0

    def end(self, reason: str) -> None:
        """Request the stop. What is under way may finish within its grace period. Later calls do nothing."""
        if not self.event.is_set():
            self.reason, self._asked_at = reason, anyio.current_time()
            self.event.set()

    async def cut_short(self, work: Callable[[], Awaitable[T]], *, grace: float = 0.0) -> T:
        """Run `work`; cancel it `grace` seconds after a stop was requested. It must be safe to cancel.

        Raises:
            CannotFinishNow: it was cancelled.
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

    async def waited_for(self, call: Callable[[], T], *, grace: float = 0.0) -> T:
        """Run a blocking `call` in a thread and always wait for it, so that it may write to a target.

        `grace` seconds after a stop was requested, what it reads through `while_wanted` raises, and so
        ends it.

        Raises:
            CannotFinishNow: it was ended in this way.
        """
        return await self.cut_short(partial(in_thread, call), grace=grace)

    @asynccontextmanager
    async def left_behind(
        self, manager: AbstractContextManager[T], *, grace: float = 0.0
    ) -> AsyncIterator[T]:
        """Enter a blocking `manager` in a thread, and exit it afterwards. It must not write to a target.

        If entering takes longer than `grace` seconds after a stop was requested, the thread is abandoned. It
        exits the manager itself, once it has entered it.

        Raises:
            CannotFinishNow: the thread was abandoned.
        """
        taken = Future[None]()  # an atomic flag: it becomes either running or cancelled, once

        def enter() -> T:
            value = manager.__enter__()
            if not taken.set_running_or_notify_cancel():
                manager.__exit__(None, None, None)
            return value

        try:
            yield await self.cut_short(partial(in_thread, enter, abandon_on_cancel=True), grace=grace)
        finally:
            if not taken.cancel():
                with anyio.CancelScope(shield=True):
                    await in_thread(manager.__exit__, None, None, None)


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """Yield `items`; raise once the task that waits for this thread is cancelled. Call it in a thread."""
    items = iter(items)
    while some := list(islice(items, _LOOK_EVERY)):
        anyio.from_thread.check_cancelled()
        yield from some


async def in_own_task(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in a task of its own, and wait for that task even if asyncio cancels the current one.

    Cancellation by asyncio ignores the shields of anyio. Here it reaches the current task only, and `work` is
    cancelled by anyio, so that shields in it hold.
    """
    results: list[T] = []

    async def run() -> None:
        results.append(await work())

    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
    return results[0]


@asynccontextmanager
async def stopping_when(asked: anyio.Event | None, after: float | None) -> AsyncIterator[Stopping]:
    """Yield a `Stopping` that is set when `asked` is set, or `after` seconds have passed."""
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
async def held(target: Target, stopping: Stopping) -> AsyncIterator[None]:
    """Hold the lock of `target`. When the run is to stop, waiting for the lock or for a store ends.

    Raises:
        TargetRefused: the lock was lost. What ran under it has been cancelled.
    """
    loop, lost = asyncio.get_running_loop(), _Lost()

    async def hurry() -> None:
        await stopping.event.wait()
        target.hurry()

    def on_lost(error: TargetRefused) -> None:
        loop.call_soon_threadsafe(lost.set, error)

    taken = ExitStack()
    try:
        await stopping.waited_for(lambda: taken.enter_context(target.lock(on_lost)))
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lost.raise_it)
                tasks.start_soon(hurry)
                yield
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(taken.close)


class _Lost:
    """The loss of a lock, for a task that waits for it."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._error: TargetRefused | None = None

    def set(self, error: TargetRefused) -> None:
        self._error = error
        self._event.set()

    async def raise_it(self) -> None:
        await self._event.wait()
        assert self._error is not None
        raise self._error
