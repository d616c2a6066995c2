"""The pool, in virtual time: order, completeness, and what becomes of each fault."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import get_args

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    HarvesterError,
    RateLimited,
    SkipRow,
    TooMuchAsked,
    Unavailable,
)
from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.fetch.source import RowsResponse
from harvester.fetch.threads import Threads
from harvester.labels.wire import PlanRow
from harvester.schema import Failure
from tests.conformance import check_label_rows
from tests.fakes import FakeLabelRows, Fault
from tests.fetch.pool_kit import COPYING, Copying, Heard, a_pool, collect, label_rows, plan, whole
from tests.fetch.virtual_loop import VirtualLoop, calls_on_the_loop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture(autouse=True)
def virtual_calls() -> Iterator[None]:
    with calls_on_the_loop():
        yield


async def harvest(
    source: FakeLabelRows, rows: Sequence[PlanRow], **options: object
) -> list[tuple[str | None, bytes | FailedRow]]:
    """All of one stream through a pool of its own."""
    async with a_pool(source, **options) as pool:
        return await collect(pool, rows)


def failures(outcomes: list[tuple[str | None, bytes | FailedRow]]) -> list[FailedRow]:
    return [outcome for _, outcome in outcomes if isinstance(outcome, FailedRow)]


def during(
    start: float, end: float, error: Callable[[], HarvesterError]
) -> Callable[[tuple[str, ...]], None]:
    """An `on_call` that fails every call between two times."""

    def on_call(asked: tuple[str, ...]) -> None:
        if start <= anyio.current_time() < end:
            raise error()

    return on_call


# -- the ordinary case ----------------------------------------------------------------------------


@pytest.mark.parametrize("bundle_size", [None, 1, 7])
@pytest.mark.parametrize("concurrency", [None, 1, 32])
async def test_rows_come_in_their_order_whole(bundle_size: int | None, concurrency: int | None) -> None:
    """Whatever the bundle size and the concurrency."""
    rows = plan(300)
    source = FakeLabelRows(label_rows(rows))
    outcomes = await harvest(source, rows, bundle_size=bundle_size, concurrency=concurrency)
    assert outcomes == whole(rows, label_rows(rows))
    assert max(map(len, source.calls)) <= (bundle_size or 1000)


async def test_no_rows_are_no_requests() -> None:
    """An empty part ends at once."""
    source = FakeLabelRows({})
    assert await harvest(source, []) == []
    assert source.calls == []


async def test_rows_may_come_from_an_asynchronous_iterable() -> None:
    """They are asked for as they come."""
    rows = plan(50)

    async def coming() -> AsyncIterator[PlanRow]:
        for row in rows:
            await anyio.sleep(1)
            yield row

    async with a_pool(FakeLabelRows(label_rows(rows))) as pool:
        assert await collect(pool, coming()) == whole(rows, label_rows(rows))


async def test_a_row_that_the_plan_has_twice_is_asked_for_once_and_delivered_twice() -> None:
    """Within one bundle."""
    rows = [row for row in plan(20) for _ in range(2)]
    source = FakeLabelRows(label_rows(rows))
    assert await harvest(source, rows) == whole(rows, label_rows(rows))
    assert all(len(set(asked)) == len(asked) for asked in source.calls)


async def test_requests_and_bytes_are_counted() -> None:
    """Each request once; body and wire bytes of all answers."""
    rows, counters = plan(100), Counters()
    source = FakeLabelRows(label_rows(rows))
    await harvest(source, rows, counters=counters)
    size = sum(map(len, label_rows(rows).values()))
    assert (counters.requests, counters.body_bytes, counters.wire_bytes) == (len(source.calls), size, size)
    assert (counters.refused, counters.retries) == (0, 0)


async def test_sixty_four_single_requests_are_in_flight_at_once() -> None:
    """At a latency of 150 ms that is 427 rows a second, once the pace is found."""
    rows = plan(6000)
    source = FakeLabelRows(label_rows(rows))
    at: list[float] = []
    async with (
        a_pool(source, bundle_size=1, concurrency=64) as pool,
        aclosing(pool.stream(rows, COPYING)) as outcomes,
    ):
        async for _ in outcomes:
            at.append(anyio.current_time())
    assert (len(at) - 3000) / (at[-1] - at[3000]) >= 0.95 * 64 / 0.150


# -- what single rows do --------------------------------------------------------------------------


async def test_one_spoiled_row_in_a_bundle_is_found_and_failed_alone() -> None:
    """The bundle is cut down to it; the others are harvested."""
    rows = plan(300)
    spoiled = rows[222].label_hash or ""
    error = SkipRow("no permission for this row", failure="forbidden", trace_id="trace-1")
    source = FakeLabelRows(label_rows(rows), spoiled={spoiled: error})
    heard = Heard()
    outcomes = await harvest(source, rows, on_event=heard)
    expected: list[object] = list(whole(rows, label_rows(rows)))
    [failed] = failures(outcomes)
    expected[222] = (spoiled, failed)
    assert outcomes == expected
    assert failed == FailedRow(
        spoiled,
        "main",
        f"title of {spoiled}",
        "forbidden",
        "no permission for this row",
        failed.attempts,
        "trace-1",
    )
    assert failed.attempts == sum(spoiled in asked for asked in source.calls)
    assert heard.of("bundle.split")
    assert [fields["label_hash"] for fields in heard.of("row.failed")] == [spoiled]


async def test_a_row_that_makes_the_server_fail_does_not_sink_its_neighbours() -> None:
    """A bundle that fails twice is cut; the row alone gets its attempts, then it is failed."""
    rows = plan(200)
    spoiled = rows[150].label_hash or ""
    source = FakeLabelRows(label_rows(rows), spoiled={spoiled: Unavailable("500")})
    [failed] = failures(await harvest(source, rows, max_attempts=4))
    assert (failed.label_hash, failed.error, failed.message) == (spoiled, "unavailable", "500")
    assert source.calls.count((spoiled,)) == 4


async def test_a_row_that_makes_the_server_fail_is_failed_though_it_is_the_last_one() -> None:
    """Nothing else is asked for, so nothing else shows that the server is up; a row known good does."""
    rows = plan(100)
    spoiled = rows[-1].label_hash or ""
    source = FakeLabelRows(label_rows(rows), spoiled={spoiled: Unavailable("500")})
    [failed] = failures(await harvest(source, rows, max_attempts=20))
    assert failed.label_hash == spoiled


@pytest.mark.parametrize("bundle_size", [1, 5])
async def test_the_smallest_row_known_shows_that_the_server_is_up(bundle_size: int) -> None:
    """It is asked for before the last attempt for a row that makes the server fail."""
    rows = plan(30)
    data = label_rows(rows)
    data |= label_rows(rows[10:15], size=10) | label_rows(rows[15:20], size=50)
    source = FakeLabelRows(data, spoiled={"row-0029": Unavailable("500")})
    await harvest(source, rows, bundle_size=bundle_size, concurrency=1)
    began = next(number for number, asked in enumerate(source.calls) if "row-0029" in asked)
    assert {asked for asked in source.calls[began:] if asked[0] < "row-0025"} == {("row-0010",)}


async def test_a_row_that_cannot_be_read_is_failed_alone() -> None:
    """It came, and asking again would bring the same."""
    rows = plan(100)
    data = label_rows(rows)
    data["row-0042"] = b'{"label_hash":"row-0042","is":"unreadable"}'
    source = FakeLabelRows(data)
    [failed] = failures(await harvest(source, rows))
    assert (failed.label_hash, failed.error) == ("row-0042", "unreadable")
    assert failed.attempts == sum("row-0042" in asked for asked in source.calls) == 1


async def test_a_row_that_stays_away_is_asked_for_again_and_then_failed() -> None:
    """Three answers that leave it out are enough."""
    rows = plan(100)
    data = label_rows(rows)
    del data["row-0042"]
    source = FakeLabelRows(data)
    outcomes = await harvest(source, rows)
    [failed] = failures(outcomes)
    assert (failed.label_hash, failed.error) == ("row-0042", "gone")
    assert [label for label, _ in outcomes] == [row.label_hash for row in rows]
    assert source.calls.count(("row-0042",)) == 1, "one single call finds out why"
    assert 2 <= sum("row-0042" in asked for asked in source.calls) <= 3


async def test_a_row_that_bundles_leave_out_is_harvested_where_it_comes_alone() -> None:
    """The single call that is to say why it is left out brings it."""
    rows = plan(100)

    class Unbundled(FakeLabelRows):
        def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
            return super().get_label_rows([name for name in label_hashes if name != "row-0042"])

    source = Unbundled(label_rows(rows))
    assert await harvest(source, rows) == whole(rows, label_rows(rows))
    assert source.calls.count(("row-0042",)) == 1


class BundledOnly(FakeLabelRows):
    """A source whose single rows come by bundled calls, which leave out what there is not."""

    def __init__(self, rows: dict[str, bytes], left_out: SkipRow) -> None:
        super().__init__(rows)
        self.why: list[str] = []
        self._left_out = left_out

    def get_label_row(self, label_hash: str) -> RowsResponse:
        answer = super().get_label_rows([label_hash, "row-0000"])
        return RowsResponse(list(answer.rows[:-1]), 0, answer.body_bytes)

    def get_left_out(self, label_hash: str) -> RowsResponse:
        self.why.append(label_hash)
        raise self._left_out


@pytest.mark.parametrize("bundle_size", [None, 1])
@pytest.mark.parametrize("failure", get_args(Failure))
async def test_where_single_rows_come_by_bundled_calls_one_call_finds_out_why(
    bundle_size: int | None, failure: Failure
) -> None:
    """A bundled call of one says nothing; the other call is made once, and for that row alone."""
    rows = plan(40)
    data = label_rows(rows)
    del data["row-0030"]
    source = BundledOnly(data, SkipRow("because", failure=failure))
    [failed] = failures(await harvest(source, rows, bundle_size=bundle_size))
    assert (failed.label_hash, failed.error, failed.message) == ("row-0030", failure, "because")
    assert source.why == ["row-0030"]


async def test_a_row_in_whose_place_another_always_comes_is_left_out() -> None:
    """The server does not say why."""
    rows = plan(100)
    data = label_rows(rows) | {"row-0042": b'{"label_hash":"foreign"}'}
    [failed] = failures(await harvest(FakeLabelRows(data), rows))
    assert (failed.label_hash, failed.error) == ("row-0042", "left_out")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows[1:], id="missing"),
        pytest.param(lambda rows: rows + rows[:3], id="duplicates"),
        pytest.param(lambda rows: [b'{"label_hash":"foreign"}', *rows], id="foreign"),
        pytest.param(lambda rows: rows[::-1], id="shuffled"),
        pytest.param(lambda rows: [], id="empty"),
        pytest.param(lambda rows: [b"{}", b"no json", *rows], id="rows without a hash"),
    ],
)
async def test_an_answer_with_the_wrong_rows_is_put_right(change: Fault) -> None:
    """Each row is delivered once, in order; what was left out is asked for again."""
    rows = plan(200)
    source = FakeLabelRows(label_rows(rows), faults=[None] * 4 + [change] * 2)
    assert await harvest(source, rows) == whole(rows, label_rows(rows))


async def test_a_row_that_is_no_json_is_failed_for_that() -> None:
    """Though nobody can tell from it that it is the one asked for: alone, it must be."""
    rows = plan(100)
    bad = [row.label_hash or "" for row in rows[60:70]]
    source = FakeLabelRows(label_rows(rows) | dict.fromkeys(bad, b"unreadable"))
    failed = failures(await harvest(source, rows))
    assert [row.label_hash for row in failed] == bad
    assert any(len(set(bad) & set(asked)) > 1 for asked in source.calls)
    assert {row.message for row in failed} == {"the row cannot be read"}


async def test_rows_that_nobody_asked_for_are_told() -> None:
    """They are ignored, but not in silence."""
    rows, heard = plan(3), Heard()
    source = FakeLabelRows(label_rows(rows), faults=[lambda rows: [*rows, b'{"label_hash":"foreign"}']])
    assert await harvest(source, rows, on_event=heard) == whole(rows, label_rows(rows))
    assert heard.of("answer.foreign") == [{"rows": 1}]


# -- what the server says of bundles --------------------------------------------------------------


async def test_a_maximum_that_the_server_names_is_learnt_in_one_error() -> None:
    """No later bundle is larger, and every row is had."""
    rows = plan(3000)
    source = FakeLabelRows(label_rows(rows), most_rows=10)
    counters = Counters()
    outcomes = await harvest(source, rows, concurrency=1, counters=counters)
    assert outcomes == whole(rows, label_rows(rows))
    assert sum(len(asked) > 10 for asked in source.calls) == 1


async def test_a_row_larger_than_the_server_will_send_is_failed() -> None:
    """Its neighbours are had."""
    rows = plan(100)
    source = FakeLabelRows(label_rows(rows), spoiled={"row-0007": TooMuchAsked("413: too large")})
    [failed] = failures(await harvest(source, rows))
    assert (failed.label_hash, failed.error) == ("row-0007", "too_large")


# -- refusals and outages -------------------------------------------------------------------------


async def test_refusals_cost_no_attempt_and_are_counted() -> None:
    """A row with one attempt survives ten refusals."""
    rows, counters, heard = plan(60), Counters(), Heard()
    refusals: list[Fault | None] = [RateLimited("429") for _ in range(10)]
    source = FakeLabelRows(label_rows(rows), faults=[None, None, *refusals])
    outcomes = await harvest(source, rows, max_attempts=1, counters=counters, on_event=heard)
    assert outcomes == whole(rows, label_rows(rows))
    assert (counters.refused, counters.retries) == (10, 0)
    assert len(heard.of("request.refused")) == 10


async def test_no_request_is_sent_before_retry_after_is_over() -> None:
    """It pauses all requests."""
    rows, at = plan(40), []
    source = FakeLabelRows(
        label_rows(rows),
        faults=[None, None, RateLimited("429", retry_after=60.0)],
        on_call=lambda asked: at.append(anyio.current_time()),
    )
    assert await harvest(source, rows, concurrency=1) == whole(rows, label_rows(rows))
    # Calls are made on the loop when their latency is over.
    assert at[3] - at[2] >= 60.0


@pytest.mark.parametrize("length", [30.0, 600.0])
async def test_with_one_attempt_an_outage_fails_rows_only_until_it_is_known_for_one(length: float) -> None:
    """The seven failures before the breaker opens are taken for the rows' own; none after that is."""
    rows = plan(2000)
    outage = during(1.0, 1.0 + length, lambda: Unavailable("503"))
    source = FakeLabelRows(label_rows(rows), on_call=outage)
    outcomes = await harvest(source, rows, bundle_size=1, max_attempts=1)
    assert len(outcomes) == len(rows)
    assert len(failures(outcomes)) <= 7


