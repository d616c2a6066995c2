"""The one door through which requests leave: the async edge of the pacer."""

import asyncio
import heapq
from itertools import count

from harvester.fetch.rate.controller import RateController, Ticket

# The rank of what is asked again, before that of any stream: others in its own wait for it.
FIRST_RANK = 0


class RateLimiter:
    """Lets requests out as the pacer says: of those that wait the one of the lowest rank, then the first.

    Whoever enters gets a ticket, and gives it back once by exactly one of `succeeded`, `refused`,
    `failed` and `cancelled`. All of it belongs to one event loop; none of it is for other threads.
    """

    def __init__(self, controller: RateController) -> None:
        self.controller = controller
        self._line: list[tuple[int, int, asyncio.Future[Ticket]]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, rank: int = FIRST_RANK) -> Ticket:
        """Waits for this request's turn, which comes before those of a higher `rank`.

        A wait that is cancelled leaves nothing behind.
        """
        turn: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (rank, next(self._numbers), turn))
        self._let_out()
        try:
            return await turn
        except BaseException:
            turn.cancel()
            if not turn.cancelled():  # its ticket was on the way
                self.cancelled(turn.result())
            raise

    def succeeded(self, ticket: Ticket, *, weight: int = 1) -> None:
        """The answer came; `weight` is the number of rows that it brought."""
        self.controller.succeeded(ticket, _now(), weight=weight)
        self._let_out()

    def refused(self, ticket: Ticket, retry_after: float | None) -> None:
        """The server said "too many requests"; `retry_after` in seconds, if it named a time.

        Raises:
            CannotFinishNow: the server wants a longer pause than the pacer's cap.
        """
        try:
            self.controller.refused(ticket, _now(), retry_after)
        finally:
            self._let_out()

    def failed(self, ticket: Ticket, retry_after: float | None = None) -> None:
        """The server, or the way to it, failed: 5xx, timeout, refused connection.

        Raises:
            CannotFinishNow: the server wants a longer pause than the pacer's cap.
        """
        try:
            self.controller.failed(ticket, _now(), retry_after)
        finally:
            self._let_out()

    def cancelled(self, ticket: Ticket) -> None:
        """The answer will never come, and that says nothing of the server."""
        self.controller.cancelled(ticket, _now())
        self._let_out()

    def _let_out(self) -> None:
        """Gives tickets to those whose turn it is, and sees to it that the next get theirs in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line:
            _, _, turn = self._line[0]
            if not turn.cancelled():
                if (delay := self.controller.wait(now := _now())) != 0:
                    if delay is not None:  # else an answer comes first
                        self._timer = asyncio.get_running_loop().call_later(delay, self._let_out)
                    return
                turn.set_result(self.controller.sent(now))
            heapq.heappop(self._line)


def _now() -> float:
    return asyncio.get_running_loop().time()
