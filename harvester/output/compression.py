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
from typing import BinaryIO, Protocol, cast

import zstandard

from harvester.settings import Compression

SUFFIXES: Mapping[Compression | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}

# Errors that reading a damaged file may raise, in addition to those of reading any file.
DAMAGE = (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError)

_ZSTD_LEVEL = 3  # zstd's own default
_GZIP_LEVEL = 6  # gzip's own default
_GZIP_HEADER = 16 + zlib.MAX_WBITS
_PIECE = 1024**2


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
    """Return a stream of the uncompressed bytes of the file `name`. Reading it may raise `DAMAGE`."""
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
