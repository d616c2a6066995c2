"""Where the time of a piece of work goes, by function; for the benchmarks' ``--profile``."""

import cProfile
import io
import pstats
from collections.abc import Callable


def by_function(work: Callable[[], object]) -> str:
    """The functions that take the most time themselves."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(18)
    return "\n".join("    " + line for line in text.getvalue().splitlines() if line.strip())
