"""How many requests a second the server admitted: counted by when they were sent, between two refusals.

A server that keeps count (a token bucket, a window) refused at both ends because nothing was left, so
what it admitted in between is exactly what it allows.
"""

# Admissions that are counted on top, so that a few early refusals do not look like a closed door.
PRIOR = 2


class Admitted:
    """Counts from one refused request, or from the first one, to the next."""

    def __init__(self) -> None:
        self._id = 0
        self._at: float | None = None
        self._shut = 0.0
        self._ok = 0
        self.refused = 0

    def count_from(self, ticket_id: int, at: float | None) -> None:
        """Starts anew after this request; without a time, with the next that is sent."""
        self._id = ticket_id
        self._at = at
        self._shut = 0.0
        self._ok = self.refused = 0

    def sent(self, at: float) -> None:
        if self._at is None:
            self._at = at

    def shut(self, seconds: float) -> None:
        """Nothing was sent for so long, though the server may have admitted it."""
        self._shut += seconds

    def answered(self, ticket_id: int, *, ok: bool) -> None:
        if ticket_id > self._id:
            if ok:
                self._ok += 1
            else:
                self.refused += 1

    @property
    def nothing(self) -> bool:
        return self._ok == 0

    def up_to(self, ticket_id: int, at: float) -> tuple[float, float]:
        """Seconds, and requests a second admitted in them, up to a refused request.

        What is under way is counted as what has been answered. Whether the server saved up what we did
        not ask for while shut out is unknown: the middle of both is taken.
        """
        span = at - self._at if self._at is not None else 0.0
        if span <= 0:
            return 0.0, 0.0
        share = (self._ok + PRIOR) / (self._ok + self.refused + PRIOR)
        lowest = (ticket_id - self._id) * share / span
        open_share = max(1 - self._shut / span, 0.2)
        return span, float(lowest / open_share**0.5)
