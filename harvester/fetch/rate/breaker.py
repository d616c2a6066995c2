"""The breaker: when the server is down, hardly anybody asks."""

import random

# So many failures with no success between them: a server that fails one request in five at random gets
# there once in 80,000 requests, a server that is down at once.
ENOUGH = 7
# Seconds until the first trial, and at most; in between each pause is twice the one before.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 8.0


class Breaker:
    """Opens after repeated failures; then single trials with growing pauses, until one is answered."""

    def __init__(self, rng: random.Random) -> None:
        self.open = False
        self._rng = rng
        self._in_a_row = 0
        self._first_failed = 0
        self._pause = FIRST_PAUSE
        self._next_trial = 0.0
        self._trial_under_way = False

    def wait(self, now: float) -> float | None:
        """Seconds until a request may leave, at most 0 for now; None while a trial is under way."""
        if not self.open:
            return 0.0
        return None if self._trial_under_way else self._next_trial - now

    def sent(self) -> bool:
        """A request leaves. Says whether it is a trial."""
        self._trial_under_way = self.open
        return self.open

    def answered(self, ticket_id: int, *, trial: bool) -> bool:
        """The server is alive. Says whether that closed the breaker.

        Only a trial can close it, and only a request sent after the first that failed breaks a row of
        failures: others may have been answered before the server went down.
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
        if self._in_a_row == 0:
            self._first_failed = ticket_id
        self._in_a_row += 1
        if trial or (not self.open and self._in_a_row >= ENOUGH):
            self.open = True
            self._trial_under_way = False
            # Jitter, so that processes do not all try at the same time.
            self._next_trial = now + self._pause * self._rng.uniform(0.75, 1.0)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def cancelled(self, *, trial: bool) -> None:
        if trial:
            self._trial_under_way = False
