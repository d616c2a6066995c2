"""The circuit breaker: while the server is down, send only single trial requests.

A pure state machine, see docs/rate-control.md.
"""

import random

# Consecutive failures that open the breaker. Computed: a server that fails one request in five at random
# reaches 7 in a row once in about 80,000 requests; a server that is down reaches it at once.
FAILURES_TO_OPEN = 7
# Seconds until the first trial, and the longest pause between trials. Each pause is twice the one before.
# Chosen.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 8.0


class Breaker:
    """Open after repeated failures; then allow one trial at a time, until one is answered.

    Times are in seconds of one monotonic clock. Ticket ids grow in the order of sending.

    Attributes:
        open: whether the server seems to be down.
    """

    def __init__(self, rng: random.Random) -> None:
        self.open = False
        self._rng = rng
        self._in_a_row = 0
        self._first_failed = 0
        self._pause = FIRST_PAUSE
        self._next_trial = 0.0
        self._trial_under_way = False

    def wait(self, now: float) -> float | None:
        """Return the seconds until a request may leave (<= 0: now), or None while a trial is in flight."""
        if not self.open:
            return 0.0
        return None if self._trial_under_way else self._next_trial - now

    def sent(self) -> bool:
        """Note that a request leaves. Return whether it is a trial."""
        self._trial_under_way = self.open
        return self.open

    def answered(self, ticket_id: int, *, trial: bool) -> bool:
        """Note an answer of the server, a refusal included. Return whether it closed the breaker.

        Only a trial closes an open breaker, and only a request that was sent after the first failure resets
        the count of failures. An earlier request may have been answered before the server went down, so it
        does not show that the server is up now.
        """
        if not self.open:
            if ticket_id > self._first_failed:
                self._in_a_row = 0
        elif trial:
            self.open = self._trial_under_way = False
            self._in_a_row = 0
            self._pause = FIRST_PAUSE
            return True
        return False

    def failed(self, ticket_id: int, now: float, *, trial: bool) -> None:
        """Note a failure. A failed trial starts the next pause; enough failures open the breaker."""
        if self._in_a_row == 0:
            self._first_failed = ticket_id
        self._in_a_row += 1
        if trial or (not self.open and self._in_a_row >= FAILURES_TO_OPEN):
            self.open = True
            self._trial_under_way = False
            # Jitter: several clients of one server must not all send their trial at the same moment.
            self._next_trial = now + self._pause * self._rng.uniform(0.75, 1.0)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def cancelled(self, *, trial: bool) -> None:
        """Note that a request ended without an outcome. After a trial, the next request is a trial."""
        if trial:
            self._trial_under_way = False
