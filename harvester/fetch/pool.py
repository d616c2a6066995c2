"""The worker pool: fetch label rows with many requests at once, and deliver them in order.

Streams share one pool, with its rate limiter (when may a request leave?) and its byte budget (how much may be
in memory?). Each stream has a feeder task: it forms the next bundle, reserves its bytes, waits for its turn
and starts a task for it. So only bundles exist that are being fetched or wait to be consumed.

Retries and splits of a bundle happen in its own task and under its first reservation. So the bundle at the
head of a stream never waits for anything that a later bundle holds, and there is no deadlock.
"""

import random
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from harvester.errors import HarvesterError, RateLimited, SkipRow, TooMuchAsked, Unavailable
from harvester.events import Counters
from harvester.fetch.budget import Account, ByteBudget, Hold
from harvester.fetch.bundles import MOST_LEFT_OUT, MOST_ROWS, Batch, BundleSizer
from harvester.fetch.call import FailedRow, Fetched, Outcome, Span
from harvester.fetch.caller import Caller
from harvester.fetch.rate.concurrency import CoresUsed
from harvester.fetch.rate.controller import RateController, Ticket
from harvester.fetch.rate.limiter import RateLimiter
from harvester.fetch.retry import RetryPolicy
from harvester.fetch.source import LabelRows
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.settings import Limits

__all__ = ["FailedRow", "Pool"]

Rows = Iterable[PlanRow] | AsyncIterable[PlanRow]

MOST_IN_FLIGHT = 256


