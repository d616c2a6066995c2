"""Find how many requests may be in flight, from the latency: a server that slows down gets fewer at once.

If this process has no CPU left to read answers, more requests in flight bring no more rows: the answers wait
here, and cost memory, connections and thread switches. Then the limit falls, whatever the latency says.

See docs/rate-control.md.
"""

import os
from collections.abc import Callable

import anyio

# Initial concurrency limit. At the initial request rate (20 per second) it binds only above 0.4 s of latency.
# Chosen.
START_LIMIT = 8.0
# Lowest limit: with a single request in flight, the latency says nothing about the load that we cause.
# Chosen.
MIN_LIMIT = 2.0
# The same for a server that is made for many clients at once, such as an object store: there a longer latency
# mostly means that the network or this machine is busy, and fewer requests would not help. Chosen: as many as
# download tools use.
MIN_LIMIT_OF_STORES = 16.0
# At the start the limit grows by this for each answer (ln 2 / 2: it doubles in two round trips). An answer
# that took QUEUED times as long as the fastest does not count: requests begin to wait for each other.
RAMP = 0.35
QUEUED = 2.0
# Answers per judgement. If single latencies vary by 30 to 40 %, the standard error of their mean is 6 to 8 %.
ANSWERS_PER_JUDGEMENT = 24
# Slowdown: mean latency divided by that of the server without load. From GROW_BELOW on the limit does not
# grow, above CUT_ABOVE it is multiplied by CUT. On a saturated server requests queue, so that the latency
# grows in proportion to their number. Chosen.
GROW_BELOW = 1.25
CUT_ABOVE = 1.5
CUT = 0.8
# CPU cores in use above which this process is the bottleneck (Python code runs on one core at a time), and
# the number of requests in flight that is enough to keep it busy. Chosen.
SATURATED_CORES = 0.85
SATURATED_LIMIT = 4.0
# A cut has not helped if the slowdown is still above this share of the one before it: CUT takes 20 % off the
# number in flight, and at least half of that should be seen in the latency.
NOT_HELPED = 0.9
# Growth of the limit per judgement after the start. Chosen.
GROWTH = 1.1
# Seconds between two readings of the CPU time. The system counts it in hundredths of a second, and a short
# busy moment is no bottleneck. Chosen.
_READ_INTERVAL = 0.5


class ConcurrencyLimit:
    """Adapt the limit of requests in flight to the latency.

    Only successes are judged: refusals and failures have latencies of their own. Bundles of similar size are
    compared with each other only, because an answer with 100 rows takes longer than one with a single row. A
    size class is the bit length of the number of rows (1, 2-3, 4-7, ...).

    Args:
        most: upper end of the limit.
        cores: returns the number of CPU cores that this process uses.
        least: lower end of the limit.

    Attributes:
        limit: how many requests may be in flight (rounded down).
    """

    def __init__(
        self, most: int, cores: Callable[[], float] = lambda: 0.0, *, least: float = MIN_LIMIT
    ) -> None:
        self._least = min(least, float(most))
        self.limit = max(min(START_LIMIT, float(most)), self._least)
        self._most = most
        self._cores = cores
        self._calm: dict[int, float] = {}  # latency without load, in seconds, by size class
        self._ramping = True  # until the first sign of load
        self._grew = False  # whether the ramp raised the limit since the last judgement
        self._fastest: dict[int, float] = {}  # fastest answer, in seconds, by size class
        self._binding = False  # whether the limit held a request back since the last judgement
        self._since = 0  # id of the first ticket sent under the present limit
        self._sums: dict[int, tuple[float, int]] = {}  # seconds and answers to judge, by size class
        self._count = 0  # answers to judge, of all sizes
        self._before_cut: float | None = None  # slowdown before the last cut, until that is judged

    def admits(self, in_flight: int) -> bool:
        """Return whether one more request may leave while `in_flight` are in flight."""
        if in_flight < int(self.limit):
            return True
        self._binding = True
        return False

    def succeeded(self, took: float, weight: int, ticket_id: int, next_id: int) -> None:
        """Note an answer for `weight` rows after `took` seconds; judge the latency now and then.

        `ticket_id` is the answered request, `next_id` the next one that will be sent.
        """
        size = weight.bit_length()
        fastest = self._fastest[size] = min(self._fastest.get(size, took), took)
        if self._ramping and self._binding and took < QUEUED * fastest and not self._saturated:
            self.limit = min(self.limit + RAMP, self._most)
            self._grew = True
        if ticket_id < self._since:  # sent under an earlier limit
            return
        total, count = self._sums.get(size, (0.0, 0))
        self._sums[size] = total + took, count + 1
        self._count += 1
        if self._count >= ANSWERS_PER_JUDGEMENT:
            self._judge()
            self._binding = self._grew = False
            self._sums = {}
            self._count = 0
            self._since = next_id

    @property
    def _saturated(self) -> bool:
        return self._cores() > SATURATED_CORES

    def _judge(self) -> None:
        """Change the limit by the slowdown of the last answers."""
        if self._saturated:  # the latency is that of this process, not of the server
            self._ramping = False
            self._before_cut = None
            self.limit = min(self.limit, max(SATURATED_LIMIT, self._least, self.limit / 2))
            return
        expected = taken = 0.0
        for size, (total, count) in self._sums.items():
            expected += self._calm.setdefault(size, total / count) * count
            taken += total
        slowdown = taken / expected
        # Three cases: the last cut did not help, the server is slow, or all is well.
        if self._before_cut is not None and slowdown > NOT_HELPED * self._before_cut:
            self._undo_cut(slowdown)
        elif slowdown > CUT_ABOVE:
            self._before_cut = slowdown
            self._ramping = False
            self.limit = max(self._least, self.limit * CUT)
        else:
            self._before_cut = None
            for size, (total, count) in self._sums.items():
                self._calm[size] = min(self._calm[size], total / count)
            # A limit that holds nothing back is not tested by the latency, so it does not grow.
            if slowdown < GROW_BELOW and self._binding and not self._ramping:
                self.limit = min(self.limit * GROWTH + 0.1, self._most)
        # The ramp is over at the first sign of load, or if answers became too slow for it to raise the limit.
        if slowdown > GROW_BELOW or (self._binding and not self._grew):
            self._ramping = False

    def _undo_cut(self, slowdown: float) -> None:
        """Undo a cut that did not help: the server itself became slower, so this is its new calm latency."""
        for size in self._calm:
            self._calm[size] *= slowdown
        self.limit = min(self.limit / CUT, self._most)
        self._before_cut = None


def cpu_seconds() -> float:
    """Return the CPU time that all threads of this process have used, in seconds."""
    used = os.times()
    return used.user + used.system


class CoresUsed:
    """Measure the CPU cores that this process uses; 1.0 is one core all the time.

    `read` returns the CPU seconds used so far. Call the object in an event loop, whose clock it uses; it
    returns the mean between the last two readings.
    """

    def __init__(self, read: Callable[[], float] = cpu_seconds) -> None:
        self._read = read
        self._at = float("-inf")
        self._used = self._cores = 0.0

    def __call__(self) -> float:
        now = anyio.current_time()
        if (passed := now - self._at) >= _READ_INTERVAL:
            used = self._read()
            self._cores = (used - self._used) / passed
            self._at, self._used = now, used
        return self._cores
