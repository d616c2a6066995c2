import msgspec

START = 20.0
SLOWEST = 0.1
LATE = 0.02
UNDER = 0.985
HOLD = 3.0
DEPTH = 1.0
EASE = 0.0
STEEP = 0.5
PENALTY = 2.0
CLIMBED = 1.3
ADD = 0.3
W = 5.0
HOLDREQ = 0
BR = 0.5
FS = 0
NOISE = 2.0
FASTEST = 0.35
MARGIN = 0.0
Q = 0.0
RAMP = 0.08


class Ticket(msgspec.Struct, frozen=True, gc=False):
    sent: float
    id: int
    epoch: int


class Pace:
    def __init__(self, max_rps=None):
        self.max_rps = max_rps or float("inf")
        self.rate = min(START, self.max_rps)
        self.limit = None  # estimate
        self.rtt = None
        self.epoch = 0
        self._slot = float("-inf")
        self._last = None
        self._anchor = None
        self._refused = 0
        self._idle = 0.0
        self._surplus = 0.0
        self._hold_until = 0.0
        self._from = self.rate
        self.barren = 0

    def wait(self, now):
        return self._slot - now

    def sent(self, ticket):
        now = ticket.sent
        self._id = ticket.id
        if self._anchor is None:
            self._anchor = ticket
            self._last = now
        if self.limit is not None:
            self._surplus += 1 / self.limit - (now - self._last)
            if self._surplus < -DEPTH:
                self._idle += -DEPTH - self._surplus
                self._surplus = -DEPTH
        self._last = now
        if now - self._slot < LATE:
            self._climb(now)
        self._slot = max(self._slot, now - LATE) + 1 / self.rate

    def _climb(self, now):
        if self.limit is None:
            growth = min(5.0, RAMP / self.rtt) if self.rtt else 0.0
        elif self.rate < UNDER * self.limit:
            growth = 0.5
        elif now < self._hold_until:
            growth = 0.0
        else:
            growth = min(FASTEST, EASE + ADD / self.rate + STEEP * max(0.0, self._surplus - MARGIN))
        self.rate = min(self.rate + growth, self.max_rps)

    def succeeded(self, ticket, now):
        took = now - ticket.sent
        self.rtt = took if self.rtt is None else self.rtt + 0.1 * (took - self.rtt)
        if ticket.epoch == self.epoch:
            self.barren = 0

    def refused(self, ticket, now, retry_after):
        if retry_after is None:
            self._slot = max(self._slot, now - LATE) + PENALTY / self.rate
        else:
            self._slot = max(self._slot, now + retry_after)
        if ticket.epoch == self.epoch:
            self._react(ticket, now)
            self.epoch += 1
            self.barren += 1
        elif self.limit is not None and FS:
            self._stale += 1
            bound = self._top * (self._flown - self._stale + FS) / self._flown
            if bound < self.limit:
                self.limit = max(bound, SLOWEST)
                self.rate = self._from = min(self.rate, UNDER * self.limit)
        if ticket.id > self._anchor.id:
            self._refused += 1

    def _react(self, ticket, now):
        a = self._anchor
        self._stale = 1
        self._top = self.rate
        self._flown = self._id - ticket.id + 1
        span = ticket.sent - a.sent
        n = ticket.id - a.id - self._refused
        n = max(n, 0)
        prior = self.limit if self.limit is not None else self.rate
        if span <= 0:
            low = high = prior
        else:
            low = n / span
            high = n / max(span - self._idle, 1e-3)
        if self.rate > CLIMBED * self._from:
            low = max(low, self._from)
            limit = low ** (1 - BR) * self.rate**BR
        else:
            margin = (NOISE + 0.3 * (self.rtt or 0.3) * prior) / max(span, 1e-3)
            if self._idle:
                limit = min(max(prior * 0.95, low), high)
            elif abs(low - prior) > margin:
                limit = low
            else:
                limit = prior + span / (span + W) * (low - prior)
            if Q and self.rate > limit:
                limit = limit ** (1 - Q) * self.rate**Q
        self.limit = max(limit, SLOWEST)
        self.rate = self._from = max(UNDER * self.limit, SLOWEST)
        self._anchor = ticket
        self._refused = 0
        self._idle = 0.0
        self._surplus = 0.0
        self._hold_until = now + max(HOLD, min(20, HOLDREQ / self.limit**0.5))

    def resume(self):
        self.rate /= 2
