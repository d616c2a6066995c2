"""How parts are spread over open slots, and how that ends."""

from collections.abc import AsyncIterator

import anyio
import pytest

from harvester.engines.local import Part, StopSignal, open_parts, spread
from harvester.errors import CannotFinishNow

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def numbered(count: int) -> AsyncIterator[Part]:
    for index in range(count):
        yield index, []


class Recorder:
    """Harvests nothing, and notes what was begun and ended; waits for `go` in between."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.go = anyio.Event()

    async def __call__(self, index: int, rows: object) -> None:
        self.begun.append(index)
        await self.go.wait()
        self.ended.append(index)


async def test_parts_begin_in_order_and_only_so_many_at_once() -> None:
    """Three slots: the first three parts are begun, the others when these have ended."""
    harvest = Recorder()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: spread(numbered(7), harvest, width=3, stop=StopSignal(anyio.Event(), 1)))
        await anyio.wait_all_tasks_blocked()
        assert harvest.begun == [0, 1, 2]
        harvest.go.set()
    assert harvest.begun == list(range(7))
    assert sorted(harvest.ended) == list(range(7))


async def test_no_part_begins_once_it_is_to_stop() -> None:
    """Open parts end; the one that was waiting for a slot is not begun."""
    harvest, stopping = Recorder(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: spread(numbered(7), harvest, width=2, stop=StopSignal(stopping, 60)))
        await anyio.wait_all_tasks_blocked()
        stopping.set()
        harvest.go.set()
    assert harvest.begun == harvest.ended == [0, 1]


async def test_parts_that_do_not_end_in_the_grace_are_cancelled() -> None:
    """The grace over, what still runs is cancelled, and no error comes of it."""
    harvest, stopping = Recorder(), anyio.Event()
    stopping_soon = [0]

    async def harvest_and_stop(index: int, rows: object) -> None:
        stopping_soon.append(index)
        stopping.set()
        await harvest(index, rows)

    await spread(numbered(3), harvest_and_stop, width=1, stop=StopSignal(stopping, 0))
    assert harvest.begun == [0]
    assert harvest.ended == []


async def test_an_error_in_one_part_ends_the_others_and_is_raised_as_itself() -> None:
    """Not as a group of errors."""
    harvest = Recorder()

    async def fails(index: int, rows: object) -> None:
        if index == 1:
            raise CannotFinishNow("the disk is full")
        await harvest(index, rows)

    with pytest.raises(CannotFinishNow, match="the disk is full"):
        await spread(numbered(5), fails, width=3, stop=StopSignal(anyio.Event(), 1))
    assert harvest.ended == []


@pytest.mark.parametrize(
    ("in_flight", "rows_per_part", "parts"), [(1, 1000, 2), (3200, 1000, 5), (64, 1000, 2), (9999, 1, 16)]
)
def test_enough_parts_are_open_to_hold_what_is_in_flight(
    in_flight: int, rows_per_part: int, parts: int
) -> None:
    """As many as hold the rows in flight, one that is ending, and never very many."""
    assert open_parts(in_flight, rows_per_part) == parts
