"""A rehearsal of the fetching: the real pacer and bundle sizer, against a server made of what was measured.

Pure, and in a time of its own: an hour of requests takes a second.
"""

import heapq
import random
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import NamedTuple

import msgspec

from harvester.fetch.bundles import MOST_ROWS, BundleSizer
from harvester.fetch.pacing import Pacer, Ticket
from harvester.settings import Limits

# After so many requests all has been learnt that will be; the rest goes on as the second half of these.
_MOST_REQUESTS = 1500


class Weight(msgspec.Struct, frozen=True, gc=False):
    """What one label row weighs in bytes: as it comes, and as the lines made of it."""

    body: int
    lines: int


class Server(msgspec.Struct, frozen=True):
    """How a server answers: seconds for any request and for each byte of its answer; requests a second (None:
    as many as come), and how many at once after a pause."""

    latency: float
    per_byte: float
    rate: float | None = None
    burst: float = 1.0


class Course(msgspec.Struct, frozen=True):
    """How it went: requests, and seconds until the last answer."""

    requests: float
    seconds: float


def rehearse(
    parts: Sequence[int],
    weights: Sequence[Weight],
    chances: Sequence[float],
    server: Server,
    limits: Limits,
    *,
    open_parts: int,
    rng: random.Random,
) -> Course:
    """Fetches `parts`, given as their numbers of rows, `open_parts` of them at a time.

    What a row weighs is drawn from `weights`, each with its chance.
    """
    rehearsal = _Rehearsal(server, limits, rng)
    todo = (rows for rows in parts if rows)
    # Only the first stream is asked. The others stand open because a part's first bundle is cut when it is
    # opened, so as long as bundles were then: the parts open at the start ask for that many small bundles.
    streams = deque(_OpenPart(rows, rehearsal.sizer.size) for rows in islice(todo, open_parts))
    cumulated = list(accumulate(chances))
    halfway = Course(0, 0)
    asked = asked_halfway = 0
    while streams and rehearsal.sent < _MOST_REQUESTS:
        stream = streams[0]  # as in the pool, the one that was begun first goes first
        drawn = rng.choices(weights, cum_weights=cumulated, k=stream.next)
        body, lines = sum(row.body for row in drawn), sum(row.lines for row in drawn)
        rehearsal.ask(_SimulatedRequest(len(drawn), body, lines))
        asked += len(drawn)
        stream.left -= len(drawn)
        stream.next = min(stream.left, rehearsal.sizer.size)
        if not stream.left:
            streams.popleft()
            streams.extend(_OpenPart(rows, rehearsal.sizer.size) for rows in islice(todo, 1))
        if rehearsal.sent == _MOST_REQUESTS // 2:
            halfway, asked_halfway = Course(rehearsal.sent, rehearsal.now), asked
    rest = sum(parts) - asked
    if not rest:
        return rehearsal.end()
    more = rest / (asked - asked_halfway)
    course = Course(rehearsal.sent, rehearsal.now)
    return Course(
        course.requests + more * (course.requests - halfway.requests),
        course.seconds + more * (course.seconds - halfway.seconds),
    )


class _OpenPart:
    """A part that is open: rows left, and how many of them the next request asks for."""

    def __init__(self, rows: int, size: int) -> None:
        self.left = rows
        self.next = min(rows, size)


class _SimulatedRequest(NamedTuple):
    """Rows that are asked for together, and what they weigh."""

    rows: int
    body: int
    lines: int


class _SimulatedResponse(NamedTuple):
    """An answer on its way; the first to come is the least."""

    at: float
    number: int
    ticket: Ticket
    request: _SimulatedRequest
    held: int
    refused: bool


class _Rehearsal:
    """The pool's state machines, and the answers under way."""

    def __init__(self, server: Server, limits: Limits, rng: random.Random) -> None:
        self.sizer = BundleSizer(cap=limits.bundle_size or MOST_ROWS, max_memory=limits.max_memory)
        self.now = 0.0
        self.sent = 0
        self._pacer = Pacer(rng=rng, max_rps=limits.max_rps, concurrency=limits.concurrency)
        self._server = server
        self._saved_up = server.burst
        self._taken = 0.0  # when it last took one
        self._budget = limits.max_memory
        self._held = 0
        self._coming: list[_SimulatedResponse] = []
        self._again: list[_SimulatedRequest] = []

    def ask(self, request: _SimulatedRequest) -> None:
        """Sends a request as soon as pacer and budget let it go, and before it those that were refused."""
        while self._again:
            self._send(self._again.pop())
        self._send(request)

    def end(self) -> Course:
        """Hears the last answers."""
        while self._coming:
            self._hear()
            while self._again:
                self._send(self._again.pop())
        return Course(self.sent, self.now)

    def _send(self, request: _SimulatedRequest) -> None:
        held = self.sizer.footprint(request.rows)
        while self._coming and self._held + held > self._budget:
            self._hear()
        while (delay := self._pacer.wait(self.now)) != 0:
            if delay is None or (self._coming and self._coming[0].at <= self.now + delay):
                self._hear()
            else:
                self.now += delay
        refused = not self._takes()
        took = self._server.latency + (0 if refused else self._server.per_byte * request.body)
        ticket = self._pacer.sent(self.now)
        self.sent += 1
        self._held += held
        heapq.heappush(
            self._coming, _SimulatedResponse(self.now + took, self.sent, ticket, request, held, refused)
        )

    def _takes(self) -> bool:
        """Whether the server takes one more request now."""
        rate = self._server.rate
        if rate is None:
            return True
        self._saved_up = min(self._server.burst, self._saved_up + (self.now - self._taken) * rate)
        self._taken = self.now
        if self._saved_up < 1:
            return False
        self._saved_up -= 1
        return True

    def _hear(self) -> None:
        answer = heapq.heappop(self._coming)
        took, self.now = answer.at - answer.ticket.sent, max(self.now, answer.at)
        self._held -= answer.held
        if answer.refused:
            self._pacer.refused(answer.ticket, self.now, None)
            self._again.append(answer.request)
            return
        request = answer.request
        self._pacer.succeeded(answer.ticket, self.now, weight=request.rows)
        self.sizer.answered(request.rows, request.body, request.lines, took)
