"""Lines to standard output instead of files: nothing to resume, nothing to verify."""

import errno
import os
import sys
from typing import BinaryIO, NoReturn

from harvester.errors import CannotFinishNow
from harvester.events import one_line


def standard_output() -> BinaryIO:
    """Standard output without a buffer: what cannot be written is not kept, to be tried once more at exit.

    And flushing a buffer would wait for the thread that is stuck in writing it.
    """
    sys.stdout.flush()
    raw: BinaryIO = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    return raw


def send(stream: BinaryIO, data: bytes) -> None:
    """Writes all of `data`, and keeps nothing of it back. Blocks while the reader is slow.

    Raises:
        BrokenPipeError: the reader has gone; the command line ends quietly on it.
        CannotFinishNow: it cannot be written, for the system's reason.
    """
    left = memoryview(data)
    try:
        while left:  # an unbuffered stream takes as much as it has room for
            left = left[stream.write(left) or _nothing_taken() :]
        stream.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError(*error.args) from error
        raise CannotFinishNow(one_line(f"standard output: {error.strerror or error}")) from error


def _nothing_taken() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
