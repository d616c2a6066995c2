"""When a failed request is sent again, after how long, and when to give up.

Three things keep retries from hammering a server. A request that was refused waits at the gate, which
knows the server's pace, and costs no attempt. A transient failure waits longer each time, at random, and
all of them together are held to a share of the requests by the retry budget. When failures come in a
row the pacer's breaker opens: then nothing is counted and everyone waits, however long that takes.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.errors import RateLimited, Unavailable
from harvester.fetch.bundles import Batch

T = TypeVar("T")

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
# A bundle gets a second try before it is cut: most failures pass. Its parts are under suspicion, and get one.
_BUNDLE_ATTEMPTS = 2


class RetryBudget:
    """A token bucket: retries are a `share` of the requests, and `floor` a second in any case.

    Where it is empty, retries are not given up but wait for their share.
    """

    def __init__(self, *, share: float = 0.1, floor: float = 1.0, depth: float = 10.0) -> None:
        self._share = share
        self._floor = floor
        self._depth = depth
        self._tokens = depth
        self._at: float | None = None

    def requested(self) -> None:
        """A request was sent."""
        self._tokens = min(self._depth, self._tokens + self._share)

    def take(self, now: float) -> float:
        """Takes a retry's token; in how many seconds it may be used."""
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(self._depth, self._tokens + passed * self._floor) - 1
        return max(0.0, -self._tokens / self._floor)


class RetryPolicy:
    """Sends batches until they are answered or given up.

    Args:
        max_attempts: requests that count, for a row on its own.
        broken: whether the breaker is open.
        on_retry: told of each failure that is tried again: batch, error, seconds until then.
    """

    def __init__(
        self,
        max_attempts: int,
        *,
        rng: random.Random,
        broken: Callable[[], bool],
        on_retry: Callable[[Batch, RateLimited | Unavailable, float], None],
        budget: RetryBudget | None = None,
        now: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.budget = budget or RetryBudget()
        self._max_attempts = max_attempts
        self._rng = rng
        self._broken = broken
        self._on_retry = on_retry
        self._now = now
        self._sleep = sleep

    async def __call__(self, ask: Callable[[Batch], Awaitable[T]], batch: Batch) -> T:
        """What `ask(batch)` returns. Raises its last error once the batch is given up.

        `ask` adds to `batch.spent` what counts.
        """
        while True:
            try:
                return await ask(batch)
            except (RateLimited, Unavailable) as error:
                if isinstance(error, Unavailable) and batch.spent >= self._limit(batch):
                    raise
                wait = self._wait(batch, error)
                self._on_retry(batch, error, wait)
            await self._sleep(wait)

    def _limit(self, batch: Batch) -> int:
        if len(batch.rows) == 1:
            return self._max_attempts
        return min(_BUNDLE_ATTEMPTS, self._max_attempts) if not batch.before else 1

    def is_last(self, batch: Batch) -> bool:
        """Whether the row in `batch`, alone and failed before, is given up if it fails once more."""
        return len(batch.rows) == 1 and 0 < batch.spent == self._max_attempts - 1

    def _wait(self, batch: Batch, error: RateLimited | Unavailable) -> float:
        if isinstance(error, RateLimited) or self._broken():
            return 0.0  # the gate makes it wait
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** max(0, batch.spent - 1))
        return max(
            self._rng.uniform(longest / 2, longest), error.retry_after or 0.0, self.budget.take(self._now())
        )