class Pool:
    """Fetch label rows from `source`, with as many requests at once as the server can take.

    Streams that were begun earlier have priority. So streams end one after the other, while the next ones are
    already being fetched.

    Use it as an async context manager. Leaving it cancels all work, without waiting for threads.

    Args:
        counters: updated here, except the counts of rows that are never requested, and of notes.
        on_event: called with the name and the fields of ``request.answered``, ``request.refused``,
            ``request.retried``, ``bundle.split``, ``answer.foreign``, ``row.failed``, ``rows.older`` and
            ``rows.clocks_differ``.
        request_deadline: seconds after which the source should have ended each request by itself.
        row_bytes: mean size of a row in an earlier run, if known. Then bundles start at full size.
    """

    def __init__(
        self,
        source: LabelRows,
        limits: Limits,
        *,
        counters: Counters,
        on_event: Callable[[str, Mapping[str, Any]], None] = lambda event, fields: None,
        rng: random.Random | None = None,
        request_deadline: float = 600.0,
        row_bytes: float | None = None,
    ) -> None:
        rng = rng or random.Random()
        most = limits.concurrency or MOST_IN_FLIGHT
        self.controller = RateController(
            rng=rng,
            max_rps=limits.max_rps,
            concurrency=limits.concurrency,
            max_concurrency=most,
            cores=CoresUsed(),
        )
        self._counters = counters
        self._on_event = on_event
        self._limiter = RateLimiter(self.controller)
        self._sizer = BundleSizer(
            cap=limits.bundle_size or MOST_ROWS, max_memory=limits.max_memory, row_bytes=row_bytes
        )
        self._budget = ByteBudget(limits.max_memory)
        self._retry = RetryPolicy(
            limits.max_attempts, rng=rng, broken=lambda: self.controller.broken, on_retry=self._report_retry
        )
        self._caller = Caller(
            source,
            limiter=self._limiter,
            sizer=self._sizer,
            retry=self._retry,
            counters=counters,
            on_event=on_event,
            deadline=request_deadline,
        )
        # Bundles per stream: as many may wait for an earlier one as can be in flight, which keeps all threads
        # busy.
        self._window = 2 * most
        self._group: TaskGroup | None = None
        self._streams: set[anyio.CancelScope] = set()
        self._error: Exception | None = None

    @property
    def clocks_differ(self) -> bool:
        """Return whether the edit times of rows and listing have different meanings, see freshness.py."""
        return self._caller.clocks.differ

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        group.cancel_scope.cancel()
        try:
            # The task group does not get the body's error, because it would wrap it in an exception group.
            await group.__aexit__(None, None, None)
        finally:
            self._caller.close()

    async def stream(
        self, rows: Rows, extractor: Extractor
    ) -> AsyncGenerator[tuple[list[PlanRow], Outcome], None]:
        """Yield `rows` in order, in groups with a common outcome. A failed row comes alone.

        Close it (`contextlib.aclosing`) to leave early: that cancels the work for this stream.

        Raises:
            Stop: no further row can be fetched. Every open stream of the pool raises it.
        """
        if self._group is None:
            raise RuntimeError("the pool is not open")
        if self._error is not None:
            raise self._error
        send, receive = anyio.create_memory_object_stream[_Bundle](self._window)
        scope = anyio.CancelScope()
        account = self._budget.account()
        self._streams.add(scope)
        self._group.start_soon(self._feed, rows, extractor, send, scope, account)
        try:
            async for bundle in receive:
                # Without this check, `wait` would cost a turn of the event loop for each bundle.
                if not bundle.ended.is_set():
                    await bundle.ended.wait()
                if not bundle.complete:
                    break
                for span in sorted(bundle.spans, key=lambda span: span.place):
                    self._count(span)
                    yield bundle.rows[span.place : span.place + span.rows], span.outcome
                bundle.hold.release()
            if self._error is not None or self._group is None:
                raise self._error or RuntimeError("the pool was closed while a stream was open")
        finally:
            scope.cancel()
            receive.close()
            account.close()

    def _count(self, span: Span) -> None:
        """Count rows when they are delivered, not when they are fetched."""
        counters = self._counters
        if isinstance(span.outcome, FailedRow):
            counters.failed += 1
        else:
            counters.harvested += span.rows
            counters.add(span.outcome.written)
            counters.out_bytes += sum(lines.size for lines in span.outcome.lines.values())

    async def _feed(
        self,
        rows: Rows,
        extractor: Extractor,
        send: MemoryObjectSendStream["_Bundle"],
        scope: anyio.CancelScope,
        account: Account,
    ) -> None:
        """Run the feeder task of one stream. An error in it (of the source of rows, say) ends the pool."""
        try:
            with send, scope:
                async with anyio.create_task_group() as group:
                    try:
                        await self._start_bundles(rows, extractor, send, group, account)
                    except Exception as error:
                        if not scope.cancel_called:  # otherwise closing the stream caused it
                            self._halt(error)
        finally:
            self._streams.discard(scope)

    async def _start_bundles(
        self,
        rows: Rows,
        extractor: Extractor,
        send: MemoryObjectSendStream["_Bundle"],
        group: TaskGroup,
        account: Account,
    ) -> None:
        """Start the bundles in order: each when it has a place in the window, its bytes, and its turn."""
        async with aclosing(_bundles(rows, lambda: self._sizer.size)) as cuts:
            async for cut in cuts:
                bundle = _Bundle(cut)
                try:
                    await _send(send, bundle)
                    bundle.hold = await account.reserve(partial(self._sizer.footprint, len(cut)))
                    ticket = await self._limiter.enter(account.rank)
                except BaseException:
                    bundle.ended.set()
                    raise
                group.start_soon(self._harvest, bundle, extractor, ticket)

    async def _harvest(self, bundle: "_Bundle", extractor: Extractor, ticket: Ticket) -> None:
        """Fetch one bundle, with retries and splits, until each of its rows is harvested or failed."""
        tickets = [ticket]  # for the first request; later ones wait for their turn

        async def ask(batch: Batch) -> Fetched:
            return await self._caller.ask(batch, extractor, tickets.pop() if tickets else None)

        try:
            todo = [Batch(bundle.rows, range(len(bundle.rows)))]  # a stack; its top is the next batch
            while todo:
                batch = todo.pop()
                if len(batch.rows) > self._sizer.cap:  # formed before the server named its maximum
                    todo += reversed(batch.cut(self._sizer.cap))
                    continue
                try:
                    fetched = await self._retry(ask, batch)
                except (SkipRow, TooMuchAsked, Unavailable) as error:
                    todo += reversed(self._cut_or_fail(bundle, batch, error))
                else:
                    todo += self._add_answer(bundle, batch, fetched)
            assert sum(span.rows for span in bundle.spans) == len(bundle.rows)
            bundle.complete = True
            bundle.hold.settle(bundle.weight)
        except Exception as error:
            self._halt(error)
        finally:
            bundle.ended.set()

    def _add_answer(self, bundle: "_Bundle", batch: Batch, fetched: Fetched) -> list[Batch]:
        """Add the outcomes of an answer to the bundle. Return the batches to request again."""
        bundle.weight += fetched.weight
        if fetched.foreign:
            self._on_event("answer.foreign", {"rows": fetched.foreign})
        for span in fetched.spans:
            self._add_outcome(bundle, span)
        return self._older(batch, fetched) + self._left_out(bundle, batch, fetched)

    def _older(self, batch: Batch, fetched: Fetched) -> list[Batch]:
        """Return a batch of the rows that are older than listed, to request them once more."""
        clocks = self._caller.clocks
        if not batch.asked_again and clocks.answered(len(batch.rows), fetched.older):
            self._on_event("rows.clocks_differ", clocks.told())
        if not fetched.older:
            return []
        self._on_event("rows.older", {"rows": len(fetched.older)})
        again = batch.part(fetched.older)
        again.asked_again, again.left_out = True, 0
        return [again]

    def _left_out(self, bundle: "_Bundle", batch: Batch, fetched: Fetched) -> list[Batch]:
        """Return batches of the rows that an answer left out, to request them again.

        After MOST_LEFT_OUT answers without them, the rows are reported as failed instead.
        """
        if not fetched.missing:
            return []
        rest = batch.part(fetched.missing)
        rest.left_out += 1
        if rest.left_out < MOST_LEFT_OUT:
            self._counters.retries += 1
            self._on_event("request.retried", {"rows": len(rest.rows), "error": "rows left out of an answer"})
            return rest.cut(1) if rest.asks_why else [rest]
        for row, place in zip(rest.rows, rest.places, strict=True):
            error = SkipRow("the server's answers leave this row out", failure="left_out", row=row.label_hash)
            self._add_outcome(bundle, Span(place, 1, FailedRow.of(row, error, rest.attempts)))
        return []

    def _cut_or_fail(
        self, bundle: "_Bundle", batch: Batch, error: SkipRow | TooMuchAsked | Unavailable
    ) -> list[Batch]:
        """Return the parts of a failed batch, to request again. A single row is reported as failed."""
        if len(batch.rows) == 1:
            failed = FailedRow.of(batch.rows[0], error, batch.attempts)
            self._add_outcome(bundle, Span(batch.places[0], 1, failed))
            return []
        self._on_event("bundle.split", {"rows": len(batch.rows), "error": error.message})
        if not isinstance(error, TooMuchAsked):
            return batch.cut()
        self._sizer.too_much(len(batch.rows), error.maximum)
        return batch.cut(error.maximum)

    def _add_outcome(self, bundle: "_Bundle", span: Span) -> None:
        bundle.spans.append(span)
        if isinstance(span.outcome, FailedRow):
            self._on_event("row.failed", msgspec.structs.asdict(span.outcome))

    def _report_retry(self, batch: Batch, error: HarvesterError, wait: float) -> None:
        """Count a retry and report it. Refused requests are counted elsewhere, as refused."""
        if not isinstance(error, RateLimited):
            self._counters.retries += 1
            fields = {"rows": len(batch.rows), "attempt": batch.attempts, "wait": round(wait, 3)}
            self._on_event("request.retried", fields | {"error": error.message})

    def _halt(self, error: Exception) -> None:
        """End every stream with `error`, or with the first error if there are several."""
        self._error = self._error or error
        for scope in self._streams:
            scope.cancel()


