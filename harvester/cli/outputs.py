"""The standard streams of the command: if one cannot be written, the exit code is still that of the work.

Standard error is for people: what cannot be written there is lost, and nothing else happens. Standard output
is for data and results, and says when it cannot be written; see `harvester.output.stdout`.
"""

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The name of the error handler that replaces what a terminal cannot show.
PLAIN = "harvester.plain"

# Of the same width, so that no column of a table moves.
_STAND_INS = str.maketrans("✓✗·…–█▉▊▋▌▍▎▏", "+x-.-########")


def open_outputs() -> None:
    """Prepare this process's standard streams. For the command only: a host program has its own.

    A stream that was closed from the start is opened, lest a file of ours takes its number and what is said
    ends up in it. Standard output is then a pipe whose reader is gone, which is what it means.
    """
    if _is_closed(0):
        _put(0, os.open(os.devnull, os.O_RDONLY))
    if _is_closed(1):
        reader, writer = os.pipe()
        _put(1, writer)
        if reader != 1:
            os.close(reader)
    if _is_closed(2):
        _put(2, os.open(os.devnull, os.O_WRONLY))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)),
        encoding=_encoding_of(sys.stdout),
        errors=PLAIN,
        line_buffering=os.isatty(1),
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Heedless(2, "w", closefd=False)),
        encoding=_encoding_of(sys.stderr),
        errors=PLAIN,
        line_buffering=True,
    )


class _Heedless(io.FileIO):
    """A file that ignores failed writes: a full disk, or a reader that has gone."""

    def write(self, data: "ReadableBuffer", /) -> int:
        size = memoryview(data).nbytes
        try:
            return super().write(data) or size
        except OSError:
            return size


def _encoding_of(stream: TextIO | None) -> str | None:
    """Return the encoding that Python chose for a stream; None, the default, if the stream was closed."""
    return None if stream is None else stream.encoding


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _put(number: int, opened: int) -> None:
    """Give an open file the number of a standard stream, which child processes inherit."""
    os.dup2(opened, number)
    os.set_inheritable(number, True)
    if opened != number:
        os.close(opened)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace each character that cannot be encoded by ASCII of the same width."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_STAND_INS)
    return "".join(one if one.isascii() else "?" * cell_len(one) for one in text), error.end


codecs.register_error(PLAIN, _plain)
