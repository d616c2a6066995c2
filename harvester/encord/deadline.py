"""A deadline for calls that have none of their own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from harvester.errors import Unavailable

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns. After `seconds` it is left behind in its daemon thread: it may only read.

    Raises:
        Unavailable: it has not returned in time.
    """
    ended = Future[T]()

    def run() -> None:
        try:
            ended.set_result(call())
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=run, name="harvester call", daemon=True).start()
    try:
        return ended.result(seconds)
    except TimeoutError:
        if ended.done():  # the call's own error
            raise
        raise Unavailable(f"no answer within {seconds:g} s") from None