@pytest.mark.parametrize("length", [30.0, 600.0])
@pytest.mark.parametrize("bundle_size", [None, 1])
@pytest.mark.parametrize("max_attempts", [2, 6])
async def test_an_outage_fails_no_row(length: float, bundle_size: int | None, max_attempts: int) -> None:
    """However long it lasts; and beyond those in flight, few requests go to a server that is down."""
    rows, failed_at = plan(2000), []

    def on_call(asked: tuple[str, ...]) -> None:
        if 1.0 <= anyio.current_time() < 1.0 + length:
            failed_at.append(anyio.current_time())
            raise Unavailable("503")

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    outcomes = await harvest(source, rows, bundle_size=bundle_size, max_attempts=max_attempts)
    assert outcomes == whole(rows, label_rows(rows))
    assert 8 <= len(failed_at) <= 8 + 20 + length / 6


@pytest.mark.parametrize("length", [30.0, 600.0])
async def test_an_outage_does_not_fail_a_row_that_is_the_only_one_left(length: float) -> None:
    """Its last attempt is not made before a row known good has been had."""
    rows = plan(3)
    calls = 0

    def on_call(asked: tuple[str, ...]) -> None:
        nonlocal calls
        calls += 1
        if calls > 2 and anyio.current_time() < length:
            raise Unavailable("503")

    source = FakeLabelRows(label_rows(rows), on_call=on_call)
    outcomes = await harvest(source, rows, bundle_size=1, concurrency=1)
    assert outcomes == whole(rows, label_rows(rows))


