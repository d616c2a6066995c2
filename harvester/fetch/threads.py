"""Worker threads for blocking calls, one for each that is under way or was left: the gate bounds the former.

anyio's own threads cost twice as much a call (40 µs more of CPU: 3 % of a request of one row, 0.3 % of one
of a hundred), and an interpreter waits for them at its exit for as long as a read hangs.
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
    """Belongs to one event loop; a thread is kept for the calls that follow, until `close`.

    No interpreter waits for them at its exit: what they do is read.
    """

    def __init__(self) -> None:
        self._todo: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = self._idle = 0

    async def run(self, call: Callable[[], T], deadline: float) -> T:
        """What `call` returns or raises, in a thread.

        Where `deadline` seconds pass, or this is cancelled, the thread is left to itself and what comes of it
        is forgotten. Who is cancelled already calls nothing.

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
        """Ends the threads: those that are idle now, the others when their calls end. Waits for none."""
        for _ in range(self._threads):
            self._todo.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while job := self._todo.get():
            call, ended = job
            try:
                tell = partial(self._done, ended, call(), None)
            except StopIteration as error:  # which no future takes
                tell = partial(self._done, ended, None, RuntimeError(f"a call raised {error!r}"))
            except BaseException as error:
                tell = partial(self._done, ended, None, error)
            try:
                loop.call_soon_threadsafe(tell)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            del job, call, ended, tell  # what a thread holds while it waits would live on

    def _done(self, ended: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        self._idle += 1
        _end(ended, result, error)


def _end(ended: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if ended.done():
        return
    if error is not None:
        ended.set_exception(error)
    else:
        ended.set_result(result)
