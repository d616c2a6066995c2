"""Lines to a stream instead of files."""

import errno
import io
import os

import pytest

from harvester.errors import CannotFinishNow
from harvester.output.stdout import send


class Broken(io.RawIOBase):
    """A stream that takes nothing."""

    def __init__(self, code: int) -> None:
        self.code = code

    def write(self, data: object) -> int:
        raise OSError(self.code, os.strerror(self.code))


class Narrow(io.BytesIO):
    """A stream that takes three bytes at a time."""

    def write(self, data: object) -> int:
        return super().write(bytes(data)[:3])


@pytest.mark.parametrize("stream", [io.BytesIO(), Narrow()])
def test_all_is_sent_in_the_order_it_comes(stream: io.BytesIO) -> None:
    """Also where the stream takes little at a time; and nothing waits in a buffer."""
    buffered = io.BufferedWriter(stream)
    for one in (stream, buffered, stream):
        send(one, b'{"kind":1}\n')
    assert stream.getvalue() == b'{"kind":1}\n' * 3


def test_a_reader_that_has_gone_is_a_broken_pipe() -> None:
    """Which the command line ends on without a word."""
    with pytest.raises(BrokenPipeError):
        send(Broken(errno.EPIPE), b"1\n")


def test_a_full_disk_under_standard_output_is_one_line() -> None:
    """The system's reason, exit 5."""
    with pytest.raises(CannotFinishNow, match="standard output: No space left on device"):
        send(Broken(errno.ENOSPC), b"1\n")
