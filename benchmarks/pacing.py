"""Rate control in virtual time: compare it with simpler controllers, or draw one run of it.

``python -m benchmarks.pacing compare`` prints the table of `docs/rate-control.md`, ``python -m
benchmarks.pacing draw`` writes the drawing of that page. Servers and the clock are those of the tests
(`tests/fetch/virtual.py`), so minutes of waiting take seconds.
"""

import heapq
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from harvester.fetch.rate.controller import RateController, Ticket
from tests.fetch.virtual import FixedWindow, Log, Server, TokenBucket, simulate

DRAWING = Path(__file__).parents[1] / "docs" / "rate-control.svg"
RATE = 50.0  # requests a second that the simulated server allows
WORKERS = 64  # requests in flight, at most
SEEDS = range(20)


class Controller:
    """What all controllers to compare with have in common: tickets, and a bound on requests in flight."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.in_flight = 0
        self.epoch = 0
        self._last_id = 0
        self._closed_until = 0.0

    def wait(self, now: float) -> float | None:
        """Seconds until the next request may leave; None: until an answer comes."""
        if self.in_flight >= WORKERS:
            return None
        delay = max(self.next_at() - now, self._closed_until - now)
        return delay if delay > 1e-9 else 0.0

    def next_at(self) -> float:
        """When the next request may leave."""
        return 0.0

    def sent(self, now: float) -> Ticket:
        """A request leaves."""
        self.in_flight += 1
        self._last_id += 1
        return Ticket(self._last_id, now, self.epoch, False)

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """An answer came."""
        self.in_flight -= 1

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        """The server refused. Retry-After, where there is one, is obeyed by all requests."""
        self.in_flight -= 1
        self._closed_until = max(self._closed_until, now + (retry_after or 0.0))

    def failed(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """No server of the comparison fails."""
        raise AssertionError


class Backoff(Controller):
    """No rate at all: each of 64 workers doubles its own pause, at random, with each refusal in a row."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._free = [(0.0, number, 0) for number in range(WORKERS)]  # when, worker, refusals in a row
        self._busy: dict[int, tuple[int, int]] = {}

    def next_at(self) -> float:
        return self._free[0][0] if self._free else 0.0

    def sent(self, now: float) -> Ticket:
        ticket = super().sent(now)
        _, worker, refusals = heapq.heappop(self._free)
        self._busy[ticket.id] = worker, refusals
        return ticket

    def succeeded(self, ticket: Ticket, now: float) -> None:
        super().succeeded(ticket, now)
        worker, _ = self._busy.pop(ticket.id)
        heapq.heappush(self._free, (now, worker, 0))

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        super().refused(ticket, now, retry_after)
        worker, refusals = self._busy.pop(ticket.id)
        pause = self.rng.uniform(0.0, min(30.0, 0.5 * 2.0**refusals))
        heapq.heappush(self._free, (now + pause, worker, refusals + 1))


class KnownBucket(Controller):
    """A client-side token bucket that was told the limit: 50 requests a second, 1 s of burst."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._tokens, self._at = RATE, 0.0

    def next_at(self) -> float:
        return self._at + max(0.0, 1.0 - self._tokens) / RATE

    def sent(self, now: float) -> Ticket:
        self._tokens = min(RATE, self._tokens + (now - self._at) * RATE) - 1
        self._at = now
        return super().sent(now)


class Aimd(Controller):
    """AIMD on the rate: one request a second more each second; half for the refusals of one round trip."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.rate = 20.0
        self._next = 0.0

    def next_at(self) -> float:
        return self._next

    def sent(self, now: float) -> Ticket:
        self._next = max(self._next, now - 0.02) + 1 / self.rate
        self.rate += 1 / self.rate
        return super().sent(now)

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        super().refused(ticket, now, retry_after)
        if ticket.epoch == self.epoch:
            self.epoch += 1
            self.rate = max(0.25, self.rate / 2)


