"""How much of the machine this process uses: once it uses up a core, more requests in flight only queue."""

import os
from collections.abc import Callable

import anyio

# Seconds between two readings: the system counts CPU time in hundredths, and a busy moment is no bottleneck.
_BETWEEN = 0.5


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
