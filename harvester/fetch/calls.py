"""One request: its turn at the gate, its thread, its deadline, and what its end tells the gate."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio

from harvester.errors import CannotFinishNow, HarvesterError, RateLimited, SkipRow, TooMuchAsked, Unavailable
from harvester.events import Counters
from harvester.fetch.asking import Call, Fetched
from harvester.fetch.bundles import Batch, BundleSizer
from harvester.fetch.freshness import Clocks
from harvester.fetch.gate import Gate
from harvester.fetch.pacing import Ticket
from harvester.fetch.retry import RetryPolicy
from harvester.fetch.source import LabelRows
from harvester.fetch.threads import Threads
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow

T = TypeVar("T")

# A call is abandoned only if it is stuck, because its slot is then free while its connection may be open. The
# source ends each of its requests at its own deadline. A call makes two at most: for the rows, and, where one
# is refused, to see whether the project may still be read. SLACK: seconds beyond both.
_REQUESTS = 2
SLACK = 5.0
# Seconds without any answer since the start, after which the run ends: an outage in mid-run is waited out.
_PATIENCE = 900.0


class Caller:
    """Sends requests, one at a time for each caller of `ask`, as the gate lets them out.

    Args:
        retry: tells whether the next failure of a batch is its last, and has the budget of retries.
        deadline: seconds after which each request of a call should have ended by itself.

    Attributes:
        clocks: whether a row can be older than listed.
    """

    def __init__(
        self,
        source: LabelRows,
        *,
        gate: Gate,
        sizer: BundleSizer,
        retry: RetryPolicy,
        counters: Counters,
        on_event: Callable[[str, Mapping[str, Any]], None],
        deadline: float,
    ) -> None:
        self.clocks = Clocks()
        self._source = source
        self._gate = gate
        self._sizer = sizer
        self._retry = retry
        self._counters = counters
        self._on_event = on_event
        self._deadline = _REQUESTS * deadline + SLACK
        self._threads = Threads()
        self._witness: tuple[float, str] | None = None
        self._unanswered_since: float | None = None

    def close(self) -> None:
        """Nothing is asked any more; waits for no thread."""
        self._threads.close()

    async def ask(self, batch: Batch, extractor: Extractor, ticket: Ticket | None) -> Fetched:
        """Asks for the rows of `batch`, on a `ticket` for that or at its next turn.

        `batch.spent` grows by one if the request counts: it was not refused, and did not fail in an outage.

        Raises:
            RateLimited, Unavailable, TooMuchAsked, SkipRow: of the batch.
            Stop: of the whole run.
        """
        ticket = await self._server_is_up(batch, ticket or await self._gate.enter())
        call = Call(self._source, extractor, batch, self.clocks)
        try:
            fetched = await self._send(ticket, call, len(batch.rows))
        except RateLimited:
            raise
        except Unavailable:
            batch.spent += not (ticket.trial or self._gate.pacer.broken)
            self._sizer.failed(len(batch.rows), anyio.current_time() - ticket.sent)
            raise
        except HarvesterError:
            batch.spent += 1
            if len(batch.rows) == 1:
                self._remember(batch.rows[0], math.inf)
            raise
        finally:
            call.abandoned = True
        batch.spent += 1
        self._learn(batch, fetched, anyio.current_time() - ticket.sent)
        return fetched

    async def _server_is_up(self, batch: Batch, ticket: Ticket) -> Ticket:
        """Makes sure of it where it matters; returns the ticket to go on with.

        Whether a server that was down is back is asked with a row that it has answered for before: if
        the batch itself is what fails, the breaker would never close. For the same reason a row's last
        attempt comes right after the server has shown that it is up: no row is blamed for an outage.
        """
        doubtful = self._retry.is_last(batch)
        while self._witness is not None and (ticket.trial or doubtful):
            try:
                await self._send(ticket, partial(self._source.get_label_row, self._witness[1]), 1)
            except (SkipRow, TooMuchAsked):
                pass  # an answer, too
            doubtful = False
            ticket = await self._gate.enter()
        return ticket

    async def _send(self, ticket: Ticket, call: Callable[[], T], weight: int) -> T:
        """Makes a call in a thread and gives its ticket back, whatever comes of it."""
        self._counters.requests += 1
        self._retry.budget.requested()
        try:
            result = await self._in_thread(call)
        except RateLimited as error:
            self._counters.refused += 1
            self._on_event("request.refused", {"retry_after": error.retry_after})
            self._gate.refused(ticket, error.retry_after)
            raise
        except Unavailable as error:
            self._gate.failed(ticket, error.retry_after)
            self._check_patience(error)
            raise
        except (SkipRow, TooMuchAsked):
            # The server is up; but how quickly it says no is no measure of its load.
            if ticket.trial:
                self._gate.succeeded(ticket)
            else:
                self._gate.cancelled(ticket)
            raise
        except BaseException:
            self._gate.cancelled(ticket)
            raise
        self._gate.succeeded(ticket, weight=weight)
        return result

    async def _in_thread(self, call: Callable[[], T]) -> T:
        try:
            return await self._threads.run(call, self._deadline)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._deadline:.0f} s") from error

    def _learn(self, batch: Batch, fetched: Fetched, took: float) -> None:
        self._counters.wire_bytes += fetched.wire_bytes
        self._counters.body_bytes += fetched.body_bytes
        self._sizer.answered(len(batch.rows), fetched.body_bytes, fetched.weight, took)
        facts = {"rows": len(batch.rows), "body_bytes": fetched.body_bytes, "seconds": took}
        self._on_event("request.answered", facts)
        there = set(range(len(batch.rows))).difference(fetched.missing)
        if there:
            self._remember(batch.rows[min(there)], fetched.body_bytes / len(batch.rows))

    def _remember(self, row: PlanRow, row_bytes: float) -> None:
        """`row` can be asked for to see whether the server is up; the lightest known is best."""
        if row.label_hash and (self._witness is None or row_bytes < self._witness[0]):
            self._witness = row_bytes, row.label_hash

    def _check_patience(self, error: Unavailable) -> None:
        if self._witness is not None:
            return
        now = anyio.current_time()
        self._unanswered_since = self._unanswered_since or now
        if now - self._unanswered_since > _PATIENCE:
            raise CannotFinishNow(
                f"the server has answered nothing for {_PATIENCE / 60:.0f} minutes ({error.message}): "
                "run the same command again later"
            )