class AimdInFlight(Controller):
    """AIMD on the number in flight, the classic of congestion control: one more a round trip, or half."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._limit = 8.0

    def wait(self, now: float) -> float | None:
        return None if self.in_flight >= int(self._limit) else super().wait(now)

    def succeeded(self, ticket: Ticket, now: float) -> None:
        super().succeeded(ticket, now)
        self._limit = min(WORKERS, self._limit + 1 / self._limit)

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        super().refused(ticket, now, retry_after)
        if ticket.epoch == self.epoch:
            self.epoch += 1
            self._limit = max(1.0, self._limit / 2)


def ours(rng: random.Random) -> RateController:
    """What harvester uses."""
    return RateController(rng=rng, max_concurrency=WORKERS)


CONTROLLERS: dict[str, Callable[[random.Random], Any]] = {
    "harvester": ours,
    "AIMD on the rate": Aimd,
    "AIMD on the number in flight": AimdInFlight,
    "token bucket that knows the limit": KnownBucket,
    "64 workers, exponential backoff": Backoff,
}

DROP = [(50.0, 0.4 * RATE), (85.0, RATE)]
# What the server does, how long a run takes, and how many requests it allows in that time.
SCENARIOS: dict[str, tuple[Callable[[], Server], float, float]] = {
    "steady": (lambda: TokenBucket(RATE, RATE), 150.0, RATE * 150),
    "steady, Retry-After": (lambda: TokenBucket(RATE, RATE, 1.0), 150.0, RATE * 150),
    "tight, Retry-After": (lambda: TokenBucket(RATE, RATE / 10, 1.0), 150.0, RATE * 150),
    "drop to 40 %": (lambda: TokenBucket(RATE, RATE, changes=list(DROP)), 150.0, RATE * (115 + 0.4 * 35)),
    "60-s windows": (lambda: FixedWindow(3000, 60.0), 300.0, RATE * 300),
}


def compare() -> None:
    """Print the share of the limit that each controller uses, and the share of its requests refused."""
    print("| controller | " + " | ".join(SCENARIOS) + " |")
    print("|---|" + "---|" * len(SCENARIOS))
    for name, make in CONTROLLERS.items():
        cells = [_measured(make, *scenario) for scenario in SCENARIOS.values()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _measured(
    make: Callable[[random.Random], Any], server: Callable[[], Server], seconds: float, allowed: float
) -> str:
    used, refused = [], []
    for seed in SEEDS:
        (log,) = simulate(
            [make(random.Random(seed))], server(), seconds=seconds, rng=random.Random(seed + 1000)
        )
        used.append(len(log.ok) / allowed)
        refused.append(log.refused_share)
    return f"{median(used):.2f} / {100 * median(refused):.1f} %"


class Watched(RateController):
    """Our rate controller, with a note of its rate whenever a request leaves."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng=rng, max_concurrency=WORKERS)
        self.rates: list[tuple[float, float]] = []

    def sent(self, now: float) -> Ticket:
        self.rates.append((now, self.rate))
        return super().sent(now)


SECONDS = 130.0
HIGHEST = 100.0  # requests a second at the top of the drawing
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 860, 330, 44, 34, 40


def drawing() -> str:
    """Return the SVG of one run: the rate against a limit that drops to 40 % and returns."""
    controller = Watched(random.Random(3))
    (log,) = simulate(
        [controller], TokenBucket(RATE, RATE, changes=list(DROP)), seconds=SECONDS, rng=random.Random(3)
    )
    limit = [(0.0, RATE), (50.0, RATE), (50.0, 0.4 * RATE), (85.0, 0.4 * RATE), (85.0, RATE), (SECONDS, RATE)]
    body = [
        *_grid(),
        _line(limit, "#888", dashes="6 4"),
        _line(_thinned(controller.rates), "#1f6feb"),
        *(
            f'<path d="M{_x(at):.1f} {_y(0):.1f}v-9" stroke="#d1242f" stroke-width="1.2"/>'
            for at in log.refused
        ),
        _text(10, 18, "requests a second", "start"),
        _text(WIDTH - 10, 18, _told(log), "end"),
        _text(_x(27), _y(RATE) + 18, "what the server allows", "middle", "#666"),
        _text(_x(68), _y(RATE * 0.4) - 12, "rate of the controller", "middle", "#1f6feb"),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    white = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    return "\n".join([head, white, *body, "</svg>", ""])


def _told(log: Log) -> str:
    allowed = RATE * (SECONDS - 35) + 0.4 * RATE * 35
    return (
        f"red: refused, {len(log.refused)} of {len(log.ok) + len(log.refused)}; "
        f"{100 * len(log.ok) / allowed:.0f} % of the limit used"
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points at least 0.25 s apart, and every jump."""
    kept = [points[0]]
    for point in points:
        if point[0] - kept[-1][0] >= 0.25 or abs(point[1] - kept[-1][1]) > 2:
            kept.append(point)
    return kept


def _x(seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - 10) * seconds / SECONDS


def _y(rate: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(rate, HIGHEST) / HIGHEST


def _line(points: Sequence[tuple[float, float]], color: str, dashes: str = "") -> str:
    path = " ".join(f"{_x(at):.1f},{_y(rate):.1f}" for at, rate in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dashed}/>'


def _text(x: float, y: float, text: str, anchor: str, color: str = "#222") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="13" text-anchor="{anchor}" fill="{color}">{text}</text>'


def _grid() -> list[str]:
    found = [_text(_x(at), HEIGHT - 20, f"{at} s", "middle", "#666") for at in range(0, int(SECONDS), 20)]
    for rate in (0, 25, 50, 75, 100):
        found.append(_line([(0.0, rate), (SECONDS, rate)], "#eee"))
        found.append(_text(LEFT - 8, _y(rate) + 4, str(rate), "end", "#666"))
    return found


def main(argv: Sequence[str]) -> int:
    """Run one of the two commands."""
    match argv:
        case ["compare"]:
            compare()
        case ["draw"]:
            DRAWING.write_text(drawing(), encoding="utf-8")
        case _:
            print("usage: python -m benchmarks.pacing compare|draw", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
