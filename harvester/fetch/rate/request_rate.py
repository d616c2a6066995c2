"""Find the request rate that the server allows (requests per second), from its refusals.

Before the first refusal the rate doubles every few round trips. Each refusal then measures the limit
(admitted.py). The rate is set just below the limit, and climbs slowly until the next refusal, to measure
again.

`surplus`: seconds of budget overdrawn against the estimated limit. At 0 a token bucket with that limit is
empty, and the next refusal is due. A positive surplus without a refusal means that the limit is higher than
estimated; the larger the surplus, the faster the rate grows.

See docs/rate-control.md, also for a comparison with AIMD.
"""

import msgspec

from harvester.fetch.rate.admitted import LITTLE, MUCH, AdmittedRate

# Requests per second at the start: low enough for a server that allows few, high enough to learn its latency
# soon. Chosen.
START_RATE = 20.0
# The first answer tells the latency. The rate is then raised so that at least this many requests are in
# flight at once: on a fast server START_RATE alone would keep fewer. Chosen.
START_IN_FLIGHT = 4.0
# Lowest rate, in requests per second: even a server that refuses everything is asked every 4 seconds. Chosen.
MIN_RATE = 0.25
# Seconds. Shorter latencies count as this one in the growth of the rate, so that it does not pass the limit
# by many requests. Chosen.
MIN_LATENCY = 0.05
# Growth of the rate before the first refusal, and later with the surplus: each request that leaves on time
# adds RAMP / latency requests per second, so that the rate doubles in 7 round trips. Twice the growth would
# waste twice as many requests in the round trip in which the limit is passed.
RAMP = 0.1
# The same if the user set the concurrency, and so vouches that the server can take it: doubles in 2 round
# trips.
TOLD_RAMP = 0.35
# Seconds by which a request may be late without losing its place in the schedule, because timers are late by
# milliseconds. More would allow a burst after an idle time. Chosen.
MAX_LATE = 0.02
# Share of the measured limit at which the rate starts after a refusal. The rest makes up for the requests
# that the climb sends above the limit later. Chosen.
UNDER = 0.985
# Additive increase: seconds of the climb from UNDER * limit to as far above the limit, when the surplus is 0
# again. CLIMB is for each request per second of the limit: a fast client climbs more slowly than a slow one,
# so that clients that share a limit converge (as in AIMD). CLIMB_PER_PAUSE is for each second of budget lost
# in the pause after a refusal: the more a refusal costs, the rarer it must be. The longer of the two counts.
# Chosen, and checked by simulation (docs/rate-control.md).
CLIMB, CLIMB_PER_PAUSE = 0.18, 50.0
# Bounds of these seconds: at most this multiple of the time for which the limit has been measured, because a
# young estimate must be checked soon; and at least this many seconds. Chosen.
MAX_CLIMB_PER_KNOWN, MIN_CLIMB = 2.0, 1.0
# Seconds of surplus at which half of the evidence for a higher limit is believed. A small surplus may come
# from budget that the server had saved; the larger it is, the more is believed. Chosen.
HALF_BELIEVED = 0.4
# After a pause, the budget that the server saved is used at a higher rate: this share of the limit is added
# for each second of saved budget. Chosen.
CATCH_UP = 0.3
# Measurement error, in requests: a constant, plus this share of the requests in flight, because the order in
# which the server saw them is unknown. Chosen.
NOISE, NOISE_IN_FLIGHT = 2.0, 0.25


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A request that was allowed to leave.

    Attributes:
        id: the number of the request, counted from 1 in the order of sending.
        sent: when it left, in seconds of the monotonic clock.
        epoch: `RequestRate.epoch` at that time.
        trial: whether it was sent to see whether a server that was down is up again.
    """

    id: int
    sent: float
    epoch: int
    trial: bool


class RequestRate:
    """Adapt the request rate to the server's limit.

    Args:
        most: upper limit of requests per second, if there is one.
        told: whether the user set the number of requests in flight.

    Attributes:
        epoch: number of reactions to refusals so far. A refusal of a request from an earlier epoch is old
            news.
        rate: requests per second that may leave at present.
        limit: estimate of the requests per second that the server allows; None before the first refusal.
    """

    def __init__(self, most: float | None, *, told: bool = False) -> None:
        self.epoch = 0
        self.rate = START_RATE
        self.limit: float | None = None
        self._most = most or float("inf")
        self._ramp = TOLD_RAMP if told else RAMP
        self._slot = float("-inf")  # when the next request may leave
        self._last_id = 0
        self._last_sent = 0.0
        self._latency: float | None = None  # seconds; moving average
        self._admitted = AdmittedRate()
        self._known = 0.0  # seconds for which the limit has been measured
        self._share = UNDER  # share of the limit that is used
        self._surplus = 0.0  # seconds of budget overdrawn, see the module's docstring
        self._even = 0.0  # when the surplus last was not above 0
        self._pause = 0.0  # seconds of the last pause that the server asked for
        self._closed = False  # whether the server's window seems to be used up: it refused everything
        self._set_rate(START_RATE)

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may leave; 0 or less: now."""
        return self._slot - now

    def sent(self, ticket: Ticket) -> None:
        """Note that a request leaves: reserve its place in the schedule, and let the rate grow."""
        now = ticket.sent
        # A later request was held back by something else (few rows, the concurrency limit). Then the present
        # rate is not used up, and there is no reason to raise it.
        on_time = now - self._slot < MAX_LATE
        if self.limit is None:
            if on_time and self._latency is not None:
                self._set_rate(self.rate + self._growth())
        else:
            due = 1 / self.limit
            # A server saves no more budget than its burst. Without this bound, an idle time would look like
            # unlimited savings. If it is lower already (after a closed window), it only stops falling.
            least = min(self._surplus, -self._admitted.saved)
            self._surplus = max(self._surplus + due - (now - self._last_sent), least)
            if self._surplus <= 0:
                self._even = now
            if on_time and not self._closed:
                self._climb(self.limit)
        self._admitted.sent(now)
        self._last_id = ticket.id
        self._last_sent = now
        self._slot = max(self._slot, now - MAX_LATE) + 1 / self.rate

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """Note an answer: learn the latency; after a closed window, open the next one."""
        self._admitted.answered(ticket.id, ok=True)
        took = max(now - ticket.sent, 1e-6)
        if self._latency is not None:
            self._latency += 0.1 * (took - self._latency)
        else:
            self._latency = took
            if self.limit is None:
                self._set_rate(max(self.rate, START_IN_FLIGHT / max(took, MIN_LATENCY)))
                self._slot = min(self._slot, now + 1 / self.rate)
        # Only an answer to a request sent after the window closed shows that a new one has begun.
        if self._closed and self.limit is not None and ticket.epoch == self.epoch:
            self._open_window(ticket, self.limit)
            self._slot = min(self._slot, now + 1 / self.rate)

    def refused(self, ticket: Ticket, now: float) -> None:
        """Note a refusal. React once to all refusals of one round trip.

        Requests in flight when the first refusal arrives were sent at the old rate. Their refusals are no
        news: each only delays the next request by the time of one.
        """
        self._admitted.answered(ticket.id, ok=False)
        if ticket.epoch < self.epoch:
            self._delay(1.0, now)
            return
        self.epoch += 1
        if self.limit is not None and self._admitted.nothing:
            self._close_window(now)
        else:
            self._measure(ticket, now)

    def shut(self, now: float, until: float) -> None:
        """Let no request leave before `until` (from `Retry-After`). Never shortens a longer pause."""
        if until > self._slot:
            self._admitted.shut(now, until)
            self._pause = until - now
            self._slot = until

    def start_again(self) -> None:
        """Continue at half the rate after an outage. The interval of the outage is not measured."""
        self._count_from(self._last_id, None)
        self._share = UNDER / 2
        self._set_rate(self.rate / 2)

    def _set_rate(self, rate: float) -> None:
        """Set the rate, within its bounds."""
        self.rate = min(max(rate, MIN_RATE), self._most)

    def _growth(self) -> float:
        """Return the growth of the rate for each request that leaves on time, in requests per second.

        It is inversely proportional to the latency, so that growth is the same for each round trip.
        """
        return self._ramp / max(self._latency or 1.0, MIN_LATENCY)

    def _noise(self) -> float:
        """Return the measurement error of a count, in requests: smaller differences say nothing."""
        return NOISE + NOISE_IN_FLIGHT * (self._latency or 0.3) * (self.limit or self.rate)

    def _climb(self, limit: float) -> None:
        """Raise the rate a little, for a request that leaves on time.

        The share of the limit climbs from UNDER to about 2 - UNDER. Below the limit the surplus is paid back,
        above it the surplus grows again; twice the distance to the limit thus brings it back to 0.
        """
        if self._share < UNDER:  # after an outage: ramp up first
            self._share = min(self._share + self._growth() / limit, UNDER)
        else:
            # Seconds of budget that the last pause cost: the server refilled only `saved` of them.
            lost = self._pause - self._admitted.saved
            seconds = min(max(CLIMB * limit, CLIMB_PER_PAUSE * lost), MAX_CLIMB_PER_KNOWN * self._known)
            self._share += 2 * (1 - UNDER) / (limit * max(seconds, MIN_CLIMB))
        more = 0.0
        if self._surplus > 0:  # sent more than the estimate allows without a refusal: the limit is higher
            more = self._growth() * self._surplus
        elif self._pause:  # use what the server saved in the pause, but no faster than it may have saved
            more = CATCH_UP * max(min(-self._surplus, MUCH) - LITTLE, 0.0)
        self._set_rate(limit * (self._share + more))

    def _delay(self, requests: float, now: float) -> None:
        """Delay the next request by the time that the server needs to refill the budget of `requests`."""
        self._slot = max(self._slot, now - MAX_LATE) + requests / (self.limit or self.rate)

    def _close_window(self, now: float) -> None:
        """React to an interval in which everything was refused.

        A server with fixed windows (say 3,000 requests per minute) does that once a window is used up. The
        estimate of the limit stays. Single requests, at half the rate each time, look for the next one.
        """
        self._closed = True
        self._set_rate(min(self.rate / 2, 1 / (self._latency or 1.0)))
        self._slot = max(self._slot, now + 1 / self.rate)

    def _open_window(self, ticket: Ticket, limit: float) -> None:
        """React to the first success after `_close_window`: a new window has begun.

        The new window has the budget of the whole time in which the old one was closed: a negative surplus.
        """
        closed, _ = self._admitted.up_to(ticket.id, ticket.sent)
        self._closed = False
        self._surplus = -closed
        self._set_rate(UNDER * limit)

    def _measure(self, ticket: Ticket, now: float) -> None:
        """Update the limit from the interval that ends with this refusal, and go below it."""
        if self.limit is not None:
            if self._surplus > 0:  # the limit is changing: the measure says nothing about savings in pauses
                self._admitted.forget()
            else:
                self._admitted.learn(ticket.id, ticket.sent, self.limit)
        span, measured = self._admitted.up_to(ticket.id, ticket.sent)
        if span == 0:  # refused at once: nothing was measured
            limit = self.limit or self.rate
        elif self.limit is None:
            limit = measured
        else:
            limit = self._blend(span, measured, self.limit)
        # Requests in flight have passed the limit already, and will be refused: let the server catch up.
        self._delay(self._noise(), now)
        self.limit = max(limit, MIN_RATE)
        self._count_from(ticket.id, ticket.sent)
        self._set_rate(UNDER * self.limit)

    def _blend(self, span: float, measured: float, before: float) -> float:
        """Return the new limit, from the measure of the last `span` seconds and the limit `before`.

        If both agree within the measurement error, take the mean weighted by time, so that the estimate gets
        more exact. If they disagree, the server's limit has changed, and the new measure counts alone.
        """
        more = 0.0  # from 0 to 1: how much of the evidence for a higher limit is believed
        if self._surplus > 0:
            # `measured` is the mean of the whole span, in which the limit may have risen late. The rate since
            # the surplus became positive tells how high it may be now.
            evident = before * (1 + self._surplus / max(self._last_sent - self._even, 0.1))
            more = self._surplus / (self._surplus + HALF_BELIEVED)
            measured += more * max(min(evident, self.rate) - measured, 0.0)
        if abs(measured - before) * span <= self._noise():
            self._known += span
            return before + span / self._known * (measured - before)
        self._known = (1 - more) * span
        return measured

    def _count_from(self, ticket_id: int, at: float | None) -> None:
        """Begin a new interval, see `AdmittedRate.count_from`."""
        self._admitted.count_from(ticket_id, at)
        self._surplus = self._pause = 0.0
        self._share = UNDER
