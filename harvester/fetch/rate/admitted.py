"""How many requests a second the server admitted: counted by when they were sent, between two refusals.

A server that keeps count (a token bucket, a window) refused at both ends because nothing was left, so
what it admitted in between is exactly what it allows. But for the pauses that it asked for: some servers
save up a second's worth meanwhile, others next to nothing. Which one it is shows in the measures after
pauses, as they only stay the same when that is reckoned with.
"""

import math

# Seconds of a pause that a server saves up: one or the other.
LITTLE, MUCH = 0.1, 1.0
# Measures that differ by less are the same.
SAME = 0.02
# Admissions that are counted on top, so that a few early refusals do not look like a closed door.
PRIOR = 2
# Share of the time that is left at least, however long the pauses were.
LEAST_OPEN = 0.2


class AdmittedRate:
    """Counts from one refused request, or from the first one, to the next."""

    def __init__(self) -> None:
        self.saved = MUCH
        self._id = 0
        self._ok = self._refused = 0
        self._at: float | None = None
        self._shut = 0.0
        self._shut_until = 0.0
        # What the last measures spoke for: below 0 little, else much; two change that where it was confirmed.
        self._votes = 0
        self._before: tuple[float, float] | None = None  # measures, should the server save little or much

    def count_from(self, ticket_id: int, at: float | None) -> None:
        """Starts anew after this request; without a time, with the next that is sent."""
        self._id = ticket_id
        self._shut = 0.0 if at is None else min(self._shut, max(0.0, self._shut_until - at))
        self._at = at
        self._ok = self._refused = 0

    def sent(self, at: float) -> None:
        if self._at is None:
            self._at = at

    def shut(self, start: float, end: float) -> None:
        """The server asked for a pause."""
        self._shut += max(0.0, end - max(start, self._shut_until))
        self._shut_until = max(end, self._shut_until)

    def answered(self, ticket_id: int, *, ok: bool) -> None:
        if ticket_id > self._id:
            if ok:
                self._ok += 1
            else:
                self._refused += 1

    @property
    def nothing(self) -> bool:
        return self._ok == 0

    def up_to(self, ticket_id: int, at: float) -> tuple[float, float]:
        """Seconds, and requests a second admitted in them, up to a refused request."""
        span = self._span(at)
        return span, self._measure(ticket_id, span, self.saved) if span else 0.0

    def learn(self, ticket_id: int, at: float, limit: float) -> None:
        """What the server saves up in a pause, from a refused request before which all of it was used.

        `limit` is what was measured last, if that says nothing of it.
        """
        span = self._span(at)
        if not span:
            return
        now = self._measure(ticket_id, span, LITTLE), self._measure(ticket_id, span, MUCH)
        before = self._before or (limit, limit)
        little, much = (abs(math.log(a / b)) for a, b in zip(now, before, strict=True))
        if abs(little - much) > SAME:
            self._votes = max(self._votes - 1, -1) if little < much else min(self._votes + 1, 1)
            self.saved = LITTLE if self._votes < 0 else MUCH
        self._before = now

    def forget(self) -> None:
        """The last measure says nothing of what the server saves up."""
        self._before = None

    def _span(self, at: float) -> float:
        return max(at - self._at, 0.0) if self._at is not None else 0.0

    def _measure(self, ticket_id: int, span: float, saved: float) -> float:
        # What is under way is counted as what has been answered.
        share = (self._ok + PRIOR) / (self._ok + self._refused + PRIOR)
        lost = max(0.0, self._shut - saved)
        return (ticket_id - self._id) * share / max(span - lost, LEAST_OPEN * span)
