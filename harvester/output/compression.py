"""Parts as gzip or zstd files, which DuckDB, polars, pandas, `zstdcat` and `gzip -dc` read as they are.

The same lines give the same bytes: one thread, a fixed level, no time and no name in the header, and the
compressor is not told where one write ends and the next begins. That rests on the compressor itself,
too: zstd's is part of the ``zstandard`` package and locked with it; gzip's is the zlib that Python was
built with, chosen over faster ones whose output depends on the processor.
"""

import gzip
import io
import zlib
from collections.abc import Mapping
from typing import BinaryIO, Protocol, cast

import zstandard

from harvester.settings import Compression

SUFFIXES: Mapping[Compression | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}

# What reading a damaged file may raise, beside what reading any file may.
DAMAGE = (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError)

_ZSTD_LEVEL = 3  # zstd's own default
_GZIP_LEVEL = 6  # gzip's own default
_GZIP_HEADER = 16 + zlib.MAX_WBITS
_PIECE = 1024**2


class Compressor(Protocol):
    """Turns what is written into one compressed stream. Bytes come out as they are ready."""

    def compress(self, data: bytes, /) -> bytes:
        """Takes in `data`."""

    def flush(self) -> bytes:
        """The rest. Nothing can be taken in afterwards."""


def compressor(compression: Compression | None) -> Compressor:
    """A new stream: one zstd frame with a checksum, one gzip member, or `data` as it is."""
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
    """The bytes that went into the file of that name. Raises `DAMAGE` as they are read."""
    raw: io.RawIOBase
    if name.endswith(SUFFIXES["zstd"]):
        raw = cast(io.RawIOBase, zstandard.ZstdDecompressor().stream_reader(stream, read_size=_PIECE))
    elif name.endswith(SUFFIXES["gzip"]):
        raw = cast(io.RawIOBase, gzip.GzipFile(fileobj=stream, mode="rb"))
    else:
        return stream
    return io.BufferedReader(raw, _PIECE)


class _AsItIs:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""
