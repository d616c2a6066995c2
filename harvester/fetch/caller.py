"""Send one request: wait for its turn, run it in a thread with a deadline, and report the outcome.

The outcome goes to the rate limiter, the bundle sizer, the counters and the events.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio

from harvester.errors import CannotFinishNow, HarvesterError, RateLimited, SkipRow, TooMuchAsked, Unavailable
from harvester.events import Counters
from harvester.fetch.bundles import Batch, BundleSizer
from harvester.fetch.call import Call, Fetched
from harvester.fetch.freshness import Clocks
from harvester.fetch.rate.controller import Ticket
from harvester.fetch.rate.limiter import RateLimiter
from harvester.fetch.retry import RetryPolicy
from harvester.fetch.source import LabelRows
from harvester.fetch.threads import Threads
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow

T = TypeVar("T")

# The requests of a call, one after the other, at most: for the rows and, where one is refused, to see whether
# the project may still be read. The source should end each at its own deadline; only a call that hangs is
# abandoned, since its slot is then free while its connection may be open.
_REQUESTS = 2
# Seconds added to the deadlines of the requests. Chosen.
DEADLINE_SLACK = 5.0
# The run ends after this many seconds if the server has not answered at all since the start. An outage in the
# middle of a run is waited out instead. Chosen.
_MAX_SILENCE = 900.0


class Caller:
    """Send requests when the rate limiter allows it.

    Args:
        retry: tells whether the next failure of a batch is its last, and holds the retry budget.
        on_event: called with the name of an event and its fields.
        deadline: seconds after which the source should have ended each request by itself.

    Attributes:
        clocks: whether rows and their listing can be compared, see freshness.py.
    """

    def __init__(
        self,
        source: LabelRows,
        *,
        limiter: RateLimiter,
        sizer: BundleSizer,
        retry: RetryPolicy,
        counters: Counters,
        on_event: Callable[[str, Mapping[str, Any]], None],
        deadline: float,
    ) -> None:
        self.clocks = Clocks()
        self._source = source
        self._limiter = limiter
        self._sizer = sizer
        self._retry = retry
        self._counters = counters
        self._on_event = on_event
        self._deadline = _REQUESTS * deadline + DEADLINE_SLACK
        self._threads = Threads()
        # The smallest row fetched so far, used as the health check: its size in bytes and its label hash.
        self._probe_row: tuple[float, str] | None = None
        self._unanswered_since: float | None = None  # time of the first failure without any answer

    def close(self) -> None:
        """End the worker threads, without waiting for them. No request may be sent afterwards."""
        self._threads.close()

    async def ask(self, batch: Batch, extractor: Extractor, ticket: Ticket | None) -> Fetched:
        """Request the rows of `batch`, with `ticket` if there is one, otherwise at the next turn.

        Add 1 to `batch.spent` if the request counts as an attempt: it was not refused, and did not fail
        during an outage.

        Raises:
            RateLimited, Unavailable, TooMuchAsked, SkipRow: this batch failed.
            Stop: the whole run must end.
        """
        ticket = await self._probe_if_needed(batch, ticket or await self._limiter.enter())
        call = Call(self._source, extractor, batch, self.clocks)
        try:
            fetched = await self._send(ticket, call, len(batch.rows))
        except RateLimited:
            raise
        except Unavailable:
            batch.spent += not (ticket.trial or self._limiter.controller.broken)
            self._sizer.failed(len(batch.rows), anyio.current_time() - ticket.sent)
            raise
        except HarvesterError:
            batch.spent += 1
            if len(batch.rows) == 1:
                # An error is an answer too. Use this row as the probe until one with a known size arrives.
                self._learn_probe_row(batch.rows[0], math.inf)
            raise
        finally:
            call.abandoned = True
        batch.spent += 1
        self._learn(batch, fetched, anyio.current_time() - ticket.sent)
        return fetched

    async def _probe_if_needed(self, batch: Batch, ticket: Ticket) -> Ticket:
        """Request the probe row first, if this is a trial or the batch's last attempt. Return a valid ticket.

        A trial of the breaker must not depend on the batch: if its rows are what makes the server fail, the
        breaker would never close. And the last attempt for a row is made right after the server has shown
        that it is up, so that no row is reported as failed because of an outage.
        """
        doubtful = self._retry.is_last(batch)
        while self._probe_row is not None and (ticket.trial or doubtful):
            try:
                await self._send(ticket, partial(self._source.get_label_row, self._probe_row[1]), 1)
            except (SkipRow, TooMuchAsked):
                pass  # this is an answer, too
            doubtful = False
            # The probe has used up the ticket. The next one may be a trial again, if the breaker opened
            # meanwhile.
            ticket = await self._limiter.enter()
        return ticket

    async def _send(self, ticket: Ticket, call: Callable[[], T], weight: int) -> T:
        """Run `call` in a thread, and give its ticket back with the outcome. `weight`: rows requested."""
        self._counters.requests += 1
        self._retry.budget.requested()
        try:
            result = await self._in_thread(call)
        except RateLimited as error:
            self._counters.refused += 1
            self._on_event("request.refused", {"retry_after": error.retry_after})
            self._limiter.refused(ticket, error.retry_after)
            raise
        except Unavailable as error:
            self._limiter.failed(ticket, error.retry_after)
            self._check_silence(error)
            raise
        except (SkipRow, TooMuchAsked):
            # The server is up, but the latency of an error says nothing about its load: report a success only
            # if the breaker waits for one.
            if ticket.trial:
                self._limiter.succeeded(ticket)
            else:
                self._limiter.cancelled(ticket)
            raise
        except BaseException:
            self._limiter.cancelled(ticket)
            raise
        self._limiter.succeeded(ticket, weight=weight)
        return result

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Run `call` in a worker thread; abandon it after the deadline."""
        try:
            return await self._threads.run(call, self._deadline)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._deadline:.0f} s") from error

    def _learn(self, batch: Batch, fetched: Fetched, took: float) -> None:
        """Pass an answer that came after `took` seconds to counters, bundle sizer and events."""
        self._counters.wire_bytes += fetched.wire_bytes
        self._counters.body_bytes += fetched.body_bytes
        self._sizer.answered(len(batch.rows), fetched.body_bytes, fetched.weight, took)
        facts = {"rows": len(batch.rows), "body_bytes": fetched.body_bytes, "seconds": took}
        self._on_event("request.answered", facts)
        there = set(range(len(batch.rows))).difference(fetched.missing)
        if there:
            self._learn_probe_row(batch.rows[min(there)], fetched.body_bytes / len(batch.rows))

    def _learn_probe_row(self, row: PlanRow, row_bytes: float) -> None:
        """Use `row` as the probe row if it is smaller than the present one."""
        if row.label_hash and (self._probe_row is None or row_bytes < self._probe_row[0]):
            self._probe_row = row_bytes, row.label_hash

    def _check_silence(self, error: Unavailable) -> None:
        """Raise CannotFinishNow if the server has never answered for _MAX_SILENCE seconds of failures."""
        if self._probe_row is not None:
            return
        now = anyio.current_time()
        self._unanswered_since = self._unanswered_since or now
        if now - self._unanswered_since > _MAX_SILENCE:
            raise CannotFinishNow(
                f"the server has answered nothing for {_MAX_SILENCE / 60:.0f} minutes ({error.message}): "
                "run the same command again later"
            )
