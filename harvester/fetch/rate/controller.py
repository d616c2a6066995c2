"""Decide when the next request may leave: request rate, concurrency limit and breaker behind one interface.

A pure state machine: the time (seconds of one monotonic clock) and the random generator are arguments, so
that tests run minutes of traffic in virtual time. Nothing waits here; the rate limiter (limiter.py) does.

See docs/rate-control.md.
"""

import random
from collections.abc import Callable

from harvester.errors import CannotFinishNow
from harvester.fetch.rate.breaker import Breaker
from harvester.fetch.rate.concurrency import MIN_LIMIT, MIN_LIMIT_OF_STORES, ConcurrencyLimit
from harvester.fetch.rate.request_rate import RequestRate, Ticket

__all__ = ["RateController", "Ticket"]


class RateController:
    """Find the server's limits, and stay just below them.

    A request needs the consent of all three parts: the rate (requests per second), the concurrency (requests
    in flight), and the breaker (is the server up?). Each outcome is passed to the parts that it tells
    something.

    Args:
        rng: for the jitter of the breaker's pauses.
        max_rps: upper limit of requests per second; None: only the server's own limit, which is found.
        concurrency: upper limit of requests in flight. The user vouches that the server can take them, so the
            rate also grows faster. None: found automatically, up to `max_concurrency`.
        cores: returns the number of CPU cores that this process uses. If Python is the bottleneck, the
            concurrency is reduced.
        store: whether the server is an object store, which takes many requests at once: the rate grows as
            fast as if the user vouched for it, and a longer latency costs less.
        retry_after_cap: seconds. If the server asks for a longer pause, the run ends.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        max_rps: float | None = None,
        concurrency: int | None = None,
        max_concurrency: int = 256,
        cores: Callable[[], float] = lambda: 0.0,
        store: bool = False,
        retry_after_cap: float = 300.0,
    ) -> None:
        self._request_rate = RequestRate(max_rps, told=store or concurrency is not None)
        least = MIN_LIMIT_OF_STORES if store else MIN_LIMIT
        self._concurrency = ConcurrencyLimit(concurrency or max_concurrency, cores, least=least)
        self._breaker = Breaker(rng)
        self._retry_after_cap = retry_after_cap
        self._in_flight = 0
        self._last_id = 0

    @property
    def rate(self) -> float:
        """Return the requests per second that may leave at present."""
        return self._request_rate.rate

    @property
    def limit_in_flight(self) -> int:
        """Return how many requests may be in flight at present."""
        return int(self._concurrency.limit)

    @property
    def broken(self) -> bool:
        """Return whether the server seems to be down, so that only single trials are sent."""
        return self._breaker.open

    def wait(self, now: float) -> float | None:
        """Return the seconds until a request may leave; 0: now, None: not before a request in flight ends."""
        breaker = self._breaker.wait(now)
        if breaker is None or not self._concurrency.admits(self._in_flight):
            return None
        delay = max(breaker, self._request_rate.wait(now))
        # Timers may fire a rounding error early: treat that as now, instead of setting another timer.
        return delay if delay > 1e-9 else 0.0

    def sent(self, now: float) -> Ticket:
        """Note that a request leaves, which `wait` must have allowed. Return its ticket."""
        self._in_flight += 1
        self._last_id += 1
        ticket = Ticket(self._last_id, now, self._request_rate.epoch, self._breaker.sent())
        self._request_rate.sent(ticket)
        return ticket

    def succeeded(self, ticket: Ticket, now: float, *, weight: int = 1) -> None:
        """Note an answer to a request for `weight` rows."""
        self._in_flight -= 1
        if self._breaker.answered(ticket.id, trial=ticket.trial):
            self._request_rate.start_again()
        self._request_rate.succeeded(ticket, now)
        self._concurrency.succeeded(now - ticket.sent, weight, ticket.id, self._last_id + 1)

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        """Note a refusal ("too many requests"); `retry_after` in seconds, if the server sent it.

        For the breaker a refusal is an answer: the server is up. Its latency is not used for the concurrency,
        because a refusal comes fast however busy the server is.

        Raises:
            CannotFinishNow: the pause is longer than the cap.
        """
        self._in_flight -= 1
        if self._breaker.answered(ticket.id, trial=ticket.trial):
            self._request_rate.start_again()
        self._request_rate.refused(ticket, now)
        self._shut(now, retry_after)

    def failed(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """Note a failure of the server or the network. It says nothing about the rate limit.

        Raises:
            CannotFinishNow: the pause is longer than the cap.
        """
        self._in_flight -= 1
        self._breaker.failed(ticket.id, now, trial=ticket.trial)
        self._shut(now, retry_after)

    def cancelled(self, ticket: Ticket, now: float) -> None:
        """Note that a request ended in a way that says nothing about the server."""
        self._in_flight -= 1
        self._breaker.cancelled(trial=ticket.trial)

    def _shut(self, now: float, retry_after: float | None) -> None:
        """Pause all requests for `retry_after` seconds, not only the one that was refused."""
        if retry_after is None:
            return
        if retry_after > self._retry_after_cap:
            raise CannotFinishNow(
                f"the server asks for a pause of {retry_after:.0f} s, "
                f"more than {self._retry_after_cap:.0f} s: run the same command again later"
            )
        self._request_rate.shut(now, now + retry_after)
