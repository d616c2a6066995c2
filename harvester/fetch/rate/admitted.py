"""Measure the rate limit of the server: requests per second admitted between two refusals.

A server that counts requests (a token bucket, a fixed window) refuses a request when its budget is empty. The
budget is empty at both refusals, so the number admitted in between is exactly what was refilled in between.

Pauses (`Retry-After`) complicate this: during a pause we send nothing, and some servers refill up to a
second's worth of budget meanwhile, others almost nothing. `AdmittedRate.learn` finds out which, by comparing
the measures of intervals with pauses: they agree with each other only under the right assumption.

See docs/rate-control.md.
"""

import math

# The two assumptions about the server: how many seconds of a pause it refills its budget for. Seconds;
# chosen. They stand for a bucket with almost no burst and for one with a burst of a second.
LITTLE, MUCH = 0.1, 1.0
# If both assumptions fit the earlier measure about equally well (their log ratios to it differ by at most 2
# %), the measure does not tell which one is right. Chosen.
SAME_MEASURE = 0.02
# Admissions added to the count, so that a few early refusals do not look as if the server admitted nothing.
# Chosen.
PRIOR_ADMISSIONS = 2
# The smallest share of an interval that counts as open, however long its pauses were. It keeps the divisor
# away from 0. Chosen.
MIN_OPEN_SHARE = 0.2


class AdmittedRate:
    """Count the requests from one refused request (at the start: from the first request) to the next.

    Requests are counted by the time at which they were sent, because answers arrive late and in any order. A
    ticket id orders requests by the time of sending. Times are in seconds of one monotonic clock.

    Attributes:
        saved: seconds of a pause that the server refills its budget for: LITTLE or MUCH.
    """

    def __init__(self) -> None:
        self.saved = MUCH
        self._id = 0  # the ticket after which counting began
        self._ok = self._refused = 0
        self._at: float | None = None  # when that ticket was sent
        self._shut = 0.0  # seconds of pauses since then
        self._shut_until = 0.0
        # Hysteresis counter from -1 to 1: below 0 the server refills LITTLE seconds of a pause, otherwise
        # MUCH. At 1 (MUCH, confirmed) it takes two opposite votes to change, so that one odd measure changes
        # nothing.
        self._votes = 0
        # The previous measure, in requests per second, under each assumption: LITTLE, MUCH.
        self._before: tuple[float, float] | None = None

    def count_from(self, ticket_id: int, at: float | None) -> None:
        """Start a new count after this request, sent `at`; if that is None, with the next request sent."""
        self._id = ticket_id
        # The part of the current pause that is still ahead belongs to the new interval.
        self._shut = 0.0 if at is None else min(self._shut, max(0.0, self._shut_until - at))
        self._at = at
        self._ok = self._refused = 0

    def sent(self, at: float) -> None:
        """Note that a request was sent. Only the first one after a start without a time matters."""
        if self._at is None:
            self._at = at

    def shut(self, start: float, end: float) -> None:
        """Add a pause that the server asked for. Where pauses overlap, the time counts once."""
        self._shut += max(0.0, end - max(start, self._shut_until))
        self._shut_until = max(end, self._shut_until)

    def answered(self, ticket_id: int, *, ok: bool) -> None:
        """Count an answer: admitted (`ok`), or refused."""
        if ticket_id > self._id:  # earlier requests belong to the interval before
            if ok:
                self._ok += 1
            else:
                self._refused += 1

    @property
    def nothing(self) -> bool:
        """Return whether no request has been admitted in this interval."""
        return self._ok == 0

    def up_to(self, ticket_id: int, at: float) -> tuple[float, float]:
        """Return the seconds from the start of the count to a refused request, and the admitted rate in them.

        The rate is in requests per second; both are 0 if no time has passed.
        """
        span = self._span(at)
        return span, self._measure(ticket_id, span, self.saved) if span else 0.0

    def learn(self, ticket_id: int, at: float, limit: float) -> None:
        """Update `saved` at a refused request. Call this only if the budget was empty at that request.

        Compute the rate under both assumptions; the one that changed less since the previous measure gets a
        vote. Without a previous measure of this kind, `limit` (requests per second) takes its place.
        """
        span = self._span(at)
        if not span:
            return
        now = self._measure(ticket_id, span, LITTLE), self._measure(ticket_id, span, MUCH)
        before = self._before or (limit, limit)
        # A limit that stays the same gives the same measure each time, however long the pauses were.
        little, much = (abs(math.log(a / b)) for a, b in zip(now, before, strict=True))
        if abs(little - much) > SAME_MEASURE:
            self._votes = max(self._votes - 1, -1) if little < much else min(self._votes + 1, 1)
            self.saved = LITTLE if self._votes < 0 else MUCH
        self._before = now

    def forget(self) -> None:
        """Drop the previous measure: it was taken while the server's budget was not empty."""
        self._before = None

    def _span(self, at: float) -> float:
        return max(at - self._at, 0.0) if self._at is not None else 0.0

    def _measure(self, ticket_id: int, span: float, saved: float) -> float:
        """Return the admitted requests per second, if the server refills `saved` seconds of the pauses."""
        # Requests still in flight: assume the same share of admissions as among those already answered.
        share = (self._ok + PRIOR_ADMISSIONS) / (self._ok + self._refused + PRIOR_ADMISSIONS)
        lost = max(0.0, self._shut - saved)
        return (ticket_id - self._id) * share / max(span - lost, MIN_OPEN_SHARE * span)
