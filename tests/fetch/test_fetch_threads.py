"""Threads for blocking calls: what comes of a call, what is left behind, and what is kept."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import anyio
import anyio.to_thread
import pytest

from harvester.fetch.threads import Threads
from tests.patience import LONG

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def threads() -> Iterator[Threads]:
    ours = Threads()
    yield ours
    ours.close()


def waiting_for(event: threading.Event) -> Callable[[], bool]:
    return lambda: event.wait(LONG)


async def test_a_call_returns_what_it_returns_and_raises_what_it_raises(threads: Threads) -> None:
    """From another thread than the event loop's."""

    def fails() -> None:
        raise LookupError("its own")

    assert await threads.run(threading.get_ident, LONG) != threading.get_ident()
    with pytest.raises(LookupError, match="its own"):
        await threads.run(fails, LONG)


async def test_calls_one_after_the_other_share_a_thread(threads: Threads) -> None:
    """And those at the same time have one each."""
    one_by_one = {await threads.run(threading.get_ident, LONG) for _ in range(10)}
    together = threading.Barrier(3)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(threads.run, lambda: together.wait(LONG), LONG)
    assert len(one_by_one) == 1
    assert not together.broken


async def test_a_call_is_left_at_its_deadline(threads: Threads, let_go: threading.Event) -> None:
    """Its thread still hangs when the next call is answered."""
    with pytest.raises(TimeoutError):
        await threads.run(waiting_for(let_go), 0.0)
    assert await threads.run(lambda: 7, LONG) == 7
    assert not let_go.is_set()


async def test_a_call_that_ends_when_nobody_waits_gives_its_thread_back(
    threads: Threads, let_go: threading.Event
) -> None:
    """What it returned is forgotten."""
    hung: list[int] = []

    def hangs() -> None:
        hung.append(threading.get_ident())
        let_go.wait(LONG)

    with pytest.raises(TimeoutError):
        await threads.run(hangs, 0.0)
    let_go.set()
    with anyio.fail_after(LONG):
        while [await threads.run(threading.get_ident, LONG)] != hung:
            pass


async def test_a_cancelled_call_is_left_at_once(threads: Threads, let_go: threading.Event) -> None:
    """Who waits is free, its thread is not."""
    loop = asyncio.get_running_loop()

    with anyio.fail_after(LONG), anyio.CancelScope() as scope:

        def hangs() -> None:
            loop.call_soon_threadsafe(scope.cancel)
            let_go.wait(LONG)

        await threads.run(hangs, LONG)
    assert scope.cancelled_caught
    assert not let_go.is_set()


async def test_who_is_cancelled_already_calls_nothing(threads: Threads) -> None:
    """No request leaves for nobody."""
    called: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await threads.run(lambda: called.append(1), LONG)
    assert scope.cancelled_caught
    await threads.run(lambda: called.append(2), LONG)
    assert called == [2]


async def test_closing_ends_every_thread(let_go: threading.Event) -> None:
    """The one that hangs, once its call ends."""
    threads, found = Threads(), []

    def hangs() -> None:
        found.append(threading.current_thread())
        let_go.wait(LONG)

    with pytest.raises(TimeoutError):
        await threads.run(hangs, 0.0)
    found.append(await threads.run(threading.current_thread, LONG))
    threads.close()
    let_go.set()
    for thread in found:
        await anyio.to_thread.run_sync(thread.join, LONG)
    assert [thread.is_alive() for thread in found] == [False, False]


async def test_a_thread_that_waits_keeps_nothing_of_its_last_call(threads: Threads) -> None:
    """Neither the call nor what came of it."""

    class Kept:
        def __call__(self) -> "Kept":
            return Kept()

    call = Kept()
    kept = [weakref.ref(call), weakref.ref(await threads.run(call, LONG))]
    del call
    gc.collect()
    await threads.run(object, LONG)  # the same thread has come back for more
    assert [ref() for ref in kept] == [None, None]


async def test_what_no_future_takes_comes_out_as_another_error(threads: Threads) -> None:
    """At once, not at the deadline."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(partial(next, iter(())), LONG)
