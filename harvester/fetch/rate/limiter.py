"""The rate limiter: every request waits here for its turn. The asynchronous side of the rate controller.

See docs/rate-control.md.
"""

import asyncio
import heapq
from itertools import count

from harvester.fetch.rate.controller import RateController, Ticket

# Priority of retries: ahead of all new requests (the ranks of streams start at 1), because the rest of their
# stream is waiting for them.
RETRY_RANK = 0


class RateLimiter:
    """Release waiting requests when the rate controller allows it: by rank, then in order of arrival.

    `enter` returns a ticket. The caller must give it back exactly once, by one of `succeeded`, `refused`,
    `failed` and `cancelled`: these tell the controller the outcome. Not thread-safe: use it in one event
    loop.
    """

    def __init__(self, controller: RateController) -> None:
        self.controller = controller
        self._waiting: list[tuple[int, int, asyncio.Future[Ticket]]] = []
        self._arrivals = count()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, rank: int = RETRY_RANK) -> Ticket:
        """Wait for this request's turn, and return its ticket. Lower ranks go first.

        If the wait is cancelled, the request loses its place, and a ticket that it already has is given back.
        """
        turn: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrivals), turn))
        self._release()
        try:
            return await turn
        except BaseException:
            turn.cancel()
            # A future that already has its result cannot be cancelled: then give its ticket back.
            if not turn.cancelled():
                self.cancelled(turn.result())
            raise

    def succeeded(self, ticket: Ticket, *, weight: int = 1) -> None:
        """Report an answer; `weight` is the number of rows that were asked for."""
        self.controller.succeeded(ticket, _now(), weight=weight)
        self._release()

    def refused(self, ticket: Ticket, retry_after: float | None) -> None:
        """Report a refusal ("too many requests"); `retry_after` in seconds, if the server sent it.

        Raises:
            CannotFinishNow: the server asks for a longer pause than the controller's cap.
        """
        try:
            self.controller.refused(ticket, _now(), retry_after)
        finally:
            self._release()

    def failed(self, ticket: Ticket, retry_after: float | None = None) -> None:
        """Report a failure of the server or the network: 5xx, timeout, refused connection.

        Raises:
            CannotFinishNow: the server asks for a longer pause than the controller's cap.
        """
        try:
            self.controller.failed(ticket, _now(), retry_after)
        finally:
            self._release()

    def cancelled(self, ticket: Ticket) -> None:
        """Report that the request ended in a way that says nothing about the server."""
        self.controller.cancelled(ticket, _now())
        self._release()

    def _release(self) -> None:
        """Release the requests whose turn it is, and set a timer for the next one.

        Called after every change that may free a place: an arrival, an outcome, the timer.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _, _, turn = self._waiting[0]
            if not turn.cancelled():
                if (delay := self.controller.wait(now := _now())) != 0:
                    if delay is not None:  # None: an answer must come first, and that calls this again
                        self._timer = asyncio.get_running_loop().call_later(delay, self._release)
                    return
                turn.set_result(self.controller.sent(now))
            heapq.heappop(self._waiting)


def _now() -> float:
    return asyncio.get_running_loop().time()