async def test_an_outage_before_the_first_answer_fails_no_row() -> None:
    """Nothing is known good yet, so the rows themselves are the trials, and pay nothing for it."""
    rows = plan(20)
    source = FakeLabelRows(label_rows(rows), on_call=during(0.0, 300.0, lambda: Unavailable("503")))
    assert await harvest(source, rows) == whole(rows, label_rows(rows))


async def test_a_server_that_never_answers_ends_the_run_without_failing_rows() -> None:
    """It is not the rows' fault: run the same command again. The last error is told: it may name a proxy."""
    source = FakeLabelRows({}, on_call=during(0.0, 1e9, lambda: Unavailable("503")))
    with pytest.raises(CannotFinishNow, match=r"answered nothing for 15 minutes \(503\)"):
        await harvest(source, plan(100))
    assert 900 <= anyio.current_time() < 1000


async def test_a_server_that_refuses_each_row_is_up() -> None:
    """Rows that cannot be had are failed one by one, and show as well as others that it is back."""
    rows = plan(30)
    source = FakeLabelRows({}, on_call=during(1.0, 2000.0, lambda: Unavailable("503")))
    failed = failures(await harvest(source, rows, bundle_size=1, concurrency=1))
    assert [row.error for row in failed] == ["gone"] * 30


async def test_rows_that_break_while_they_come_are_not_taken_for_their_end() -> None:
    """A broken stream of rows is an error, not a short export."""
    rows = plan(5)

    async def broken() -> AsyncIterator[PlanRow]:
        yield rows[0]
        raise anyio.BrokenResourceError

    async with a_pool(FakeLabelRows(label_rows(rows))) as pool:
        with pytest.raises(anyio.BrokenResourceError):
            await collect(pool, broken())


