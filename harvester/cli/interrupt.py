"""SIGINT and SIGTERM: the first lets the work end in good order, the second ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
from anyio.abc import TaskStatus

# Seconds that an interrupted export has to keep what it can, before the process ends regardless. What
# was committed is safe either way.
GRACE = 15.0


class Interrupted(Exception):
    """The work was ended by a signal; the process's exit code is 128 + `signum`."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


def leave_at_once(code: int) -> NoReturn:
    """End the process here and now: no clean-up, no waiting for threads that hang in a read."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


def leave(code: int) -> None:
    """`leave_at_once`, if threads are still busy that the interpreter would wait for."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        leave_at_once(code)


@asynccontextmanager
async def interruptible(
    announce: Callable[[], None], *, leave: Callable[[int], object] = leave_at_once
) -> AsyncIterator[None]:
    """Cancel the body on the first SIGINT or SIGTERM; `leave` on the second, or after `GRACE` seconds.

    Raises:
        Interrupted: the body was cancelled. A body that had finished anyway is not interrupted.
    """
    caught: list[int] = []
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as work:

            async def watch(*, task_status: TaskStatus[None]) -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    task_status.started()
                    async for signum in signals:
                        if caught:
                            leave(128 + signum)
                        caught.append(signum)
                        announce()
                        work.cancel()
                        tasks.start_soon(end_of_grace, signum)

            async def end_of_grace(signum: int) -> None:
                await anyio.sleep(GRACE)
                leave(128 + signum)

            await tasks.start(watch)
            yield
        tasks.cancel_scope.cancel()
    if work.cancelled_caught:
        raise Interrupted(caught[0])
