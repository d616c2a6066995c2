"""How many requests may be in flight: found by latency, so that a server that slows down gets fewer.

Where this process has no CPU left to read answers with, more in flight bring no more rows: they wait here,
and cost memory, connections and changes between threads. Then the limit falls, whatever the latency says.
"""

import os
from collections.abc import Callable

import anyio

# At first; a round trip at the first pace needs fewer.
START_LIMIT = 8.0
# Never fewer: below that, the latency says nothing of what our requests do to the server.
FEWEST = 2.0
# The limit doubles in two round trips at first: ln 2 / 2 for each answer, but for one that took so many times
# as long as the fastest: then requests begin to wait for each other.
RAMP = 0.35
HELD_UP = 2.0
# A measure needs so many answers: their mean is then within 10 % where single latencies vary by 30-40 %.
SAMPLES = 24
# Latency against that of an unburdened server: beyond the first the limit grows no more, beyond the second
# it is cut. Requests that wait for their turn make the latency grow as their number does.
CALM = 1.25
SLOW = 1.5
CUT = 0.8
# Cores in use from which on this process is the bottleneck, as Python runs on one at a time; and how many in
# flight keep it busy.
SATURATED = 0.85
ENOUGH = 4.0
# A cut has helped where the latency fell by at least half as much as the number in flight.
HELPED = 0.9
GROWTH = 1.1
# Seconds between two readings: the system counts CPU time in hundredths, and a busy moment is no bottleneck.
_BETWEEN = 0.5


class ConcurrencyLimit:
    """The limit of requests in flight, between 2 and `most`; `cores` tells how many this process uses."""

    def __init__(self, most: int, cores: Callable[[], float] = lambda: 0.0) -> None:
        self.limit = min(START_LIMIT, float(most))
        self._most = most
        self._cores = cores
        self._calm: dict[int, float] = {}  # latency of the unburdened server by size class, in seconds
        self._ramping = True
        self._grew = False
        self._fastest: dict[int, float] = {}  # answers by size class, in seconds
        self._binding = False
        self._since = 0  # id of the first ticket sent under this limit
        self._sums: dict[int, tuple[float, int]] = {}
        self._count = 0
        self._before_cut: float | None = None

    def admits(self, in_flight: int) -> bool:
        if in_flight < int(self.limit):
            return True
        self._binding = True
        return False

    def succeeded(self, took: float, weight: int, ticket_id: int, next_id: int) -> None:
        """`took` in seconds, for `weight` rows."""
        size = weight.bit_length()
        fastest = self._fastest[size] = min(self._fastest.get(size, took), took)
        if self._ramping and self._binding and took < HELD_UP * fastest and not self._saturated:
            self.limit = min(self.limit + RAMP, self._most)
            self._grew = True
        if ticket_id < self._since:
            return
        total, count = self._sums.get(size, (0.0, 0))
        self._sums[size] = total + took, count + 1
        self._count += 1
        if self._count >= SAMPLES:
            self._judge()
            self._binding = self._grew = False
            self._sums = {}
            self._count = 0
            self._since = next_id

    @property
    def _saturated(self) -> bool:
        return self._cores() > SATURATED

    def _judge(self) -> None:
        if self._saturated:  # what the latency says then is of this process
            self._ramping = False
            self._before_cut = None
            self.limit = min(self.limit, max(ENOUGH, self.limit / 2))
            return
        expected = taken = 0.0
        for size, (total, count) in self._sums.items():
            expected += self._calm.setdefault(size, total / count) * count
            taken += total
        slowdown = taken / expected
        if self._before_cut is not None and slowdown > HELPED * self._before_cut:
            self._undo_cut(slowdown)
        elif slowdown > SLOW:
            self._before_cut = slowdown
            self._ramping = False
            self.limit = max(FEWEST, self.limit * CUT)
        else:
            self._before_cut = None
            for size, (total, count) in self._sums.items():
                self._calm[size] = min(self._calm[size], total / count)
            if slowdown < CALM and self._binding and not self._ramping:
                self.limit = min(self.limit * GROWTH + 0.1, self._most)
        if slowdown > CALM or (self._binding and not self._grew):
            self._ramping = False

    def _undo_cut(self, slowdown: float) -> None:
        """Fewer in flight were as slow: the server is slower by itself, and this is its new calm."""
        for size in self._calm:
            self._calm[size] *= slowdown
        self.limit = min(self.limit / CUT, self._most)
        self._before_cut = None


def cpu_seconds() -> float:
    """The CPU time that this process has used, all its threads together."""
    used = os.times()
    return used.user + used.system


class CoresUsed:
    """Tells, when called in an event loop, how many cores are used of late: 1.0 is one, all the time."""

    def __init__(self, read: Callable[[], float] = cpu_seconds) -> None:
        self._read = read
        self._at = float("-inf")
        self._used = self._cores = 0.0

    def __call__(self) -> float:
        now = anyio.current_time()
        if (passed := now - self._at) >= _BETWEEN:
            used = self._read()
            self._cores = (used - self._used) / passed
            self._at, self._used = now, used
        return self._cores
