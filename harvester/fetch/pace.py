"""The pace: how many requests a second may leave, learned from what the server refused.

Until the first refusal the pace doubles every few round trips. Each refusal then gives a measure of the
limit (admitted.py). The pace goes just under it, and creeps up until the next one. In the time between,
`surplus` says by how much more was sent than the limit allows: about 0 is where the next refusal is due,
and a surplus that goes unpunished means that there is more to be had.
"""

import msgspec

from harvester.fetch.admitted import Admitted

# Requests a second at first: slow enough for a server that allows a few, fast enough to learn its latency.
FIRST = 20.0
# With the first answer, the latency says how slow that is: at least so many may be under way.
FIRST_UNDER_WAY = 4.0
# Requests a second. A server that has said no for long is still asked every few seconds.
SLOWEST = 0.25
# Seconds. The start reckons with no shorter round trips, so that few are under way when the limit is passed.
SHORTEST = 0.05
# Growth until the first refusal, in requests a second for each request and second of latency: doubles in
# 6 round trips. Twice that wastes twice as many requests in the round trip in which the limit is passed.
RAMP = 0.12
# Where the user says how many may be in flight, they vouch for a server that bears them: doubles in 2.
TOLD_RAMP = 0.35
# Seconds of a late start that are made up for: timers are late by milliseconds. No more, or it were a burst.
LATE = 0.02
# Share of the measured limit that is asked for: the rest pays for the requests that creep above it later.
UNDER = 0.985
# Seconds of unused limit that count for the surplus. Servers save up a second's worth, seldom more.
SAVED = 1.0
# Creeping is back at surplus 0 in so many seconds for each request a second, so that slow ones gain on
# fast ones where several share a limit; in so many at least; and in twice the time the limit is known for.
CREEP, CREEP_LEAST, CREEP_KNOWN = 0.3, 3.0, 2.0
# The growth for each request and second of surplus, and at most.
STEEP, STEEPEST = 0.3, 0.1
# A refusal gives back its own place and those of the next ones that would be refused with it.
PENALTY = 3.0
# Counts of a few requests are noise: so many, and this share of what is under way, whose order is unknown.
NOISE, NOISE_UNDER_WAY = 5.0, 0.1
# Seconds of measuring that are averaged.
MEMORY = 20.0
# One measure may halve the limit, not more: it may have met the end of a window.
DEEPEST = 0.5
# So many refusals in one round trip are reason enough to measure again.
MANY = 5
# Seconds. Whoever knows the limit for longer and is refused again sooner shares it with others: a little
# less leaves room to them, and makes shares equal in time.
SOON = 3.0
SHARE = 0.95
# A limit known for so many seconds before it fell to less than such a share is remembered. Whether it is
# back is looked for in so many seconds; the growth for each request on the way there is safe, then.
WELL_KNOWN = 5.0
FELL = 0.9
LOOK = 4.0
RETURN = 0.8


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A request that left: its number, counted from 1, when it left, and what the pacer knew by then.

    `trial` marks a request that was sent to see whether a server that was down is back.
    """

    id: int
    sent: float
    epoch: int
    trial: bool


class Pace:
    """Requests a second, at most `most`; `told` is whether the user has said how many may be in flight."""

    def __init__(self, most: float | None, *, told: bool = False) -> None:
        self.epoch = 0
        self.rate = FIRST
        self.limit: float | None = None  # what the server allows a second, once it has refused
        self._most = most or float("inf")
        self._ramp = TOLD_RAMP if told else RAMP
        self._slot = float("-inf")
        self._last_id = 0
        self._last_sent = 0.0
        self._latency: float | None = None
        self._admitted = Admitted()
        self._known = 0.0  # seconds that the limit was measured for
        self._before = 0.0  # a well-known limit that fell, until it is back
        self._surplus = 0.0  # seconds
        self._closed: float | None = None  # when the last of requests was sent that all were refused
        self._go(FIRST)

    def wait(self, now: float) -> float:
        """Seconds until the next request may leave; not above 0 for now."""
        return self._slot - now

    def sent(self, ticket: Ticket) -> None:
        now = ticket.sent
        on_time = now - self._slot < LATE  # whoever comes later is held up by something else than the pace
        if self.limit is None:
            if on_time and self._latency is not None:
                self._go(self.rate + self._ramp / max(self._latency, SHORTEST))
        else:
            self._surplus = max(self._surplus + 1 / self.limit - (now - self._last_sent), -SAVED)
            if on_time and self._closed is None:
                self._climb(self.limit, now)
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
                self._go(max(self.rate, FIRST_UNDER_WAY / max(took, SHORTEST)))
                self._slot = min(self._slot, now + 1 / self.rate)
        if self._closed is not None and self.limit is not None and ticket.epoch == self.epoch:
            self._admitted.shut(now - self._closed)
            self._closed = None
            self._go(UNDER * self.limit)
            self._slot = min(self._slot, now + 1 / self.rate)

    def refused(self, ticket: Ticket, now: float) -> None:
        """One reaction to the refusals of one round trip, and another where they are many."""
        self._admitted.answered(ticket.id, ok=False)
        stale = ticket.epoch < self.epoch
        if stale and (self._admitted.refused < MANY or self._closed is not None):
            return
        self.epoch += 1
        if self.limit is not None and self._admitted.nothing:
            self._close(ticket, now)
        else:
            self._measure(ticket, now, stale=stale)

    def shut(self, now: float, until: float) -> None:
        """Nothing leaves before `until`."""
        if until > self._slot:
            self._admitted.shut(until - max(self._slot, now))
            self._slot = until

    def start_again(self) -> None:
        """Half the pace, as the server was down; what was measured across that is void."""
        self._count_from(self._last_id, None)
        self._go(self.rate / 2)

    def _go(self, rate: float) -> None:
        self.rate = min(max(rate, SLOWEST), self._most)

    def _climb(self, limit: float, now: float) -> None:
        """A little faster, with a request that leaves on time."""
        if self.rate < UNDER * limit:
            growth = RETURN
        elif self._before and self._surplus * limit > NOISE:
            if self.rate + RETURN >= UNDER * self._before:
                self._arrive(now)
                return
            growth = RETURN
        else:
            seconds = LOOK if self._before else max(CREEP_LEAST, CREEP * limit)
            seconds = min(seconds, max(1.0, CREEP_KNOWN * self._known))
            growth = 2 * (1 - UNDER) / seconds + min(STEEP * max(self._surplus, 0.0), STEEPEST)
        self._go(self.rate + growth)

    def _arrive(self, now: float) -> None:
        """The limit of before is back."""
        self.limit, self._before = self._before, 0.0
        self._known = MEMORY
        self._count_from(self._last_id, now)
        self._go(UNDER * self.limit)

    def _close(self, ticket: Ticket, now: float) -> None:
        """All was refused, as at the end of a window: the limit stands, single requests look for its end."""
        self._closed = ticket.sent
        self._go(min(self.rate / 2, 1 / (self._latency or 1.0)))
        self._slot = max(self._slot, now + 1 / self.rate)

    def _measure(self, ticket: Ticket, now: float, *, stale: bool) -> None:
        span, measured = self._admitted.up_to(ticket.id, ticket.sent)
        before = self.limit or self.rate
        known = self._known
        if span == 0:
            limit = before
        elif self.limit is None:
            limit = measured
        else:
            limit = self._blend(span, measured, before)
            if known > SOON > span and not stale:
                limit *= SHARE
            if stale:
                limit = min(limit, before)
        self.limit = max(limit, SLOWEST)
        if known >= WELL_KNOWN and limit < FELL * before:
            self._before = max(before, self._before)
        if self._before <= limit:
            self._before = 0.0
        self._count_from(ticket.id, ticket.sent)
        self._slot = max(self._slot, now - LATE) + PENALTY / before
        self._go(UNDER * self.limit)

    def _blend(self, span: float, measured: float, before: float) -> float:
        noise = NOISE + NOISE_UNDER_WAY * (self._latency or 0.3) * before
        if abs(measured - before) * span <= noise:
            self._known = min(self._known + span, MEMORY)
            return before + min(span / self._known, 1.0) * (measured - before)
        self._known = span
        if measured < before:
            return max(measured, DEEPEST * before)
        # More than expected, and the pace grew meanwhile: the limit is between what it was and what it is.
        return float((measured * self.rate) ** 0.5)

    def _count_from(self, ticket_id: int, at: float | None) -> None:
        self._admitted.count_from(ticket_id, at)
        self._surplus = 0.0
