"""The one door through which requests leave: the async edge of the pacer."""

import anyio

from harvester.fetch.pacing import Pacer, Ticket


class Gate:
    """Lets requests out as the pacer says, first come, first served.

    Whoever enters gets a ticket, and gives it back once by exactly one of `succeeded`, `refused`,
    `failed` and `cancelled`. All of it belongs to one event loop; none of it is for other threads.
    """

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        # Only the first in line watches the pacer: an answer wakes one task, however many are waiting.
        self._first_in_line = anyio.Lock(fast_acquire=True)
        self._changed: anyio.Event | None = None

    async def enter(self) -> Ticket:
        """Waits for this request's turn. A wait that is cancelled leaves nothing behind."""
        async with self._first_in_line:
            while (delay := self.pacer.wait(now := anyio.current_time())) != 0:
                self._changed = anyio.Event()
                if delay is None:
                    await self._changed.wait()
                else:
                    with anyio.move_on_after(delay):
                        await self._changed.wait()
            return self.pacer.sent(now)

    def succeeded(self, ticket: Ticket, *, weight: int = 1) -> None:
        """The answer came; `weight` is the number of rows that it brought."""
        self.pacer.succeeded(ticket, anyio.current_time(), weight=weight)
        self._wake()

    def refused(self, ticket: Ticket, retry_after: float | None) -> None:
        """The server said "too many requests"; `retry_after` in seconds, if it named a time.

        Raises:
            CannotFinishNow: the server wants a longer pause than the pacer's cap.
        """
        try:
            self.pacer.refused(ticket, anyio.current_time(), retry_after)
        finally:
            self._wake()

    def failed(self, ticket: Ticket, retry_after: float | None = None) -> None:
        """The server, or the way to it, failed: 5xx, timeout, refused connection.

        Raises:
            CannotFinishNow: the server wants a longer pause than the pacer's cap.
        """
        try:
            self.pacer.failed(ticket, anyio.current_time(), retry_after)
        finally:
            self._wake()

    def cancelled(self, ticket: Ticket) -> None:
        """The answer will never come, and that says nothing of the server."""
        self.pacer.cancelled(ticket, anyio.current_time())
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
