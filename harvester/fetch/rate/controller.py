"""When the next request may leave: pace, requests in flight and breaker behind one small interface.

A pure state machine: the time is passed in (seconds of one clock that never goes back), and so is
randomness. Nothing waits here; gate.py does.
"""

import random
from collections.abc import Callable

from harvester.errors import CannotFinishNow
from harvester.fetch.rate.breaker import Breaker
from harvester.fetch.rate.concurrency import ConcurrencyLimit
from harvester.fetch.rate.request_rate import RequestRate, Ticket

__all__ = ["RateController", "Ticket"]


class RateController:
    """Finds the server's limits, and stays just under them.

    Args:
        rng: for the jitter of pauses.
        max_rps: at most so many requests a second; None finds out.
        concurrency: at most so many requests in flight, and so many soon where the server bears it; None
            finds out, up to `max_concurrency`.
        cores: how many this process uses; where it has none left, fewer requests are in flight.
        retry_after_cap: seconds; a server that wants a longer pause ends the run.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        max_rps: float | None = None,
        concurrency: int | None = None,
        max_concurrency: int = 256,
        cores: Callable[[], float] = lambda: 0.0,
        retry_after_cap: float = 300.0,
    ) -> None:
        self._request_rate = RequestRate(max_rps, told=concurrency is not None)
        self._concurrency = ConcurrencyLimit(concurrency or max_concurrency, cores)
        self._breaker = Breaker(rng)
        self._retry_after_cap = retry_after_cap
        self._in_flight = 0
        self._last_id = 0

    @property
    def rate(self) -> float:
        """Requests a second that may leave now."""
        return self._request_rate.rate

    @property
    def limit_in_flight(self) -> int:
        return int(self._concurrency.limit)

    @property
    def broken(self) -> bool:
        """Whether the server seems to be down, and only single trials are sent."""
        return self._breaker.open

    def wait(self, now: float) -> float | None:
        """0: send now. Otherwise the seconds to wait; None: until something returns."""
        breaker = self._breaker.wait(now)
        if breaker is None or not self._concurrency.admits(self._in_flight):
            return None
        delay = max(breaker, self._request_rate.wait(now))
        # A wait that ends a rounding error early has ended.
        return delay if delay > 1e-9 else 0.0

    def sent(self, now: float) -> Ticket:
        """A request leaves, which `wait` has allowed."""
        self._in_flight += 1
        self._last_id += 1
        ticket = Ticket(self._last_id, now, self._request_rate.epoch, self._breaker.sent())
        self._request_rate.sent(ticket)
        return ticket

    def succeeded(self, ticket: Ticket, now: float, *, weight: int = 1) -> None:
        """The answer came, with `weight` rows."""
        self._in_flight -= 1
        if self._breaker.answered(ticket.id, trial=ticket.trial):
            self._request_rate.start_again()
        self._request_rate.succeeded(ticket, now)
        self._concurrency.succeeded(now - ticket.sent, weight, ticket.id, self._last_id + 1)

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        """The server said that these are too many requests; `retry_after` in seconds, if it named a time.

        Raises:
            CannotFinishNow: the pause is longer than the cap.
        """
        self._in_flight -= 1
        if self._breaker.answered(ticket.id, trial=ticket.trial):
            self._request_rate.start_again()
        self._request_rate.refused(ticket, now)
        self._shut(now, retry_after)

    def failed(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """The server, or the way to it, failed: says nothing of the rate.

        Raises:
            CannotFinishNow: the pause is longer than the cap.
        """
        self._in_flight -= 1
        self._breaker.failed(ticket.id, now, trial=ticket.trial)
        self._shut(now, retry_after)

    def cancelled(self, ticket: Ticket, now: float) -> None:
        """The answer will never come, and that says nothing of the server."""
        self._in_flight -= 1
        self._breaker.cancelled(trial=ticket.trial)

    def _shut(self, now: float, retry_after: float | None) -> None:
        if retry_after is None:
            return
        if retry_after > self._retry_after_cap:
            raise CannotFinishNow(
                f"the server asks for a pause of {retry_after:.0f} s, "
                f"more than {self._retry_after_cap:.0f} s: run the same command again later"
            )
        self._request_rate.shut(now, now + retry_after)
