"""Writes to standard output, for exports without a target. They cannot be resumed or verified."""

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
    """Write all of `data` and flush it. Blocks while the reader is slow.

    Raises:
        BrokenPipeError: the reader has closed the pipe; the command line then ends without a message.
        CannotFinishNow: another error of the system, which the message names.
    """
    left = memoryview(data)
    try:
        while left:  # an unbuffered stream may write less than it was given
            left = left[stream.write(left) or _nothing_taken() :]
        stream.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError(*error.args) from error
        raise CannotFinishNow(one_line(f"standard output: {error.strerror or error}")) from error


def _nothing_taken() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
