"""The byte budget: who may hold how much, and who comes first."""

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.fetch.budget import Account, ByteBudget, Hold

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def need(size: int) -> Callable[[], int]:
    return lambda: size


async def settled() -> None:
    """Lets everybody run who can."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_a_reservation_that_does_not_fit_waits_until_one_is_given_back() -> None:
    """The second of two waits, and has it when the first is released."""
    budget = ByteBudget(100)
    account = budget.account()
    first = await account.reserve(need(80))
    async with anyio.create_task_group() as group:
        got: list[Hold] = []

        async def second() -> None:
            got.append(await account.reserve(need(40)))

        group.start_soon(second)
        await settled()
        assert not got
        first.release()
    assert [hold.size for hold in got] == [40]
    assert budget.used == 40


async def test_what_remains_of_an_answer_is_counted_until_it_is_taken() -> None:
    """Settling gives back the difference, releasing the rest, and doing so twice nothing."""
    budget = ByteBudget(100)
    hold = await budget.account().reserve(need(80))
    hold.settle(30)
    assert budget.used == 30
    hold.release()
    hold.release()
    hold.settle(50)
    assert budget.used == 0


async def test_a_bundle_heavier_than_the_whole_budget_can_be_had_alone() -> None:
    """Otherwise it could be had never."""
    budget = ByteBudget(100)
    assert (await budget.account().reserve(need(1000))).size == 1000


async def test_a_stream_that_holds_nothing_comes_before_those_that_hold_something() -> None:
    """What it waits for heads its stream, while the others have something to deliver."""
    budget = ByteBudget(100)
    busy, fresh = budget.account(), budget.account()
    first = await busy.reserve(need(50))
    await busy.reserve(need(50))
    order: list[str] = []

    async def wait(name: str, account: Account) -> None:
        await account.reserve(need(50))
        order.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "busy", busy)
        await settled()
        group.start_soon(wait, "fresh", fresh)
        await settled()
        first.release()
        await settled()
        assert order == ["fresh"]
        group.cancel_scope.cancel()


async def test_finished_lines_of_one_stream_never_keep_another_from_beginning() -> None:
    """Nothing is being asked for, and nobody takes what the first holds: the second goes over the total."""
    budget = ByteBudget(100)
    full, fresh = budget.account(), budget.account()
    for _ in range(2):
        (await full.reserve(need(50))).settle(50)
    with anyio.fail_after(1):
        await fresh.reserve(need(50))
    assert budget.used == 150


async def test_the_need_is_asked_anew_when_there_is_room() -> None:
    """What was learnt while waiting makes the reservation smaller."""
    budget = ByteBudget(100)
    account = budget.account()
    learnt = 100
    first = await account.reserve(need(100))
    async with anyio.create_task_group() as group:
        got: list[Hold] = []

        async def second() -> None:
            got.append(await account.reserve(lambda: learnt))

        group.start_soon(second)
        await settled()
        learnt = 10
        first.settle(60)
    assert got[0].size == 10


async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    """Neither in line nor, where it is granted at the same moment, in the budget."""
    budget = ByteBudget(100)
    account = budget.account()
    first = await account.reserve(need(100))
    async with anyio.create_task_group() as group:
        group.start_soon(account.reserve, need(50))
        await settled()
        group.cancel_scope.cancel()
    async with anyio.create_task_group() as group:
        group.start_soon(account.reserve, need(50))
        await settled()
        group.cancel_scope.cancel()
        first.release()
    assert budget.used == 0
    assert (await account.reserve(need(100))).size == 100


async def test_closing_an_account_gives_back_all_of_it() -> None:
    """A stream that is left holds nothing."""
    budget = ByteBudget(100)
    account = budget.account()
    for _ in range(3):
        await account.reserve(need(30))
    account.close()
    assert budget.used == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 70), st.integers(0, 70)), max_size=30))
async def test_the_excess_is_one_bundle_at_most(steps: list[tuple[int, int, int]]) -> None:
    """Streams whose lines nobody takes go over the total by one bundle each at most, and only to begin."""
    budget = ByteBudget(100)
    accounts = [budget.account() for _ in range(3)]
    async with anyio.create_task_group() as group:
        for stream, size, remains in steps:
            account = accounts[stream]
            began = not account.holds
            before = budget.used
            with anyio.move_on_after(0):
                hold = await account.reserve(need(size))
                assert before + size <= 100 or began
                hold.settle(min(size, remains))
        group.cancel_scope.cancel()
    for account in accounts:
        account.close()
    assert budget.used == 0
    assert not budget._waiting


async def test_of_those_that_wait_the_stream_begun_first_is_served_first() -> None:
    """It came later than the younger one, and ends sooner."""
    budget, served = ByteBudget(100), list[str]()
    older, younger = budget.account(), budget.account()
    held = {"older": await older.reserve(need(50)), "younger": await younger.reserve(need(50))}

    async def wait(name: str, account: Account) -> None:
        await account.reserve(need(30))
        served.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "younger", younger)
        await settled()
        group.start_soon(wait, "older", older)
        await settled()
        held["younger"].settle(20)
        await settled()
        assert served == ["older"]
        held["older"].release()
    assert served == ["older", "younger"]
