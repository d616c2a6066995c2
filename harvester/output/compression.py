"""Compression of parts with gzip or zstd, in formats that DuckDB, polars and pandas read directly.

Equal lines give equal bytes: one thread, a fixed level, no time or name in the header, and no flush between
writes. This also depends on the version of the compressor. zstd comes with the ``zstandard`` package, whose
version is locked. gzip uses the zlib that Python was built with, since the output of faster libraries depends
on the processor.
"""

import gzip
import io
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from harvester.settings import Compression

SUFFIXES: Mapping[Compression | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}

# A line in a target has at most `_LONGEST` bytes. If it has more than `_ANY_LENGTH`, it must not have been
# compressed by more than `_HIGHEST_RATIO`, which the JSON of labels does not come near to. So a small file
# cannot fill the memory of a process that reads it.
_LONGEST = 2 * 1024**3  # bytes
_ANY_LENGTH = 128 * 1024**2  # bytes
_HIGHEST_RATIO = 1000


class OverlongLine(Exception):
    """A line is longer than any that is written into a target."""


# Errors that reading a damaged file may raise, in addition to those of reading any file.
DAMAGE = (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError, OverlongLine)

_ZSTD_LEVEL = 3  # zstd's own default
_GZIP_LEVEL = 6  # gzip's own default
_GZIP_HEADER = 16 + zlib.MAX_WBITS
_PIECE = 1024**2
_TAIL = 4096  # bytes: most lines are shorter


class Compressor(Protocol):
    """Turns the data into one compressed stream. Compressed bytes are returned when they are ready."""

    def compress(self, data: bytes, /) -> bytes:
        """Compress `data`. Returns the compressed bytes that are ready so far."""

    def flush(self) -> bytes:
        """End the stream and return the remaining bytes."""


def compressor(compression: Compression | None) -> Compressor:
    """Return a compressor for one file: a zstd frame with a checksum, a gzip member, or the data as is."""
    match compression:
        case "zstd":
            settings = zstandard.ZstdCompressor(
                level=_ZSTD_LEVEL, write_checksum=True, write_content_size=False
            )
            return cast(Compressor, settings.compressobj())
        case "gzip":
            return cast(Compressor, zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_HEADER))
        case None:
            return _AsItIs()


def decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    """Return a stream of the uncompressed lines of the file `name`, which closes `stream` when it is closed.

    Reading it may raise `DAMAGE`.
    """
    sent = cast(BinaryIO, _Counted(stream))
    raw: io.RawIOBase
    if name.endswith(SUFFIXES["zstd"]):
        raw = cast(io.RawIOBase, zstandard.ZstdDecompressor().stream_reader(sent, read_size=_PIECE))
    elif name.endswith(SUFFIXES["gzip"]):
        raw = cast(io.RawIOBase, gzip.GzipFile(fileobj=sent, mode="rb"))
    else:
        raw = cast(io.RawIOBase, sent)
    return io.BufferedReader(_Lines(raw, cast(_Counted, sent)), _PIECE)


class _Counted(io.RawIOBase):
    """A stream that counts the bytes that are read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        size: int = cast(io.RawIOBase, self._stream).readinto(buffer) or 0
        self.bytes += size
        return size


class _Lines(io.RawIOBase):
    """A stream of lines that raises `OverlongLine` instead of returning all of such a line."""

    def __init__(self, raw: io.RawIOBase, sent: _Counted) -> None:
        self._raw = raw
        self._sent = sent
        self._since_line_break = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        self._sent.close()  # gzip.GzipFile leaves it open
        super().close()

    def readinto(self, buffer: Any) -> int:
        size: int = self._raw.readinto(buffer)
        self._since_line_break = _since_line_break(buffer[:size], self._since_line_break)
        if self._since_line_break > min(_LONGEST, max(_ANY_LENGTH, _HIGHEST_RATIO * self._sent.bytes)):
            raise OverlongLine(f"it has a line of more than {self._since_line_break:,} bytes")
        return size


def _since_line_break(data: memoryview, before: int) -> int:
    """Return how many bytes stand after the last line break, `before` of them before `data`."""
    for start in (max(0, len(data) - _TAIL), 0):  # most often it is near the end
        last = bytes(data[start:]).rfind(b"\n")
        if last >= 0:
            return len(data) - start - last - 1
    return before + len(data)


class _AsItIs:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""
