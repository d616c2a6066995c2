"""The worker pool: label rows asked for by many threads at once, delivered in order.

Streams share one pool: its gate says when a request may leave, its budget how much may be held. Each
stream has a feeder, which forms the next bundle, reserves its bytes, waits for its turn and starts it;
so only bundles that are really under way exist. Whatever happens to a bundle (refusals, retries, cuts)
happens in its own task and under its first reservation: the bundle at the head of a stream waits for
nothing that a later one holds.
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
from harvester.fetch.asking import FailedRow, Fetched, Outcome, Span
from harvester.fetch.budget import Account, ByteBudget, Hold
from harvester.fetch.bundles import MOST_LEFT_OUT, MOST_ROWS, Batch, BundleSizer
from harvester.fetch.calls import Caller
from harvester.fetch.gate import Gate
from harvester.fetch.in_flight import CoresUsed
from harvester.fetch.pacing import Pacer, Ticket
from harvester.fetch.retry import RetryPolicy
from harvester.fetch.source import LabelRows
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.settings import Limits

__all__ = ["FailedRow", "Pool"]

Rows = Iterable[PlanRow] | AsyncIterable[PlanRow]

MOST_IN_FLIGHT = 256


class Pool:
    """Asks `source` for label rows, as many at once as the server bears.

    Of its streams the one that was begun first goes first: so one ends after the other, and each while the
    next is under way.

    An async context manager; leaving it cancels everything under way without waiting for threads.

    Args:
        counters: all of them are counted here, but for the rows that are not asked for, and the notes.
        on_event: called with ``request.answered``, ``request.refused``, ``request.retried``,
            ``bundle.split``, ``answer.foreign``, ``row.failed``, ``rows.older``, ``rows.clocks_differ``.
        request_deadline: seconds after which each request of a call should have ended by itself.
        row_bytes: what a row weighed on average in an earlier run, if that is known.
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
        self.pacer = Pacer(
            rng=rng,
            max_rps=limits.max_rps,
            concurrency=limits.concurrency,
            max_concurrency=most,
            cores=CoresUsed(),
        )
        self._counters = counters
        self._on_event = on_event
        self._gate = Gate(self.pacer)
        self._sizer = BundleSizer(
            cap=limits.bundle_size or MOST_ROWS, max_memory=limits.max_memory, row_bytes=row_bytes
        )
        self._budget = ByteBudget(limits.max_memory)
        self._retry = RetryPolicy(
            limits.max_attempts, rng=rng, broken=lambda: self.pacer.broken, on_retry=self._tell_retry
        )
        self._caller = Caller(
            source,
            gate=self._gate,
            sizer=self._sizer,
            retry=self._retry,
            counters=counters,
            on_event=on_event,
            deadline=request_deadline,
        )
        # As many bundles may wait for an earlier one as can be in flight: enough to keep all threads busy.
        self._window = 2 * most
        self._group: TaskGroup | None = None
        self._streams: set[anyio.CancelScope] = set()
        self._error: Exception | None = None

    @property
    def clocks_differ(self) -> bool:
        """Whether label rows and listing mean different moments: then no row is older than listed."""
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
            # The body's error is not the group's: it goes on as itself, in no exception group.
            await group.__aexit__(None, None, None)
        finally:
            self._caller.close()

    async def stream(
        self, rows: Rows, extractor: Extractor
    ) -> AsyncGenerator[tuple[list[PlanRow], Outcome], None]:
        """Yield `rows` in their order, some at a time, with their outcome; a failed row comes alone.

        Leaving it early (`contextlib.aclosing`) cancels what is under way for it.

        Raises:
            Stop: no row can be had any more; every open stream of the pool raises it.
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
                if not bundle.ended.is_set():  # waiting for what has been takes a turn of the loop
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
        """Starts one stream's bundles in order, each when there is room for it and its turn has come."""
        try:
            with send, scope:
                async with anyio.create_task_group() as group:
                    try:
                        await self._start_bundles(rows, extractor, send, group, account)
                    except Exception as error:
                        if not scope.cancel_called:  # else the stream was left, and is broken by that
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
        async with aclosing(_cut(rows, lambda: self._sizer.size)) as cuts:
            async for cut in cuts:
                bundle = _Bundle(cut)
                try:
                    await _send(send, bundle)
                    bundle.hold = await account.reserve(partial(self._sizer.footprint, len(cut)))
                    ticket = await self._gate.enter(account.rank)
                except BaseException:
                    bundle.ended.set()
                    raise
                group.start_soon(self._harvest, bundle, extractor, ticket)

    async def _harvest(self, bundle: "_Bundle", extractor: Extractor, ticket: Ticket) -> None:
        """Sees one bundle through: each of its rows ends harvested or failed."""
        tickets = [ticket]

        async def ask(batch: Batch) -> Fetched:
            return await self._caller.ask(batch, extractor, tickets.pop() if tickets else None)

        try:
            todo = [Batch(bundle.rows, range(len(bundle.rows)))]
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
                    todo += self._keep(bundle, batch, fetched)
            assert sum(span.rows for span in bundle.spans) == len(bundle.rows)
            bundle.complete = True
            bundle.hold.settle(bundle.weight)
        except Exception as error:
            self._halt(error)
        finally:
            bundle.ended.set()

    def _keep(self, bundle: "_Bundle", batch: Batch, fetched: Fetched) -> list[Batch]:
        """Keeps what an answer brought; returns what is to be asked for again."""
        bundle.weight += fetched.weight
        if fetched.foreign:
            self._on_event("answer.foreign", {"rows": fetched.foreign})
        for span in fetched.spans:
            self._end(bundle, span)
        return self._older(batch, fetched) + self._left_out(bundle, batch, fetched)

    def _older(self, batch: Batch, fetched: Fetched) -> list[Batch]:
        """The rows of an answer that are older than listed, to be asked for once more."""
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
        """The rows that an answer left out, to be asked for again, unless they have ended by that."""
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
            self._end(bundle, Span(place, 1, FailedRow.of(row, error, rest.attempts)))
        return []

    def _cut_or_fail(
        self, bundle: "_Bundle", batch: Batch, error: SkipRow | TooMuchAsked | Unavailable
    ) -> list[Batch]:
        """What remains to be asked for after a batch failed: its parts, or nothing where it is one row."""
        if len(batch.rows) == 1:
            failed = FailedRow.of(batch.rows[0], error, batch.attempts)
            self._end(bundle, Span(batch.places[0], 1, failed))
            return []
        self._on_event("bundle.split", {"rows": len(batch.rows), "error": error.message})
        if not isinstance(error, TooMuchAsked):
            return batch.cut()
        self._sizer.too_much(len(batch.rows), error.maximum)
        return batch.cut(error.maximum)

    def _end(self, bundle: "_Bundle", span: Span) -> None:
        bundle.spans.append(span)
        if isinstance(span.outcome, FailedRow):
            self._on_event("row.failed", msgspec.structs.asdict(span.outcome))

    def _tell_retry(self, batch: Batch, error: HarvesterError, wait: float) -> None:
        if not isinstance(error, RateLimited):
            self._counters.retries += 1
            fields = {"rows": len(batch.rows), "attempt": batch.attempts, "wait": round(wait, 3)}
            self._on_event("request.retried", fields | {"error": error.message})

    def _halt(self, error: Exception) -> None:
        """Ends every stream with `error`, unless an earlier one did."""
        self._error = self._error or error
        for scope in self._streams:
            scope.cancel()


class _Bundle:
    """Rows that travel together through a stream, and what became of them once it has `ended`."""

    __slots__ = ("complete", "ended", "hold", "rows", "spans", "weight")

    hold: Hold

    def __init__(self, rows: list[PlanRow]) -> None:
        self.rows = rows
        self.spans: list[Span] = []
        self.weight = 0
        self.complete = False
        self.ended = anyio.Event()


async def _send(stream: MemoryObjectSendStream[_Bundle], bundle: _Bundle) -> None:
    """As the stream's own `send`, but where there is room it takes no turn of the loop."""
    try:
        stream.send_nowait(bundle)
    except anyio.WouldBlock:
        await stream.send(bundle)


async def _cut(rows: Rows, size: Callable[[], int]) -> AsyncGenerator[list[PlanRow], None]:
    """Consecutive rows in lists as long as `size()` says at the time."""
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
