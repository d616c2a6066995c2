"""Decide whether a failed request is sent again, after which time, and when to give up.

Three mechanisms protect the server from retries. A refused request (429) waits at the rate limiter and costs
no attempt. After a transient failure a request waits for a random time that doubles with each attempt
(exponential backoff with jitter), and the retry budget limits all retries together to a share of the
requests. After several failures in a row the breaker opens: then no attempt is counted, and all requests wait
until the server is up.

See docs/rate-control.md.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.errors import RateLimited, Unavailable
from harvester.fetch.bundles import Batch

T = TypeVar("T")

# Upper end of the random wait, in seconds: after the first failure, and at most. The lower end is half of it.
# Chosen.
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
# Attempts for a bundle before it is split, because most failures are transient. Its parts get one attempt
# each before they are split again: one of them probably holds the row that fails. Chosen.
_BUNDLE_ATTEMPTS = 2


class RetryBudget:
    """A token bucket that limits the retries of all requests together.

    If it is empty, a retry is not dropped but waits for its token.

    Args:
        share: tokens added by each request, so that at most this share of the requests are retries.
        floor: tokens added per second in any case.
        depth: most tokens that can be saved.
    """

    def __init__(self, *, share: float = 0.1, floor: float = 1.0, depth: float = 10.0) -> None:
        self._share = share
        self._floor = floor
        self._depth = depth
        self._tokens = depth
        self._at: float | None = None

    def requested(self) -> None:
        """Note that a request was sent."""
        self._tokens = min(self._depth, self._tokens + self._share)

    def take(self, now: float) -> float:
        """Take the token of one retry. Return the seconds after which it may be used."""
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(self._depth, self._tokens + passed * self._floor) - 1
        return max(0.0, -self._tokens / self._floor)


class RetryPolicy:
    """Send batches until they are answered or given up.

    Args:
        max_attempts: attempts for a single row; see `Batch.spent` for which requests count.
        broken: returns whether the breaker is open.
        on_retry: called before each retry with the batch, the error and the seconds until the retry.
        now, sleep: the clock and the way to wait; tests replace them.
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
        """Return what `ask(batch)` returns, after retries. Raise its last error when the batch is given up.

        `ask` must add 1 to `batch.spent` for each request that counts as an attempt.
        """
        while True:
            try:
                return await ask(batch)
            except (RateLimited, Unavailable) as error:
                # A refused request is never given up: it says nothing about the rows.
                if isinstance(error, Unavailable) and batch.spent >= self._limit(batch):
                    raise
                wait = self._wait(batch, error)
                self._on_retry(batch, error, wait)
            await self._sleep(wait)

    def _limit(self, batch: Batch) -> int:
        """Return the number of attempts for this batch: few while it can still be split."""
        if len(batch.rows) == 1:
            return self._max_attempts
        return min(_BUNDLE_ATTEMPTS, self._max_attempts) if not batch.before else 1

    def is_last(self, batch: Batch) -> bool:
        """Return whether `batch` is a single row that is given up if it fails once more."""
        return len(batch.rows) == 1 and 0 < batch.spent == self._max_attempts - 1

    def _wait(self, batch: Batch, error: RateLimited | Unavailable) -> float:
        """Return the seconds until the next attempt."""
        if isinstance(error, RateLimited) or self._broken():
            return 0.0  # it waits at the rate limiter instead
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** max(0, batch.spent - 1))
        return max(
            self._rng.uniform(longest / 2, longest), error.retry_after or 0.0, self.budget.take(self._now())
        )
