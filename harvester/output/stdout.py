"""Lines to standard output instead of files: nothing to resume, nothing to verify."""

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from harvester.errors import CannotFinishNow
from harvester.events import one_line

if TYPE_CHECKING:
    from harvester.fetch.pool import FailedRow


class StreamKeep:
    """Passes lines on as they come, in the order of the plan.

    Blocks while the reader is slow, and so holds the whole run back. A reader that has gone shows as
    BrokenPipeError, which the command line ends quietly on. `on_failed` hears of rows that failed.
    """

    def __init__(self, stream: BinaryIO, *, on_failed: Callable[["FailedRow"], None]) -> None:
        self._stream = stream
        self._on_failed = on_failed

    def write(self, kind: str, lines: bytes, records: int) -> None:
        """Writes `lines`, all of them."""
        left = memoryview(lines)
        try:
            while left:  # an unbuffered stream takes as much as it has room for
                left = left[self._stream.write(left) or _nothing_taken() :]
        except OSError as error:
            raise _translate(error) from error

    def fail(self, row: "FailedRow") -> None:
        """Reports a row that could not be had."""
        self._on_failed(row)

    def flush(self) -> None:
        """Sends on what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            raise _translate(error) from error


def _nothing_taken() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _translate(error: OSError) -> Exception:
    if error.errno == errno.EPIPE:
        return BrokenPipeError(*error.args)
    return CannotFinishNow(one_line(f"standard output: {error.strerror or error}"))