async def test_a_pool_can_be_cancelled_from_outside() -> None:
    """It ends at once, with its streams, and the cancellation is not swallowed."""
    rows = plan(10_000)
    source = FakeLabelRows(label_rows(rows))
    with anyio.move_on_after(2.0) as scope:
        async with a_pool(source, bundle_size=1) as pool:
            await collect(pool, rows)
    assert scope.cancelled_caught
    assert anyio.current_time() == 2.0


async def test_occasional_failures_are_retried_and_counted() -> None:
    """One request in ten fails, and no row does."""
    rows, counters, heard = plan(3000), Counters(), Heard()
    rng = random.Random(3)
    faults: list[Fault | None] = [Unavailable("502") if rng.random() < 0.1 else None for _ in range(5000)]
    source = FakeLabelRows(label_rows(rows), faults=faults)
    outcomes = await harvest(source, rows, bundle_size=1, counters=counters, on_event=heard)
    assert outcomes == whole(rows, label_rows(rows))
    assert counters.retries == len(heard.of("request.retried")) == counters.requests - 3000 > 0


# -- the end of everything ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [CredentialsRefused("401"), CannotFinishNow("full"), BadInput("a filter")])
async def test_an_error_that_stops_the_run_comes_out_of_every_stream_as_itself(error: HarvesterError) -> None:
    """In no exception group, within moments, and a stream that is begun later raises it too."""
    rows = plan(4000)
    source = FakeLabelRows(label_rows(rows), faults=[None] * 20 + [error])
    raised: list[BaseException] = []

    async def consume(pool: Pool, own: list[PlanRow]) -> None:
        try:
            await collect(pool, own)
        except Exception as caught:
            raised.append(caught)

    async with a_pool(source, bundle_size=2) as pool:
        async with anyio.create_task_group() as group:
            for start in range(0, 4000, 1000):
                group.start_soon(consume, pool, rows[start : start + 1000])
        await consume(pool, rows)
    assert raised == [error] * 5
    assert len(source.calls) < 300


