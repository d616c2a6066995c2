"""Signals: the first asks for a good end, the second, or too long a wait, ends the process."""

import os
import signal

import anyio
import anyio.lowlevel
import pytest

from harvester.cli import interrupt
from harvester.cli.interrupt import Interrupted, interruptible
from harvester.errors import CannotFinishNow, TargetRefused

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Left(BaseException):
    """The process would have ended here."""


def leave(code: int) -> None:
    raise Left(code)


def signal_me(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_asks_the_body_to_stop(number: int) -> None:
    """The body that could not finish because of it is interrupted, with the signal's number."""
    announced = []
    with pytest.raises(Interrupted, match="2 of 9 parts") as found:  # noqa: PT012 - the body is what is tested
        async with interruptible(lambda: announced.append(1), leave=leave) as stopping:
            signal_me(number)
            await stopping.wait()
            raise CannotFinishNow("stopped: 2 of 9 parts are kept")
    assert found.value.signum == number
    assert announced == [1]


async def test_a_body_that_finishes_anyway_is_not_interrupted() -> None:
    """The last part was under way: the export is complete, and says so."""
    async with interruptible(lambda: None, leave=leave) as stopping:
        signal_me(signal.SIGINT)
        await stopping.wait()


async def test_another_error_is_raised_as_itself() -> None:
    """Not in a group, and not as an interruption."""
    with pytest.raises(TargetRefused):
        async with interruptible(lambda: None, leave=leave):
            raise TargetRefused("in use")


async def test_trouble_without_a_signal_is_no_interruption() -> None:
    """The server is down: exit 5, not 130."""
    with pytest.raises(CannotFinishNow):
        async with interruptible(lambda: None, leave=leave):
            raise CannotFinishNow("the server is down")


async def test_the_second_signal_leaves_at_once() -> None:
    """Whatever the body is doing."""
    left = []
    async with interruptible(lambda: None, leave=left.append) as stopping:
        signal_me(signal.SIGINT)
        await stopping.wait()
        signal_me(signal.SIGTERM)
        while not left:
            await anyio.lowlevel.checkpoint()
    assert left == [128 + signal.SIGTERM]


async def test_too_long_an_end_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that hangs does not keep the process alive."""
    monkeypatch.setattr(interrupt, "PATIENCE", 0)
    left = []
    async with interruptible(lambda: None, leave=left.append):
        signal_me(signal.SIGINT)
        while not left:
            await anyio.lowlevel.checkpoint()
    assert left == [128 + signal.SIGINT]
