"""The rate limiter: the order of requests, and cancelled waits. In virtual time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from resource import RUSAGE_SELF, getrusage
from typing import TypeVar

import anyio
import pytest

from harvester.errors import CannotFinishNow
from harvester.fetch.budget import ByteBudget
from harvester.fetch.rate.concurrency import CoresUsed, cpu_seconds
from harvester.fetch.rate.controller import RateController, Ticket
from harvester.fetch.rate.limiter import RateLimiter
from tests.fetch.virtual_loop import VirtualLoop

T = TypeVar("T")


def run_virtual(main: Callable[[], Awaitable[T]]) -> T:
    return anyio.run(main, backend_options={"loop_factory": VirtualLoop})


def limiter(concurrency: int = 1) -> RateLimiter:
    return RateLimiter(RateController(rng=random.Random(1), concurrency=concurrency))


def test_those_who_wait_are_let_in_in_order() -> None:
    """First come, first served, each as the one before returns."""

    async def main() -> list[int]:
        subject, order = limiter(), list[int]()

        async def one(number: int) -> None:
            ticket = await subject.enter()
            order.append(number)
            await anyio.sleep(0.1)
            subject.succeeded(ticket)

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, number)
        return order

    assert run_virtual(main) == list(range(100))


def test_a_cancelled_wait_leaves_the_limiter_free_for_the_next() -> None:
    """The first in line gives up; the second gets in when the place is free."""

    async def main() -> float:
        subject = limiter()
        ticket = await subject.enter()
        with anyio.move_on_after(1):
            await subject.enter()
        subject.cancelled(ticket)
        await subject.enter()
        return anyio.current_time()

    assert run_virtual(main) < 1.1


def test_the_lowest_rank_is_let_in_first() -> None:
    """However long the others have waited; also where it comes back as soon as it was let in."""

    async def main() -> str:
        subject, order = limiter(), list[str]()

        async def stream(rank: int, name: str) -> None:
            for _ in range(3):
                ticket = await subject.enter(rank)
                order.append(name)
                tasks.start_soon(answered, ticket)

        async def answered(ticket: Ticket) -> None:
            await anyio.sleep(0.1)
            subject.succeeded(ticket)

        async with anyio.create_task_group() as tasks:
            for rank, name in [(2, "b"), (3, "c"), (1, "a"), (2, "d")]:
                tasks.start_soon(stream, rank, name)
        return "".join(order)

    assert run_virtual(main) == "b" + "aaa" + "bdbdd" + "ccc"


def test_a_retry_is_let_in_before_all_streams() -> None:
    """The rest of its stream waits for it, also where it is that of the first."""

    async def main() -> list[str]:
        subject, order = limiter(), list[str]()
        ticket = await subject.enter()

        async def one(name: str, *rank: int) -> None:
            entered = await subject.enter(*rank)
            order.append(name)
            subject.succeeded(entered)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "stream", ByteBudget(1).account().rank)
            await anyio.sleep(0.1)
            tasks.start_soon(one, "retry")
            await anyio.sleep(0.1)
            subject.succeeded(ticket)
        return order

    assert run_virtual(main) == ["retry", "stream"]


def test_a_wait_that_is_cancelled_as_its_turn_comes_costs_nobody_theirs() -> None:
    """Whether the answer that frees the place comes just before or just after."""

    async def main(cancelled_first: bool) -> float:
        subject = limiter()
        ticket = await subject.enter()
        waiting = asyncio.ensure_future(subject.enter())
        await anyio.sleep(1)
        steps = [waiting.cancel, partial(subject.succeeded, ticket)]
        for step in steps if cancelled_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with anyio.fail_after(5):
            await subject.enter()
        return anyio.current_time()

    for cancelled_first in (True, False):
        assert run_virtual(partial(main, cancelled_first)) < 2


def test_a_wait_that_is_dropped_leaves_nothing_behind() -> None:
    """As when the loop's own end closes what still waits: nobody gets its ticket in its place."""

    async def main() -> None:
        subject = limiter()
        ticket = await subject.enter()
        waiting = subject.enter()
        waiting.send(None)
        waiting.close()
        subject.succeeded(ticket)
        with anyio.fail_after(5):
            await subject.enter()

    run_virtual(main)


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_a_pause_beyond_the_cap_is_raised_where_it_was_heard(outcome: str) -> None:
    """The caller gets the error, and the place in flight is free again."""

    async def main() -> None:
        subject = limiter()
        ticket = await subject.enter()
        with pytest.raises(CannotFinishNow):
            getattr(subject, outcome)(ticket, 301.0)
        await subject.enter()

    run_virtual(main)


def test_a_refusal_keeps_everybody_out_until_its_time() -> None:
    """Whoever is waiting already waits until Retry-After is over."""

    async def main() -> float:
        subject = limiter(concurrency=8)
        start = anyio.current_time()
        ticket = await subject.enter()
        subject.refused(ticket, 5.0)
        await subject.enter()
        return anyio.current_time() - start

    assert 5.0 <= run_virtual(main) < 5.5


def test_how_many_cores_are_used_is_read_off_the_process() -> None:
    """CPU time by the loop's clock, over half a second at least: nothing is known before."""

    async def main() -> list[float]:
        read = iter((5.0, 5.75, 5.75))
        used, told = CoresUsed(lambda: next(read)), list[float]()
        for pause in (0.0, 0.25, 0.75, 1.0):
            await anyio.sleep(pause)
            told.append(used())
        return told

    assert run_virtual(main) == pytest.approx([0.0, 0.0, 0.75, 0.0])


def test_the_cpu_time_of_this_process_is_its_own_and_the_systems() -> None:
    """As the kernel counts it, in hundredths of a second."""
    before = getrusage(RUSAGE_SELF)
    used = cpu_seconds()
    after = getrusage(RUSAGE_SELF)
    assert before.ru_stime > 0
    assert before.ru_utime + before.ru_stime - 0.02 <= used <= after.ru_utime + after.ru_stime + 0.02