async def test_a_pause_that_is_too_long_ends_the_run() -> None:
    """A server that wants a day gets it."""
    source = FakeLabelRows(label_rows(plan(10)), faults=[RateLimited("429", retry_after=86400.0)])
    with pytest.raises(CannotFinishNow):
        await harvest(source, plan(10))


async def test_a_bug_comes_out_as_itself() -> None:
    """It is not taken for a fault of the row or of the server."""

    class Broken(Copying):
        def extract(self, row: object, planned: PlanRow) -> object:  # type: ignore[override]
            raise ZeroDivisionError("a bug")

    rows = plan(10)
    async with a_pool(FakeLabelRows(label_rows(rows))) as pool:
        with pytest.raises(ZeroDivisionError):
            await collect(pool, rows, Broken())  # type: ignore[arg-type]


async def test_an_error_of_the_rows_themselves_comes_out_of_the_stream() -> None:
    """The plan cannot be read further."""

    async def torn() -> AsyncIterator[PlanRow]:
        yield plan(1)[0]
        raise CannotFinishNow("the plan is torn")

    async with a_pool(FakeLabelRows(label_rows(plan(1)))) as pool:
        with pytest.raises(CannotFinishNow, match="torn"):
            await collect(pool, torn())


async def test_a_stream_of_a_pool_that_is_closed_says_so() -> None:
    """It neither hangs nor ends as if all rows had come."""
    rows = plan(100)
    pool = a_pool(FakeLabelRows(label_rows(rows)))
    with pytest.raises(RuntimeError, match="not open"):
        await collect(pool, rows)
    async with aclosing(pool.stream(rows, COPYING)) as stream:
        async with pool:
            await anext(stream)
        with pytest.raises(RuntimeError, match="closed"):
            async for _ in stream:
                pass


