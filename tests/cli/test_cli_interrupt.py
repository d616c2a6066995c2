"""Signals: the first asks for a good end, the second, or too long a wait, ends the process."""

import os
import signal

import anyio
import anyio.lowlevel
import pytest

from harvester.cli import interrupt
from harvester.cli.interrupt import Interrupted, interruptible
from harvester.errors import CannotFinishNow, TargetRefused
from harvester.run import GRACE

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_too_long_an_end_is_cut_short(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A body that hangs does not keep the process alive."""
    monkeypatch.setattr(interrupt, "PATIENCE", {signal.SIGINT: (None, 0), signal.SIGTERM: (None, 0)})
    left = []
    async with interruptible(lambda: None, leave=left.append):
        signal_me(number)
        while not left:
            await anyio.lowlevel.checkpoint()
    assert left == [128 + number]


async def test_a_body_that_outlives_sigterm_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may still clean up, and the end is that of the signal."""
    monkeypatch.setattr(interrupt, "PATIENCE", {signal.SIGINT: (None, 60), signal.SIGTERM: (0.0, 60)})
    cleaned = []
    with pytest.raises(Interrupted) as found:  # noqa: PT012 - the body is what is tested
        async with interruptible(lambda: None, leave=leave):
            signal_me(signal.SIGTERM)
            try:
                await anyio.sleep_forever()
            finally:
                cleaned.append(1)
    assert (found.value.signum, cleaned) == (signal.SIGTERM, [1])


def test_sigterm_is_over_before_a_container_is_killed_and_ctrl_c_has_the_grace_of_a_run() -> None:
    """Containers are given 10 s after SIGTERM; a run gives open parts its own grace."""
    grace, most = interrupt.PATIENCE[signal.SIGTERM]
    assert grace == 8
    assert grace < most < 10
    grace, most = interrupt.PATIENCE[signal.SIGINT]
    assert grace is None
    assert most > GRACE == 15


async def test_a_signal_after_the_body_does_what_it_did_before() -> None:
    """The handlers are those of before; the event loop would leave the system's, which end the process."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        async with interruptible(lambda: None, leave=leave):
            pass
        signal_me(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
