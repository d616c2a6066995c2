"""SIGINT and SIGTERM: the first asks the work to end in good order, the second ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import NoReturn

import anyio
from anyio.abc import TaskStatus

from harvester.cli.again import to_go_on
from harvester.errors import CannotFinishNow, unwrapped
from harvester.events import one_line

# Seconds after a signal when the work is cancelled, and when the process ends regardless.
#
# Ctrl-C leaves the first to the run itself (`harvester.run.GRACE`); the second is longer, so that a run ends
# by itself unless something hangs. SIGTERM is mostly followed by SIGKILL soon: containers are given 10 s.
# What was committed is safe either way.
PATIENCE: dict[int, tuple[float | None, float]] = {signal.SIGINT: (None, 18.0), signal.SIGTERM: (8.0, 9.5)}

_SHOW_CURSOR = "\x1b[?25h"  # DECTCEM; a progress bar hides it


class Interrupted(Exception):
    """The work was ended by a signal; the process's exit code is 128 + `signum`."""

    def __init__(self, signum: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signum = signum
        self.message = message


class Terminated(KeyboardInterrupt):
    """SIGTERM while no handler is installed for it: it has the same effect as Ctrl-C."""

    signum = signal.SIGTERM


def hear_signals() -> None:
    """Make SIGINT and SIGTERM raise `KeyboardInterrupt`, unless this process was started to ignore them."""

    def terminate(number: int, _: FrameType | None) -> NoReturn:
        raise Terminated

    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, terminate)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def leave_at_once(code: int) -> NoReturn:
    """End the process at once: no clean-up, no waiting for threads that hang in a read."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


def interrupt_at_once(code: int) -> NoReturn:
    """Restore the terminal, print the command that resumes, and end the process at once."""
    message = one_line(f"harvester: interrupted{to_go_on(sys.argv[1:])}")
    before = f"{_SHOW_CURSOR}\n" if os.isatty(2) else ""
    # Not through `sys.stderr`, which the progress bar intercepts.
    try:
        os.write(2, os.fsencode(f"{before}{message}\n"))
    except OSError:
        pass  # standard error is closed
    leave_at_once(code)


def leave(code: int) -> None:
    """End the process at once if the interpreter would wait for threads that are still busy."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        leave_at_once(code)


@asynccontextmanager
async def interruptible(
    announce: Callable[[], None], *, leave: Callable[[int], object] = interrupt_at_once
) -> AsyncIterator[anyio.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets: then the body should finish in good order.

    The second signal, or too long a wait, call `leave`; see `PATIENCE`.

    Raises:
        Interrupted: the body could not finish because of the signal. One that had finished anyway is
            not interrupted.
    """
    caught: list[int] = []
    stopping = anyio.Event()
    before = {number: signal.getsignal(number) for number in PATIENCE}

    async def watch(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*map(signal.Signals, PATIENCE)) as signals:
            task_status.started()
            async for signum in signals:
                if caught:
                    leave(128 + signum)
                caught.append(signum)
                announce()
                stopping.set()
                tasks.start_soon(end_of_patience, signum)

    async def end_of_patience(signum: int) -> None:
        asked_at, (grace, most) = anyio.current_time(), PATIENCE[signum]
        if grace is not None:
            await anyio.sleep(grace)
            body.cancel()
        await anyio.sleep_until(asked_at + most)
        leave(128 + signum)

    try:
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                await tasks.start(watch)
                with anyio.CancelScope() as body:
                    yield stopping
                tasks.cancel_scope.cancel()
        if body.cancelled_caught:
            raise Interrupted(caught[0])
    except CannotFinishNow as error:
        if caught:
            raise Interrupted(caught[0], error.message) from error
        raise
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set by Python, and cannot be restored
                signal.signal(number, handler)
