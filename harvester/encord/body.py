"""Read and decompress the body of an answer, within limits on its size and its compression ratio.

A body is in memory once, however large it is: it is decompressed piece by piece into one buffer.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

import deflate
import urllib3

PIECE = 1024**2  # bytes read at once: the memory needed in addition to the body itself. Chosen
# Largest body, in bytes, that is decompressed in one step, which is faster. Answers to bundles are smaller.
# Chosen.
_AT_ONCE = 8 * 1024**2
# Decompression bombs: deflate reaches at most 1032:1, and only for one byte repeated. Label data stays far
# below.
_HIGHEST_RATIO = 1000
_BITE = 16 * 1024  # compressed bytes that are decompressed between two checks of the ratio. Chosen
_RATIO_MATTERS_FROM = 10 * 1024**2  # bytes of output; a smaller body does no harm. Chosen
_GZIP = ("gzip", "x-gzip")
_GZIP_TAIL = struct.Struct("<II")  # CRC-32 and size of the content (RFC 1952)


class AnswerTooLarge(Exception):
    """The body is larger than allowed, or is a decompression bomb."""


class BrokenAnswer(Exception):
    """The body is truncated, damaged, or does not come from the API. A retry may help."""


class UnreadableAnswer(Exception):
    """The body is complete, but it is not valid JSON or is nested too deeply: one of its rows is corrupt.

    `body` holds the body if it may help to find the fault.
    """

    def __init__(self, message: str, body: bytes | bytearray = b"") -> None:
        super().__init__(message)
        self.body = body


class RedirectRefused(Exception):
    """The server answered with a redirect. It is not followed: the request is signed for this server."""


class TunnelRefused(Exception):
    """The proxy refuses to open a tunnel to the server. `status` is its HTTP status for CONNECT."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status


class TunnelFailed(Exception):
    """The proxy failed to open a tunnel to the server. A retry may help."""


def read_body(response: urllib3.BaseHTTPResponse, limit: int) -> tuple[bytes | bytearray, int]:
    """Return the decompressed body, and its size in bytes on the network. Then release the connection.

    Raises:
        AnswerTooLarge: the body has more than `limit` bytes.
        BrokenAnswer: the compressed data are damaged or truncated.
        urllib3.exceptions.HTTPError: the connection broke, timed out, or ended before the body did.
    """
    try:
        expected = response.length_remaining
        if expected is not None and expected > limit:
            raise AnswerTooLarge(f"an answer of {expected:,} bytes; at most {limit:,} are taken")
        encoding = encoding_of(response)
        if expected is not None and expected <= PIECE:
            sent = response.read(decode_content=False)
            wire_bytes = len(sent)
            body = unpacked(sent, encoding, limit=limit)
        else:
            counted = _CountedPieces(wire_pieces(response))
            body = _joined(decoded(counted, encoding, limit=limit))
            wire_bytes = counted.bytes
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return body, wire_bytes


def encoding_of(response: urllib3.BaseHTTPResponse) -> str:
    """Return the content encoding of the body; "" if there is none."""
    return response.headers.get("Content-Encoding", "").strip().lower()


def wire_pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body as it arrives, in pieces, still compressed."""
    while piece := response.read(PIECE, decode_content=False):
        yield piece


def unpacked(sent: bytes, encoding: str, *, limit: int) -> bytes | bytearray:
    """Decompress a body of at most `PIECE` bytes. Raises what `read_body` raises."""
    if encoding in _GZIP and (plain := _one_member(sent, limit)) is not None:
        return plain
    return _joined(decoded((sent,), encoding, limit=limit))


def decoded(pieces: Iterable[bytes], encoding: str, *, limit: float) -> Iterator[bytes]:
    """Yield the decompressed `pieces`. Raises what `read_body` raises."""
    if encoding in ("", "identity"):
        plain = iter(pieces)
    elif encoding in _GZIP:
        plain = _gunzip(pieces)
    else:
        raise BrokenAnswer(f"the answer is encoded with {encoding!r}, which was not asked for")
    size = 0
    for piece in plain:
        size += len(piece)
        if size > limit:
            raise AnswerTooLarge(f"an answer of more than {limit:,} bytes")
        yield piece


def _one_member(sent: bytes, limit: int) -> bytearray | None:
    """Decompress a small gzip stream of one member in one step. Return None for anything else.

    The caller then decompresses it piece by piece, which handles all cases and reports errors.
    """
    if len(sent) < _GZIP_TAIL.size:
        return None
    checksum, size = _GZIP_TAIL.unpack(sent[-_GZIP_TAIL.size :])
    if not 0 < size <= min(limit, _AT_ONCE, len(sent) * _HIGHEST_RATIO):
        return None
    try:
        plain = deflate.gzip_decompress(sent, size)
    except deflate.DeflateError:
        return None
    # libdeflate decodes the first gzip member only; the CRC and size at the end of the stream must match it.
    # (If the first and the last of several members are equal, this takes the first for the whole. Its content
    # is then a fragment of JSON, which is reported as unreadable.)
    return plain if len(plain) == size and deflate.crc32(plain) == checksum else None


class _CountedPieces:
    """Pass on pieces, and count their bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.bytes += len(piece)
            yield piece


def _joined(pieces: Iterator[bytes]) -> bytes | bytearray:
    first = next(pieces, b"")
    second = next(pieces, b"")
    if not second:
        return first
    whole = bytearray(first)
    del first
    whole += second
    for piece in pieces:
        whole += piece
    return whole


def _gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress all members of a gzip stream. Ignore data after the last one, as the gzip program does."""
    member = _member()
    begun = ended = False
    taken = given = 0
    for rest in _bites(pieces):
        taken += len(rest)
        while rest and not ended:
            if member.eof:
                if not rest.startswith(b"\x1f"):
                    ended = True  # read the rest nevertheless, so that the connection can be reused
                    break
                member = _member()
            begun = True
            try:
                for plain in _decompress(member, rest):
                    given += len(plain)
                    if given > _RATIO_MATTERS_FROM and given > taken * _HIGHEST_RATIO:
                        raise AnswerTooLarge(
                            f"an answer that unpacks to over {_HIGHEST_RATIO} times its size"
                        )
                    yield plain
            except zlib.error as error:
                raise BrokenAnswer("the answer's compression is damaged") from error
            rest = member.unused_data if member.eof else b""
    if begun and not member.eof:
        raise BrokenAnswer("the answer's compression is cut short")


def _bites(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `pieces` in smaller parts, so that the ratio is checked before much is decompressed."""
    for piece in pieces:
        for start in range(0, len(piece), _BITE):
            yield piece[start : start + _BITE]


def _member() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # gzip


def _decompress(member: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    plain = member.decompress(data, PIECE)
    while plain:
        yield plain
        plain = member.decompress(member.unconsumed_tail, PIECE)
