"""The pace: how many requests a second may leave, learned from what the server refused.

Until the first refusal the pace doubles every few round trips. Each refusal then gives a measure of the
limit (admitted.py). The pace goes just under it, and creeps up until the next one. In the time between,
`surplus` says by how much more was sent than the limit allows: about 0 is where the next refusal is due,
and the more of it goes unpunished, the more there is to be had.
"""

import msgspec

from harvester.fetch.rate.admitted import LITTLE, MUCH, AdmittedRate

# Requests a second at first: slow enough for a server that allows a few, fast enough to learn its latency.
START_RATE = 20.0
# With the first answer, the latency says how slow that is: at least so many may be under way.
START_IN_FLIGHT = 4.0
# Requests a second. A server that has said no for long is still asked every few seconds.
SLOWEST = 0.25
# Seconds. Growth reckons with no shorter round trips, so that few are under way when the limit is passed.
SHORTEST = 0.05
# Growth until the first refusal, and with what goes unpunished later, in requests a second for each request
# and second of latency: doubles in 7 round trips. Twice that wastes twice as many requests in the round trip
# in which the limit is passed.
RAMP = 0.1
# Where the user says how many may be in flight, they vouch for a server that bears them: doubles in 2.
TOLD_RAMP = 0.35
# Seconds of a late start that are made up for: timers are late by milliseconds. No more, or it were a burst.
LATE = 0.02
# Share of the measured limit that is asked for: the rest pays for the requests that creep above it later.
UNDER = 0.985
# Creeping is back at surplus 0 in so many seconds for each request a second, so that slow ones gain on
# fast ones where several share a limit; or for each second of a pause that a refusal costs for good.
CREEP, CREEP_LOST = 0.18, 50.0
# But in no more than so many times the seconds that the limit was measured for, and no fewer than so many.
CREEP_KNOWN, CREEP_LEAST = 2.0, 1.0
# Seconds of surplus of which half is believed: it may have been saved up. The more, the more is believed.
HALF = 0.4
# What a server has saved up is asked for at so much more of the limit for each second of it.
CATCH_UP = 0.3
# Counts of a few requests are noise: so many, and this share of what is under way, whose order is unknown.
NOISE, NOISE_UNDER_WAY = 2.0, 0.25


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A request that left: its number, counted from 1, when it left, and what the pacer knew by then.

    `trial` marks a request that was sent to see whether a server that was down is back.
    """

    id: int
    sent: float
    epoch: int
    trial: bool


class RequestRate:
    """Requests a second, at most `most`; `told` is whether the user has said how many may be in flight."""

    def __init__(self, most: float | None, *, told: bool = False) -> None:
        self.epoch = 0
        self.rate = START_RATE
        self.limit: float | None = None  # what the server allows a second, once it has refused
        self._most = most or float("inf")
        self._ramp = TOLD_RAMP if told else RAMP
        self._slot = float("-inf")
        self._last_id = 0
        self._last_sent = 0.0
        self._latency: float | None = None
        self._admitted = AdmittedRate()
        self._known = 0.0  # seconds that the limit was measured for
        self._share = UNDER  # of the limit that is asked for
        self._surplus = 0.0  # seconds
        self._even = 0.0  # when it last was not above 0
        self._pause = 0.0  # seconds that the server asked for last
        self._closed = False  # whether all was refused lately
        self._go(START_RATE)

    def wait(self, now: float) -> float:
        """Seconds until the next request may leave; not above 0 for now."""
        return self._slot - now

    def sent(self, ticket: Ticket) -> None:
        now = ticket.sent
        on_time = now - self._slot < LATE  # whoever comes later is held up by something else than the pace
        if self.limit is None:
            if on_time and self._latency is not None:
                self._go(self.rate + self._growth())
        else:
            due = 1 / self.limit
            least = min(self._surplus, -self._admitted.saved)
            self._surplus = max(self._surplus + due - (now - self._last_sent), least)
            if self._surplus <= 0:
                self._even = now
            if on_time and not self._closed:
                self._climb(self.limit)
        self._admitted.sent(now)
        self._last_id = ticket.id
        self._last_sent = now
        self._slot = max(self._slot, now - LATE) + 1 / self.rate

    def succeeded(self, ticket: Ticket, now: float) -> None:
        self._admitted.answered(ticket.id, ok=True)
        took = max(now - ticket.sent, 1e-6)
        if self._latency is not None:
            self._latency += 0.1 * (took - self._latency)
        else:
            self._latency = took
            if self.limit is None:
                self._go(max(self.rate, START_IN_FLIGHT / max(took, SHORTEST)))
                self._slot = min(self._slot, now + 1 / self.rate)
        if self._closed and self.limit is not None and ticket.epoch == self.epoch:
            self._open(ticket, self.limit)
            self._slot = min(self._slot, now + 1 / self.rate)

    def refused(self, ticket: Ticket, now: float) -> None:
        """One reaction to the refusals of one round trip."""
        self._admitted.answered(ticket.id, ok=False)
        if ticket.epoch < self.epoch:
            self._give_back(1.0, now)
            return
        self.epoch += 1
        if self.limit is not None and self._admitted.nothing:
            self._close(now)
        else:
            self._measure(ticket, now)

    def shut(self, now: float, until: float) -> None:
        """Nothing leaves before `until`."""
        if until > self._slot:
            self._admitted.shut(now, until)
            self._pause = until - now
            self._slot = until

    def start_again(self) -> None:
        """Half the pace, as the server was down; what was measured across that is void."""
        self._count_from(self._last_id, None)
        self._share = UNDER / 2
        self._go(self.rate / 2)

    def _go(self, rate: float) -> None:
        self.rate = min(max(rate, SLOWEST), self._most)

    def _growth(self) -> float:
        """Of the pace, for each request; or for each second, relative to the pace."""
        return self._ramp / max(self._latency or 1.0, SHORTEST)

    def _noise(self) -> float:
        """Requests more or less that say nothing."""
        return NOISE + NOISE_UNDER_WAY * (self._latency or 0.3) * (self.limit or self.rate)

    def _climb(self, limit: float) -> None:
        """A little faster, with a request that leaves on time."""
        if self._share < UNDER:  # the server was down
            self._share = min(self._share + self._growth() / limit, UNDER)
        else:
            lost = self._pause - self._admitted.saved
            seconds = min(max(CREEP * limit, CREEP_LOST * lost), CREEP_KNOWN * self._known)
            self._share += 2 * (1 - UNDER) / (limit * max(seconds, CREEP_LEAST))
        more = 0.0
        if self._surplus > 0:
            more = self._growth() * self._surplus
        elif self._pause:
            more = CATCH_UP * max(min(-self._surplus, MUCH) - LITTLE, 0.0)
        self._go(limit * (self._share + more))

    def _give_back(self, places: float, now: float) -> None:
        self._slot = max(self._slot, now - LATE) + places / (self.limit or self.rate)

    def _close(self, now: float) -> None:
        """All was refused, as at the end of a window: the limit stands, single requests look for its end."""
        self._closed = True
        self._go(min(self.rate / 2, 1 / (self._latency or 1.0)))
        self._slot = max(self._slot, now + 1 / self.rate)

    def _open(self, ticket: Ticket, limit: float) -> None:
        """A new window, in which all is there that was not asked for before."""
        closed, _ = self._admitted.up_to(ticket.id, ticket.sent)
        self._closed = False
        self._surplus = -closed
        self._go(UNDER * limit)

    def _measure(self, ticket: Ticket, now: float) -> None:
        if self.limit is not None:
            if self._surplus > 0:
                self._admitted.forget()
            else:
                self._admitted.learn(ticket.id, ticket.sent, self.limit)
        span, measured = self._admitted.up_to(ticket.id, ticket.sent)
        if span == 0:
            limit = self.limit or self.rate
        elif self.limit is None:
            limit = measured
        else:
            limit = self._blend(span, measured, self.limit)
        self._give_back(self._noise(), now)
        self.limit = max(limit, SLOWEST)
        self._count_from(ticket.id, ticket.sent)
        self._go(UNDER * self.limit)

    def _blend(self, span: float, measured: float, before: float) -> float:
        more = 0.0
        if self._surplus > 0:
            # What was sent since it is above 0 says how much more there may be.
            evident = before * (1 + self._surplus / max(self._last_sent - self._even, 0.1))
            more = self._surplus / (self._surplus + HALF)
            measured += more * max(min(evident, self.rate) - measured, 0.0)
        if abs(measured - before) * span <= self._noise():
            self._known += span
            return before + span / self._known * (measured - before)
        self._known = (1 - more) * span
        return measured

    def _count_from(self, ticket_id: int, at: float | None) -> None:
        self._admitted.count_from(ticket_id, at)
        self._surplus = self._pause = 0.0
        self._share = UNDER
