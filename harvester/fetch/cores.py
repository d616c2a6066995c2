"""How much of the machine this process uses: once it uses up a core, more requests in flight only queue."""

import os

# Seconds between two readings: the system counts CPU time in hundredths.
_BETWEEN = 0.1


class CoresUsed:
    """Tells, when called, how many cores the process has used of late: 1.0 is one, all the time."""

    def __init__(self) -> None:
        self._before = os.times()
        self._cores = 0.0

    def __call__(self) -> float:
        now, before = os.times(), self._before
        if (passed := now.elapsed - before.elapsed) >= _BETWEEN:
            self._cores = (now.user + now.system - before.user - before.system) / passed
            self._before = now
        return self._cores
