"""The pool with real threads: what hangs, what is left, and that nobody waits for it."""

import asyncio
import threading
from contextlib import aclosing
from typing import cast
from unittest import mock

import anyio
import anyio.to_thread
import pytest

from harvester.fetch.caller import DEADLINE_SLACK
from harvester.fetch.pool import FailedRow
from harvester.fetch.rate.concurrency import ConcurrencyLimit
from harvester.labels.extract import Extracted, Extractor
from harvester.labels.wire import PlanRow, Row
from tests.fakes import FakeLabelRows
from tests.fetch.pool_kit import COPYING, Copying, a_pool, collect, label_rows, plan, whole
from tests.patience import LONG

pytestmark = pytest.mark.anyio

# A call makes two requests at most, and is abandoned 50 ms after it began.
STUCK_AT_ONCE = (0.05 - DEADLINE_SLACK) / 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_as_many_threads_ask_at_once_as_the_controller_lets() -> None:
    """Sixty-four calls meet in the middle: none could go on before all of them are there."""
    rows = plan(600)
    together = threading.Barrier(64)
    met: list[int] = []

    def on_call(asked: tuple[str, ...]) -> None:
        # The first calls answer at once, for the pace to grow.
        if int(asked[0][-4:]) >= 600 - 64:
            met.append(together.wait(LONG))

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    with (
        anyio.fail_after(LONG),
        mock.patch.object(ConcurrencyLimit, "admits", lambda self, number: number < 64),
    ):
        async with a_pool(source, bundle_size=1, concurrency=64) as pool:
            assert await collect(pool, rows) == whole(rows, label_rows(rows))
    assert len(met) == 64


async def test_a_call_that_hangs_gives_up_its_slot_at_the_deadline(let_go: threading.Event) -> None:
    """Its thread is abandoned, and the row asked for again; with one slot in all, the others go on."""
    rows = plan(20)
    hung = threading.Event()

    def on_call(asked: tuple[str, ...]) -> None:
        if "row-0007" in asked and not hung.is_set():
            hung.set()
            let_go.wait(LONG)

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    with anyio.fail_after(LONG):
        async with a_pool(source, bundle_size=1, concurrency=1, request_deadline=STUCK_AT_ONCE) as pool:
            assert await collect(pool, rows) == whole(rows, label_rows(rows))
    assert not let_go.is_set()


async def test_a_row_that_always_hangs_is_failed(let_go: threading.Event) -> None:
    """As any other row that makes the server fail."""
    rows = plan(4)

    def on_call(asked: tuple[str, ...]) -> None:
        if "row-0002" in asked:
            let_go.wait(LONG)

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    with anyio.fail_after(LONG):
        async with a_pool(source, bundle_size=1, max_attempts=1, request_deadline=STUCK_AT_ONCE) as pool:
            outcomes = dict(await collect(pool, rows))
    failed = outcomes["row-0002"]
    assert isinstance(failed, FailedRow)
    assert (failed.error, failed.message) == ("unavailable", "no answer within 0 s")
    assert sum(isinstance(outcome, bytes) for outcome in outcomes.values()) == 3


async def test_leaving_a_stream_early_waits_for_no_thread(let_go: threading.Event) -> None:
    """And another stream of the same pool goes on."""
    rows = plan(40)
    loop, hanging = asyncio.get_running_loop(), anyio.Event()

    def on_call(asked: tuple[str, ...]) -> None:
        if "row-0020" in asked:
            loop.call_soon_threadsafe(hanging.set)
            let_go.wait(LONG)

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    with anyio.fail_after(LONG):
        async with a_pool(source, bundle_size=1) as pool:
            async with aclosing(pool.stream(rows, COPYING)) as stream:
                await anext(stream)
                await hanging.wait()
            assert await collect(pool, rows[:20]) == whole(rows[:20], label_rows(rows))
            assert pool._budget.used == 0
    assert not let_go.is_set()


async def test_closing_the_pool_waits_for_no_thread(let_go: threading.Event) -> None:
    """All calls hang, and the body's own error comes out as itself."""
    rows = plan(10)
    loop, hanging = asyncio.get_running_loop(), anyio.Event()

    def on_call(asked: tuple[str, ...]) -> None:
        loop.call_soon_threadsafe(hanging.set)
        let_go.wait(LONG)

    async def leave() -> None:
        async with a_pool(FakeLabelRows(label_rows(rows), on_call=on_call)) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(collect, pool, rows)
                await hanging.wait()
                group.cancel_scope.cancel()
            raise LookupError("the body's own")

    with anyio.fail_after(LONG), pytest.raises(LookupError):
        await leave()
    assert not let_go.is_set()


async def test_an_abandoned_answer_is_not_read(let_go: threading.Event) -> None:
    """A thread that comes back late does no work for nobody."""
    rows = plan(1)
    loop, hanging, read = asyncio.get_running_loop(), anyio.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def on_call(asked: tuple[str, ...]) -> None:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(hanging.set)
        let_go.wait(LONG)

    class Reading(Copying):
        def extract(self, row: Row, planned: PlanRow) -> Extracted:
            read.set()
            return super().extract(row, planned)

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    with anyio.fail_after(LONG):
        async with a_pool(source) as pool, anyio.create_task_group() as group:
            group.start_soon(collect, pool, rows, cast(Extractor, Reading()))
            await hanging.wait()
            group.cancel_scope.cancel()
        let_go.set()
        (thread,) = threads
        await anyio.to_thread.run_sync(thread.join, LONG)
    assert not thread.is_alive()
    assert not read.is_set()


async def test_a_pool_that_is_cancelled_from_outside_leaves_no_idle_thread() -> None:
    """They end with it, as they do when it is left."""
    before = set(threading.enumerate())
    rows = plan(2000)
    source = FakeLabelRows(label_rows(rows))
    with anyio.CancelScope() as scope:
        async with a_pool(source, bundle_size=1) as pool, aclosing(pool.stream(rows, COPYING)) as outcomes:
            async for _ in outcomes:
                scope.cancel()
    assert scope.cancelled_caught
    ours = [thread for thread in threading.enumerate() if thread not in before]
    for thread in ours:
        await anyio.to_thread.run_sync(thread.join, LONG)
    assert not [thread for thread in ours if thread.is_alive() and "harvester" in thread.name]
