"""Simulate fetching by round trips: bundle size and request rate grow as in an export. Pure."""

from collections.abc import Sequence
from statistics import fmean, quantiles

import msgspec

from harvester.fetch.bundles import MOST_ROWS, BundleSizer
from harvester.fetch.pool import MOST_IN_FLIGHT
from harvester.fetch.rate.concurrency import START_LIMIT
from harvester.fetch.rate.request_rate import START_IN_FLIGHT, START_RATE
from harvester.settings import Limits

# Growth per round trip while nothing is refused (see `RAMP` in `harvester.fetch.rate.request_rate`): of the
# request rate; of the request rate if the user set the concurrency; and of the number in flight.
_GROWTH, _TOLD_GROWTH, _FLIGHT_GROWTH = 2 ** (1 / 7), 2 ** (1 / 2), 2 ** (1 / 2)
_ROUND_TRIPS = 100  # after which rate and concurrency no longer grow
_SHORTEST = 1e-3  # seconds: the least duration of a call


class CallCost(msgspec.Struct, frozen=True):
    """The duration of a call: seconds per call, and seconds per byte of its answer.

    `quick` and `slow` are what the quickest and the slowest tenth of them took, as shares of that.
    """

    latency: float
    per_byte: float
    quick: float = 1.0
    slow: float = 1.0

    def slower(self, factor: float) -> "CallCost":
        return CallCost(self.latency * factor, self.per_byte * factor)


class Course(msgspec.Struct, frozen=True):
    """The number of requests, seconds until the last answer, and rows per bundle at the end."""

    requests: float
    seconds: float
    bundle: int


def course(
    rows: int, body_bytes: float, line_bytes: float, calls: CallCost, limits: Limits, *, rate: float | None
) -> Course:
    """Return the course of fetching `rows` rows of the given total sizes in bytes, as sent and as lines.

    `rate` is the number of requests a second that the server takes, None for any.
    """
    sizer = BundleSizer(cap=limits.bundle_size or MOST_ROWS, max_memory=limits.max_memory)
    most = min(rate or float("inf"), limits.max_rps or float("inf"))
    most_in_flight = limits.concurrency or MOST_IN_FLIGHT
    growth = _GROWTH if limits.concurrency is None else _TOLD_GROWTH
    pace, in_flight = (
        max(START_RATE, START_IN_FLIGHT / max(calls.latency, _SHORTEST)),
        min(START_LIMIT, most_in_flight),
    )
    left, row_bytes, row_lines = float(rows), body_bytes / max(1, rows), line_bytes / max(1, rows)
    requests = seconds = 0.0
    for _ in range(_ROUND_TRIPS):
        size = sizer.size
        took = max(calls.latency + calls.per_byte * size * row_bytes, _SHORTEST)
        now = min(pace, min(in_flight, limits.max_memory / sizer.footprint(size)) / took, most)
        sent = now * took
        if sent * size >= left:
            break
        requests, seconds, left = requests + sent, seconds + took, left - sent * size
        sizer.answered(size, int(size * row_bytes), int(size * row_lines), took)
        pace, in_flight = pace * growth, min(in_flight * _FLIGHT_GROWTH, most_in_flight)
    sending = left / size  # requests
    return Course(requests + sending, seconds + sending / now + (took if rows else 0.0), size)


def cost_of(calls: Sequence[tuple[float, int]]) -> CallCost:
    """Fit the duration of calls to measured seconds and bytes: least squares, with no negative value."""
    if not calls:
        return CallCost(0.0, 0.0)
    mean_took, mean_bytes = fmean(took for took, _ in calls), fmean(size for _, size in calls)
    spread = sum((size - mean_bytes) ** 2 for _, size in calls)
    together = sum((took - mean_took) * (size - mean_bytes) for took, size in calls)
    per_byte = max(0.0, together / spread) if spread else 0.0
    per_byte = min(per_byte, mean_took / mean_bytes) if mean_bytes else 0.0
    latency = mean_took - per_byte * mean_bytes
    shares = [took / (latency + per_byte * size) for took, size in calls if took]
    tenths = quantiles(shares, n=10) if len(shares) > 1 else [1.0]
    return CallCost(latency, per_byte, min(1.0, tenths[0]), max(1.0, tenths[-1]))
