"""How long a test waits. What hangs is failed; what is only slow, on a slow or busy machine, is not."""

import os
from timeit import timeit

# Seconds until what hangs is given up, where nothing waits for that long otherwise.
LONG = 300.0

# Seconds that `_WORK` takes on a machine where little else runs; measured on two virtual cores.
_WORK, _QUIET = "sum(range(1_000_000))", 0.02


def patience(seconds: float) -> float:
    """Return the time limit of what should end within `seconds` on a quiet machine.

    Use it where another end comes later, and is to be told from the right one: a grace, a longer deadline. On
    a slow machine the limit may be beyond that end; then nothing is told, but nothing fails either.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)  # processes for each core
    return seconds * max(1.0, waiting, timeit(_WORK, number=1) / _QUIET)
