"""Lines to a stream instead of files."""

import errno
import io
import os

import pytest

from harvester.errors import CannotFinishNow
from harvester.fetch.pool import FailedRow
from harvester.output.stdout import StreamKeep


class Broken(io.RawIOBase):
    """A stream that takes nothing."""

    def __init__(self, code: int) -> None:
        self.code = code

    def write(self, data: object) -> int:
        raise OSError(self.code, os.strerror(self.code))


def test_lines_pass_in_the_order_they_come() -> None:
    """And failed rows go to whoever reports them."""
    stream, failed = io.BytesIO(), list[FailedRow]()
    keep = StreamKeep(stream, on_failed=failed.append)
    row = FailedRow("label", "title", "SkipRow", "deleted", 1, None)
    keep.write("objects", b"1\n", 1)
    keep.fail(row)
    keep.write("classifications", b"2\n", 1)
    keep.flush()
    assert stream.getvalue() == b"1\n2\n"
    assert failed == [row]


def test_a_reader_that_has_gone_is_a_broken_pipe() -> None:
    """Which the command line ends on without a word."""
    with pytest.raises(BrokenPipeError):
        StreamKeep(Broken(errno.EPIPE), on_failed=print).write("objects", b"1\n", 1)


def test_a_full_disk_under_standard_output_is_one_line() -> None:
    """The system's reason, exit 5."""
    with pytest.raises(CannotFinishNow, match="standard output: No space left on device"):
        StreamKeep(Broken(errno.ENOSPC), on_failed=print).write("objects", b"1\n", 1)
