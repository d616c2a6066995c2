"""A discrete-event simulation of controllers and the server they share: minutes of traffic in milliseconds.

A request leaves when its controller lets it, reaches the server after a part of its latency, is judged
there in order of arrival, and its answer is back when the latency is over. A refusal takes as long as
an answer, which is the harder case: the longer it takes, the more requests are sent before it is heard.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harvester.errors import CannotFinishNow
from harvester.fetch.rate.controller import RateController, Ticket

OK, REFUSED, FAILED = "ok", "refused", "failed"
Judgement = tuple[str, float | None]


class Server(Protocol):
    def judge(self, now: float) -> Judgement:
        """What becomes of a request that arrives at `now`: one of OK, REFUSED, FAILED, and Retry-After."""


@dataclass
class Unlimited:
    def judge(self, now: float) -> Judgement:
        return OK, None


@dataclass
class TokenBucket:
    """`rate` tokens a second, at most `burst`, full at first; `changes` are (time, new rate)."""

    rate: float
    burst: float
    retry_after: float | None = None
    changes: Sequence[tuple[float, float]] = ()
    _tokens: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst
        self._changes = list(self.changes)

    def _fill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now

    def judge(self, now: float) -> Judgement:
        while self._changes and self._changes[0][0] <= now:
            at, rate = self._changes.pop(0)
            self._fill(at)
            self.rate = rate
        self._fill(now)
        if self._tokens < 1:
            return REFUSED, self.retry_after
        self._tokens -= 1
        return OK, None


@dataclass
class FixedWindow:
    """At most `limit` requests in each window of `length` seconds."""

    limit: int
    length: float
    _window: int = field(default=-1, init=False)
    _count: int = field(default=0, init=False)

    def judge(self, now: float) -> Judgement:
        window = int(now / self.length)
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self.limit:
            return REFUSED, None
        self._count += 1
        return OK, None


@dataclass
class Outage:
    """Every request between `start` and `end` fails."""

    inner: Server
    start: float
    end: float

    def judge(self, now: float) -> Judgement:
        return (FAILED, None) if self.start <= now < self.end else self.inner.judge(now)


@dataclass
class Flaky:
    """A share of the admitted requests fails at random."""

    inner: Server
    share: float
    rng: random.Random

    def judge(self, now: float) -> Judgement:
        judgement = self.inner.judge(now)
        return (FAILED, None) if judgement[0] == OK and self.rng.random() < self.share else judgement


@dataclass
class Log:
    """What happened, in order of time: the times at which requests were sent, admitted, refused, failed."""

    sent: list[float] = field(default_factory=list)
    ok: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    heard: list[tuple[float, str]] = field(default_factory=list)
    stopped: CannotFinishNow | None = None

    def used(self, rate: float, start: float, end: float) -> float:
        """Share of a limit of `rate` requests a second that was made use of between two times."""
        return sum(start <= at < end for at in self.ok) / (rate * (end - start))

    @property
    def refused_share(self) -> float:
        judged = len(self.ok) + len(self.refused) + len(self.failed)
        return len(self.refused) / judged if judged else 0.0


def spread(low: float = 0.12, high: float = 0.40) -> Callable[[random.Random, int], float]:
    """Latencies in seconds, the same however many requests are in flight."""
    return lambda rng, _in_flight: rng.uniform(low, high)


def thrashing(
    base: float = 0.2, capacity: int = 14, waste: float = 0.57
) -> Callable[[random.Random, int], float]:
    """A server that does `capacity` requests at once in `base` seconds each, and wastes work beyond that."""

    def latency(rng: random.Random, in_flight: int) -> float:
        over = max(0.0, in_flight / capacity - 1)
        return base * max(1.0, in_flight / capacity) * (1 + waste * over) * rng.uniform(0.8, 1.2)

    return latency


def simulate(
    controllers: Sequence[RateController],
    server: Server,
    *,
    seconds: float,
    rng: random.Random,
    latency: Callable[[random.Random, int], float] | None = None,
    uplink: tuple[float, float] = (0.1, 0.2),
    starts: Sequence[float] | None = None,
) -> list[Log]:
    """Runs controllers that always have more to send against one server; one log for each controller.

    `uplink` is the part of a latency, from and to, that passes before the server judges the request.
    """
    latency = latency or spread()
    logs = [Log() for _ in controllers]
    wakes = [float("inf")] * len(controllers)  # the earliest wake-up that is under way, by controller
    events: list[tuple[float, int, int, Ticket | None, float, Judgement | None]] = []
    push, pop = heapq.heappush, heapq.heappop
    count = 0
    in_flight = 0
    for index, start in enumerate(starts or [0.0] * len(controllers)):
        push(events, (start, count, index, None, 0.0, None))
        wakes[index] = start
        count += 1
    while events:
        now, _, index, ticket, back, judgement = pop(events)
        if now >= seconds:
            break
        controller, log = controllers[index], logs[index]
        if ticket is None:
            if now != wakes[index]:
                continue
            wakes[index] = float("inf")
        elif judgement is None:
            judgement = server.judge(now)
            getattr(log, judgement[0]).append(now)
            count += 1
            push(events, (back, count, index, ticket, back, judgement))
            continue
        else:
            in_flight -= 1
            status, retry_after = judgement
            if status is OK:
                controller.succeeded(ticket, now)
            elif status is REFUSED:
                log.heard.append((now, status))
                try:
                    controller.refused(ticket, now, retry_after)
                except CannotFinishNow as stop:
                    log.stopped = stop
                    break
            else:
                log.heard.append((now, status))
                controller.failed(ticket, now, retry_after)
        while (delay := controller.wait(now)) == 0:
            ticket = controller.sent(now)
            log.sent.append(now)
            in_flight += 1
            took = latency(rng, in_flight)
            count += 1
            push(events, (now + took * rng.uniform(*uplink), count, index, ticket, now + took, None))
        if delay is not None and now + delay < wakes[index]:
            wakes[index] = now + delay
            count += 1
            push(events, (now + delay, count, index, None, 0.0, None))
    return logs
