"""SIGINT and SIGTERM: the first asks the work to end in good order, the second ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
from anyio.abc import TaskStatus

from harvester.errors import CannotFinishNow, unwrapped

# Seconds after which an interrupted process ends regardless. Longer than `harvester.run.GRACE`, so that
# a run ends by itself unless something hangs; what was committed is safe either way.
PATIENCE = 18.0


class Interrupted(Exception):
    """The work was ended by a signal; the process's exit code is 128 + `signum`."""

    def __init__(self, signum: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signum = signum
        self.message = message


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
) -> AsyncIterator[anyio.Event]:
    """Gives an event that the first SIGINT or SIGTERM sets: the body is to end in good order.

    The second signal, or `PATIENCE` seconds, call `leave`.

    Raises:
        Interrupted: the body could not finish because of the signal. One that had finished anyway is
            not interrupted.
    """
    caught: list[int] = []
    stopping = anyio.Event()

    async def watch(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for signum in signals:
                if caught:
                    leave(128 + signum)
                caught.append(signum)
                announce()
                stopping.set()
                tasks.start_soon(end_of_patience, signum)

    async def end_of_patience(signum: int) -> None:
        await anyio.sleep(PATIENCE)
        leave(128 + signum)

    try:
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                await tasks.start(watch)
                yield stopping
                tasks.cancel_scope.cancel()
    except CannotFinishNow as error:
        if caught:
            raise Interrupted(caught[0], error.message) from error
        raise