class _Bundle:
    """Consecutive rows of a stream that are fetched together, and their outcomes.

    `ended` is set when the work on it is over; `complete` says whether every row has an outcome.
    """

    __slots__ = ("complete", "ended", "hold", "rows", "spans", "weight")

    hold: Hold

    def __init__(self, rows: list[PlanRow]) -> None:
        self.rows = rows
        self.spans: list[Span] = []
        self.weight = 0  # bytes of memory that its results hold
        self.complete = False
        self.ended = anyio.Event()


async def _send(stream: MemoryObjectSendStream[_Bundle], bundle: _Bundle) -> None:
    """Send `bundle`. Unlike `stream.send`, this does not yield to the event loop if there is room."""
    try:
        stream.send_nowait(bundle)
    except anyio.WouldBlock:
        await stream.send(bundle)


async def _bundles(rows: Rows, size: Callable[[], int]) -> AsyncGenerator[list[PlanRow], None]:
    """Yield consecutive rows in lists of `size()` rows. `size` is called anew for each list."""
    if not isinstance(rows, AsyncIterable):
        each = iter(rows)
        while cut := list(islice(each, size())):
            yield cut
        return
    cut = []
    async for row in rows:
        cut.append(row)
        if len(cut) >= size():
            yield cut
            cut = []
    if cut:
        yield cut
