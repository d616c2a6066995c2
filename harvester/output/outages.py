"""Waits for an object store that is away for a while: it throttles, fails, or cannot be reached.

obstore repeats a request for about a second. Beyond that, a run waits here, so that a nightly run outlasts
the restart of a store as it outlasts that of the API. Each attempt of a write checks the lease first, see
`harvester.output.objectstore`.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.from_thread

from harvester.errors import StoreAway
from harvester.events import say

T = TypeVar("T")

LONGEST_OUTAGE = 600.0  # seconds that one operation waits for the store. Chosen: longer than a restart takes
# Seconds between two attempts: upper end of the random first pause, and of the longest. Chosen: a store that
# is back is noticed soon, and sixteen open parts send two or three requests a second meanwhile.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 10.0
_LOOK = 0.25  # seconds between two checks whether the wait has been cancelled or `hurry` was called


class Clock:
    """The time of threads that block, and so have no event loop's clock. Tests give their own."""

    def now(self) -> float:
        """Return seconds since a fixed moment."""
        return time.monotonic()  # noqa: TID251

    def pause(self, seconds: float) -> None:
        """Sleep. Raises if this thread works for a task of an event loop that has been cancelled."""
        with suppress(anyio.NoEventLoopError):
            anyio.from_thread.check_cancelled()
        threading.Event().wait(seconds)


class Outages:
    """The outages of one store, as seen by one process. Its methods may be called from several threads.

    Args:
        name: the target's name, for messages.
        answered: whether the store is known to have answered before, for example in another process. Until it
            has, a store that cannot be reached is not waited for: its address is more likely to be wrong.
    """

    def __init__(self, name: str, *, clock: Clock | None = None, answered: bool = False) -> None:
        self.clock = clock or Clock()
        self._name = name
        self._answered = answered
        self._hurried = threading.Event()
        self._mutex = threading.Lock()
        self._since: float | None = None  # when the present outage was noticed

    def wait_out(self, call: Callable[[], T]) -> T:
        """Return what `call` returns. Repeat it while the store is away, for `LONGEST_OUTAGE` at most.

        Raises:
            StoreAway: the store is still away when the time is over or `hurry` was called.
        """
        began, pause = self.clock.now(), _FIRST_PAUSE
        while True:
            try:
                result = call()
            except StoreAway as error:
                if not self.noticed(error) or self._hurried.is_set():
                    raise
                waited = self.clock.now() - began
                if waited >= LONGEST_OUTAGE:
                    raise StoreAway(f"{error.message}, for {waited:.0f} s") from error
                self._pause(random.uniform(pause / 2, pause), error)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.over()
                return result

    def noticed(self, error: StoreAway) -> bool:
        """Note that the store is away, and log the first time. Return whether it is worth waiting for."""
        with self._mutex:
            self._answered = self._answered or error.answered
            if self._answered and self._since is None:
                self._since = self.clock.now()
                say("store.away", {"store": self._name, "why": error.message, "waiting_s": LONGEST_OUTAGE})
            return self._answered

    def over(self) -> None:
        """Note that the store answers, and log the end of an outage."""
        if self._answered and self._since is None:
            return  # as nearly always
        with self._mutex:
            self._answered = True
            if self._since is not None:
                seconds = round(self.clock.now() - self._since)
                say("store.answers", {"store": self._name, "seconds": seconds})
                self._since = None

    def hurry(self) -> None:
        """Stop waiting, now and from here on: each thread raises the error because of which it waits."""
        self._hurried.set()

    def _pause(self, seconds: float, error: StoreAway) -> None:
        until = self.clock.now() + seconds
        while (left := until - self.clock.now()) > 0:
            if self._hurried.is_set():
                raise error
            self.clock.pause(min(_LOOK, left))