# -- memory ---------------------------------------------------------------------------------------


class Heavy:
    """Rows that say they weigh 50 MB, and how many bytes are being asked for at once."""

    def __init__(self, size: int) -> None:
        self.size = size

    def get_label_row(self, label_hash: str) -> RowsResponse:
        return self.get_label_rows([label_hash])

    get_left_out = get_label_row

    def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
        rows = [b'{"label_hash":"%s"}' % label_hash.encode() for label_hash in label_hashes]
        return RowsResponse(list(rows), 0, self.size * len(rows))


async def test_the_byte_budget_holds_heavy_rows_back() -> None:
    """Fifty rows of 50 MB, a budget of 200 MB, five streams: two rows at once, and all of them come."""
    at_once = most = 0

    async def run(threads: Threads, func: Callable[[], object], deadline: float) -> object:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.5)
        at_once -= 1
        return func()

    rows = plan(50)
    done: list[object] = []

    async def consume(pool: Pool, own: list[PlanRow]) -> None:
        done.extend(await collect(pool, own))

    async with a_pool(Heavy(50_000_000), max_memory=200_000_000) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Threads, "run", run)
            async with anyio.create_task_group() as group:
                for start in range(0, 50, 10):
                    group.start_soon(consume, pool, rows[start : start + 10])
    assert len(done) == 50
    assert most == 2


async def test_a_stream_that_is_not_read_on_is_fetched_ahead_by_twice_what_may_be_in_flight() -> None:
    """Enough to keep all threads busy while its head is waited for, and not all there is."""
    rows = plan(100)
    source = FakeLabelRows(label_rows(rows))
    async with (
        a_pool(source, bundle_size=1, concurrency=4) as pool,
        aclosing(pool.stream(rows, COPYING)) as stream,
    ):
        await anext(stream)
        await anyio.sleep(60)
        assert len(source.calls) == 1 + 2 * 4


async def test_the_stream_that_was_begun_first_is_asked_for_first() -> None:
    """The next has one request in between at most, and goes on when the first has no more to ask for."""
    rows, asked = plan(20), list[str]()
    source = FakeLabelRows(label_rows(rows), on_call=lambda hashes: asked.extend(hashes))
    async with (
        a_pool(source, bundle_size=1, concurrency=1) as pool,
        anyio.create_task_group() as group,
    ):
        for part in (rows[:10], rows[10:]):
            group.start_soon(collect, pool, part)
    late = {row.label_hash for row in rows[11:]}
    assert sorted(asked) == [row.label_hash for row in rows]
    assert late.isdisjoint(asked[:11])


async def test_streams_taken_one_after_the_other_do_not_starve_each_other() -> None:
    """All are open, only one is read at a time: the lines that wait in the others never block it."""
    rows = plan(60)
    data = label_rows(rows, size=4 * 1024**2)
    async with a_pool(FakeLabelRows(data), max_memory=16 * 1024**2) as pool:
        parts = [rows[start : start + 20] for start in range(0, 60, 20)]
        streams = [pool.stream(part, COPYING) for part in parts]
        heads = [await anext(stream) for stream in streams]
        await anyio.sleep(60)
        for head, stream, part in zip(heads, streams, parts, strict=True):
            rest = [row async for rows, _ in stream for row in rows]
            assert [*head[0], *rest] == part


