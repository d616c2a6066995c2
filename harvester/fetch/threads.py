"""Worker threads for blocking calls: one for each call in flight or abandoned.

The rate limiter limits the calls in flight, so there is no limit here. anyio's worker threads are not used
for two reasons. They cost twice as much per call (measured: 40 µs more of CPU, which is 3 % of a request for
one row and 0.3 % of one for a hundred). And the interpreter waits for them at its exit, for as long as a read
hangs.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import anyio.lowlevel

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Threads:
    """Run blocking calls in threads for one event loop. Threads are reused until `close`.

    They are daemon threads: the interpreter does not wait for them at its exit. That is safe because the
    calls only read.
    """

    def __init__(self) -> None:
        self._todo: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = self._idle = 0

    async def run(self, call: Callable[[], T], deadline: float) -> T:
        """Run `call` in a thread; return what it returns, or raise what it raises.

        After `deadline` seconds, or if this is cancelled, the call is abandoned: its thread continues, and
        its result is dropped. If the task is cancelled already, the call does not start.

        Raises:
            TimeoutError: the deadline has passed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()
        if self._idle:
            self._idle -= 1
        else:
            threading.Thread(target=self._work, args=(loop,), name="harvester call", daemon=True).start()
            self._threads += 1
        self._todo.put((call, ended))
        timer = loop.call_later(deadline, _end, ended, None, TimeoutError())
        try:
            return await ended
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the threads: idle ones at once, the others when their calls end. Does not wait."""
        for _ in range(self._threads):
            self._todo.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while job := self._todo.get():
            call, ended = job
            try:
                tell = partial(self._done, ended, call(), None)
            except StopIteration as error:  # a future refuses this exception
                tell = partial(self._done, ended, None, RuntimeError(f"a call raised {error!r}"))
            except BaseException as error:
                tell = partial(self._done, ended, None, error)
            try:
                loop.call_soon_threadsafe(tell)
            except RuntimeError:
                return  # the event loop is closed: the result is not needed any more
            # Without this, an idle thread would keep the last result in memory.
            del job, call, ended, tell

    def _done(self, ended: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        self._idle += 1
        _end(ended, result, error)


def _end(ended: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    """Complete the future, unless the call was abandoned: then the future is done already."""
    if ended.done():
        return
    if error is not None:
        ended.set_exception(error)
    else:
        ended.set_result(result)
