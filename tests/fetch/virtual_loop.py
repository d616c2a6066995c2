"""An event loop whose clock jumps: hours of waiting in milliseconds, and a deadlock is an error at once.

Worker threads would know nothing of that clock, so calls run on the loop itself, each after a latency.
"""

import asyncio
import selectors
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import anyio

from harvester.fetch import pool
from harvester.fetch.threads import Threads


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: everybody waits, and nobody for the time")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For pytest's anyio plugin: an `anyio_backend` of ``("asyncio", {"loop_factory": VirtualLoop})``."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


@contextmanager
def calls_on_the_loop(latency: float = 0.15) -> Iterator[None]:
    """Within it, what should run in a thread runs on the loop, `latency` virtual seconds later."""

    async def run(self: Threads, call: Callable[[], Any], deadline: float) -> Any:
        with anyio.fail_after(deadline):
            await anyio.sleep(latency)
            return call()

    with mock.patch.object(Threads, "run", run):
        yield


def cpu_to_spare() -> AbstractContextManager[object]:
    """Within it, pools are made that see no CPU in use: virtual time passes without any."""
    return mock.patch.object(pool, "CoresUsed", return_value=lambda: 0.0)