async def test_nothing_is_held_once_the_streams_have_ended() -> None:
    """The budget is whole again, also after streams that were left."""
    rows = plan(200)
    async with a_pool(FakeLabelRows(label_rows(rows))) as pool:
        await collect(pool, rows)
        async with aclosing(pool.stream(rows, COPYING)) as stream:
            await anext(stream)
        await anyio.sleep(10)
        assert pool._budget.used == 0
        assert pool.controller.wait(anyio.current_time()) == 0
        assert not pool._streams


# -- whatever happens -----------------------------------------------------------------------------

FAULTS = st.one_of(
    st.none(),
    st.just("refused"),
    st.just("unavailable"),
    st.just("too much"),
    st.just("skip"),
    st.just("missing"),
    st.just("double"),
    st.just("foreign"),
    st.just("shuffled"),
)


def fault(name: str | None) -> Fault | None:
    made: dict[str | None, Callable[[], Fault | None]] = {
        None: lambda: None,
        "refused": lambda: RateLimited("429", retry_after=0.5),
        "unavailable": lambda: Unavailable("503"),
        "too much": lambda: TooMuchAsked("413"),
        "skip": lambda: SkipRow("not this one"),
        "missing": lambda: lambda rows: rows[::2],
        "double": lambda: lambda rows: rows * 2,
        "foreign": lambda: lambda rows: [*rows, b'{"label_hash":"foreign"}'],
        "shuffled": lambda: lambda rows: rows[::-1],
    }
    return made[name]()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 60),
    script=st.lists(FAULTS, max_size=60),
    spoiled=st.dictionaries(
        st.integers(0, 59), st.sampled_from(["skip", "unavailable", "too much"]), max_size=3
    ),
    bundle_size=st.sampled_from([None, 1, 5]),
    streams=st.integers(1, 3),
    seed=st.integers(0, 9),
)
async def test_whatever_happens_each_row_ends_once_and_in_order(
    count: int,
    script: list[str | None],
    spoiled: dict[int, str],
    bundle_size: int | None,
    streams: int,
    seed: int,
) -> None:
    """Harvested as it is, or failed; and a spoiled row is never harvested."""
    rows = plan(count)
    data = label_rows(rows)
    bad = {f"row-{i:04}": fault(name) for i, name in spoiled.items()}
    source = FakeLabelRows(data, faults=map(fault, script), spoiled=bad)  # type: ignore[arg-type]
    ended: list[list[tuple[str | None, bytes | FailedRow]]] = [[] for _ in range(streams)]

    async def consume(index: int) -> None:
        ended[index] = await collect(pool, rows[index::streams])

    async with a_pool(source, bundle_size=bundle_size, rng=random.Random(seed)) as pool:
        async with anyio.create_task_group() as group:
            for index in range(streams):
                group.start_soon(consume, index)
        assert pool._budget.used == 0
    for index, outcomes in enumerate(ended):
        assert [label for label, _ in outcomes] == [row.label_hash for row in rows[index::streams]]
        for label, outcome in outcomes:
            if isinstance(outcome, FailedRow):
                assert outcome.label_hash == label
                assert outcome.attempts >= 1
            else:
                assert label not in bad
                assert outcome == data[label or ""] + b"\n"


def test_the_fake_keeps_the_promises_of_a_source() -> None:
    """The shipped conformance check passes on it."""
    data = label_rows(plan(20))
    check_label_rows(FakeLabelRows(data), list(data))


def test_the_conformance_check_names_a_broken_promise() -> None:
    """A source that leaves rows out does not pass."""
    data = label_rows(plan(20))
    source = FakeLabelRows(data, faults=[None, None, lambda rows: rows[1:]])
    with pytest.raises(AssertionError, match="get_label_rows: asked for"):
        check_label_rows(source, list(data))


async def test_a_call_whose_requests_may_still_be_open_keeps_its_slot() -> None:
    """Two requests one after the other, each within its deadline: another call would be a third."""
    rows = plan(3)
    source = FakeLabelRows(label_rows(rows))
    with calls_on_the_loop(latency=19.0):
        async with a_pool(source, concurrency=1, max_attempts=1, request_deadline=10.0) as pool:
            assert await collect(pool, rows) == whole(rows, label_rows(rows))
