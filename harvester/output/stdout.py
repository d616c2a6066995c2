"""Writes to standard output, for exports without a target. They cannot be resumed or verified."""

import errno
import os
from typing import BinaryIO, NoReturn

from harvester.errors import CannotFinishNow
from harvester.events import one_line


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
