"""The rate limit of the simulated server. Pure: time is passed in."""

import math
from itertools import pairwise

from harvester.simulator.faults import Faults


class Limiter:
    """A token bucket or a fixed window, with a capacity that may change over time.

    Args:
        faults: `rate`, `burst`, `window`, `capacity`; times are those given to `admit`.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._now = 0.0
        self._burst = faults.burst if faults.burst is not None else (faults.rate or 0.0)
        self._tokens = self._burst
        self._window = -1
        self._admitted = 0

    def admit(self, now: float) -> float:
        """Return 0 if the request is admitted, else the seconds until one would be."""
        if self._faults.rate is None:
            return 0.0
        return self._by_bucket(now) if self._faults.window is None else self._by_window(now)

    def _by_bucket(self, now: float) -> float:
        self._tokens = min(self._burst, self._tokens + self._earned(self._now, now))
        self._now = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        rate = self.rate(now)
        return (1 - self._tokens) / rate if rate > 0 else 60.0

    def _by_window(self, now: float) -> float:
        assert self._faults.window is not None
        window = math.floor(now / self._faults.window)
        if window != self._window:
            self._window, self._admitted = window, 0
        if self._admitted + 1 <= self.rate(now) * self._faults.window:
            self._admitted += 1
            return 0.0
        return (window + 1) * self._faults.window - now

    def rate(self, now: float) -> float:
        """Return the limit in requests a second at `now`."""
        share = 1.0
        for at, changed in self._faults.capacity:
            if at <= now:
                share = changed
        return (self._faults.rate or 0.0) * share

    def _earned(self, since: float, now: float) -> float:
        """Return the tokens that accrue between two times, with all changes of capacity in between."""
        changes = [at for at, _ in self._faults.capacity if since < at < now]
        edges = [since, *changes, now]
        return sum((b - a) * self.rate(a) for a, b in pairwise(edges))
