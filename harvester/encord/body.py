"""Reads one answer's body, undone of its compression, within the caps on size and ratio.

However large, a body is held once: it is decompressed piece by piece into the one buffer that is kept.
"""

import struct
from collections.abc import Iterable, Iterator

import deflate
import urllib3
from isal import igzip_lib

PIECE = 1024**2  # bytes: what is held besides the body itself
# Bytes of a body that is unpacked in one go, which is quicker; answers to bundles are smaller.
_AT_ONCE = 8 * 1024**2
# gzip reaches at most 1032:1, and only on one byte repeated; labels stay far below.
_HIGHEST_RATIO = 1000
_BITE = 16 * 1024  # compressed bytes
_RATIO_MATTERS_FROM = 10 * 1024**2
_GZIP = ("gzip", "x-gzip")
_GZIP_TAIL = struct.Struct("<II")  # of the content: its CRC-32, and its size


class AnswerTooLarge(Exception):
    """The body is larger than allowed, or is made to explode."""


class BrokenAnswer(Exception):
    """The body ends too early, or is damaged, or is not the API's."""


class UnreadableAnswer(Exception):
    """The body came whole and is no JSON, or is nested too deep: one of its rows makes it so.

    `body` is what came, if that may tell more.
    """

    def __init__(self, message: str, body: bytes | bytearray = b"") -> None:
        super().__init__(message)
        self.body = body


class RedirectRefused(Exception):
    """The server answered with a redirect; its request was signed for nobody else."""


class TunnelRefused(Exception):
    """The proxy will not open a tunnel to the server: `status` is its answer to CONNECT."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status


class TunnelFailed(Exception):
    """The proxy could not open a tunnel to the server just now."""


def read_body(response: urllib3.BaseHTTPResponse, limit: int) -> tuple[bytes | bytearray, int]:
    """The body, and its size as it came over the network; the connection is then free for the next call.

    Raises:
        AnswerTooLarge: it has more than `limit` bytes.
        BrokenAnswer: its compression is damaged, or cut short.
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
    """What the body is encoded with, "" for nothing."""
    return response.headers.get("Content-Encoding", "").strip().lower()


def wire_pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body in pieces as it comes over the network."""
    while piece := response.read(PIECE, decode_content=False):
        yield piece


def unpacked(sent: bytes, encoding: str, *, limit: int) -> bytes | bytearray:
    """A body of at most `PIECE` bytes undone of `encoding`. Raises as `read_body`."""
    if encoding in _GZIP and (plain := _one_member(sent, limit)) is not None:
        return plain
    return _joined(decoded((sent,), encoding, limit=limit))


def decoded(pieces: Iterable[bytes], encoding: str, *, limit: float) -> Iterator[bytes]:
    """`pieces` undone of `encoding`, in pieces. Raises as `read_body`."""
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
    """What a gzip stream of one small member holds; None if it is anything else, or damaged."""
    if len(sent) < _GZIP_TAIL.size:
        return None
    checksum, size = _GZIP_TAIL.unpack(sent[-_GZIP_TAIL.size :])
    if not 0 < size <= min(limit, _AT_ONCE, len(sent) * _HIGHEST_RATIO):
        return None
    try:
        plain = deflate.gzip_decompress(sent, size)
    except deflate.DeflateError:
        return None
    # It stops after the first member: the tail must be that one's. (Where the first and the last are alike,
    # the first passes for all: a piece of a JSON object, which shows as unreadable.)
    return plain if len(plain) == size and deflate.crc32(plain) == checksum else None


class _CountedPieces:
    """Pieces passed on and counted."""

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
    """All members of a gzip stream; what follows the last one and is no member is ignored, as gzip does."""
    member = _member()
    begun = ended = False
    taken = given = 0
    for rest in _bites(pieces):
        taken += len(rest)
        while rest and not ended:
            if member.eof:
                if not rest.startswith(b"\x1f"):
                    ended = True  # but read on: the connection is to be used again
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
            except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stubs call the class an instance
                raise BrokenAnswer("the answer's compression is damaged") from error
            rest = member.unused_data if member.eof else b""
    if begun and not member.eof:
        raise BrokenAnswer("the answer's compression is cut short")


def _bites(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces` cut small, so that a ratio is seen before all of a piece is unpacked."""
    for piece in pieces:
        for start in range(0, len(piece), _BITE):
            yield piece[start : start + _BITE]


def _member() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _decompress(member: igzip_lib.IgzipDecompressor, data: bytes) -> Iterator[bytes]:
    if plain := member.decompress(data, PIECE):
        yield plain
    while not (member.eof or member.needs_input):
        if plain := member.decompress(b"", PIECE):
            yield plain
