"""Read the listing of a project in constant memory: one answer that is as large as the project.

The list call has no paging. Its body is written to an unnamed temporary file as it arrives, and then split
into its items one window at a time, so that a million rows need no more memory than a thousand.
"""

import hashlib
import json
import math
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO

import msgspec
import urllib3
from encord.http.common import RequestContext

from harvester.encord import envelope
from harvester.encord.body import (
    PIECE,
    AnswerTooLarge,
    BrokenAnswer,
    decoded,
    encoding_of,
    read_body,
    wire_pieces,
)
from harvester.encord.responses import raise_unless_envelope, refuse_redirect
from harvester.errors import CannotFinishNow
from harvester.labels.surrogates import replace_unpaired_surrogates

# Bytes. An answer up to this size is checked as a whole at once. All error messages are smaller. Chosen.
_SMALL = 256 * 1024
_START = re.compile(rb'"response"\s*:\s*\[')
_FIRST_KEY = re.compile(rb'\s*(\{\s*"(?:[^"\\]|\\.)*"\s*:)')
_BETWEEN = re.compile(rb"\s*,\s*")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_GUESSES = 8  # positions tried for the start of an item before the slow way. Chosen
_LARGEST_ITEM = 64 * PIECE  # bytes of one listed row; it limits the memory. Chosen

_scanner = json.JSONDecoder(strict=False)
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Spool:
    """A listing on disk, in an unnamed file that vanishes when it is closed, or when the process ends.

    It may be read several times, but by one reader at a time.
    """

    _digest: str | None = None

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._encoding = encoding

    def __iter__(self) -> Iterator[list[msgspec.Raw]]:
        """Yield lists of rows, each as its JSON as sent.

        Raises:
            BrokenAnswer, AnswerTooLarge: as `body.read_body` does.
        """
        return split(self._body())

    def digest(self) -> str | None:
        """Return the SHA-256 of the decompressed body. (Equal listings may be compressed differently.)

        Reads the file only if it has not been read to its end before. Raises as iteration does.
        """
        if self._digest is None:
            deque(self._body(), maxlen=0)
        return self._digest

    def _body(self) -> Iterator[bytes]:
        self._file.seek(0)
        hashed = hashlib.sha256()
        for piece in decoded(_pieces_of(self._file), self._encoding, limit=math.inf):
            hashed.update(piece)
            yield piece
        self._digest = hashed.hexdigest()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_listing(response: urllib3.BaseHTTPResponse, context: RequestContext) -> Spool:
    """Write the answer to a temporary file. Errors are raised as for label rows."""
    refuse_redirect(response)
    if response.status != 200:
        body, _ = read_body(response, 64 * PIECE)
        raise_unless_envelope(response, body, context)
        return _checked(_spooled([bytes(body)]), "", context)
    encoding = encoding_of(response)
    try:
        file = _spooled(wire_pieces(response))
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return _checked(file, encoding, context)


def _pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(PIECE), b"")


def _spooled(pieces: Iterable[bytes]) -> IO[bytes]:
    # Unbuffered, so that a full disk is reported by the write itself; pieces are large. The Spool closes the
    # file.
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    try:
        for piece in pieces:
            _write(file, piece)
    except BaseException:
        file.close()
        raise
    return file


def _write(file: IO[bytes], piece: bytes) -> None:
    try:
        while piece:
            piece = piece[file.write(piece) :]
    except OSError as error:
        raise CannotFinishNow(
            f"no room for the listing in {tempfile.gettempdir()}: {error.strerror}"
        ) from error


def _checked(file: IO[bytes], encoding: str, context: RequestContext) -> Spool:
    """Return the spool, after a check that it holds no error.

    A small answer is checked as a whole, now, because the caller can still repeat the request.
    """
    try:
        file.seek(0)
        start = b""
        for piece in decoded(_pieces_of(file), encoding, limit=math.inf):
            start += piece
            if len(start) > _SMALL:
                break
        else:
            envelope.response_of(replace_unpaired_surrogates(start), context=context)
        return Spool(file, encoding)
    except BaseException:
        file.close()
        raise


# -- splitting ------------------------------------------------------------------------------------


def split(pieces: Iterable[bytes], *, window: int = PIECE) -> Iterator[list[msgspec.Raw]]:
    """Yield lists of the items in the array ``response`` of a v1 envelope, which arrives in `pieces`.

    A full JSON parse would need the whole array in memory. Instead, cut the buffer where an item seems to
    start, and decode the part before the cut as an array. JSON has exactly one reading from the left, so if
    the part decodes, the cut was between two items; otherwise try another cut.

    Args:
        window: bytes to collect before a cut.

    Raises:
        BrokenAnswer: there is no such array, or it is truncated.
        AnswerTooLarge: an item is larger than 64 MiB.
    """
    pieces = iter(pieces)
    head, buffer = _head(pieces)
    marker, enough = b"", window
    for piece in pieces:
        buffer += piece
        if len(buffer) > _LARGEST_ITEM + window:
            raise AnswerTooLarge(f"the listing holds a row of more than {_LARGEST_ITEM:,} bytes")
        if len(buffer) < enough:
            continue
        if not marker:
            first = _FIRST_KEY.match(buffer)
            marker = first[1] if first else b"{"
        items, buffer = _take(buffer, marker)
        enough = window if items else 2 * len(buffer)
        if items:
            yield items
    items, tail = _end(buffer)
    _check_envelope(head + b"]" + tail)
    if items:
        yield items


def _head(pieces: Iterator[bytes]) -> tuple[bytes, bytes]:
    """Return the envelope up to and including the opening bracket of the array, and the data that follow."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        if start := _START.search(buffer):
            return buffer[: start.end()], buffer[start.end() :]
        if len(buffer) > _SMALL:
            break
    raise BrokenAnswer("the listing is no list of rows")


def _take(buffer: bytes, marker: bytes) -> tuple[list[msgspec.Raw], bytes]:
    """Return the complete items in `buffer` except the last one, and the rest, which starts with an item.

    `marker` is the text with which the first item begins, up to its first key: most items begin in the same
    way.
    """
    start = len(buffer)
    for _ in range(_GUESSES):
        start = buffer.rfind(marker, 1, start)
        if start < 0:
            break
        comma = _comma_before(buffer, start)
        if comma and (items := _items(buffer[:comma])):
            return items, buffer[start:]
    return _take_one_by_one(buffer)


def _take_one_by_one(buffer: bytes) -> tuple[list[msgspec.Raw], bytes]:
    """Do what `_take` does by parsing item after item: slower, but it does not matter how items begin."""
    text = buffer.decode("latin-1")  # one character per byte, so that positions stay the same
    end = after = 0
    while True:
        try:
            _, found = _scanner.raw_decode(text, after)
        except (ValueError, RecursionError):
            break
        separator = _BETWEEN.match(buffer, found)
        if separator is None:
            break
        end, after = found, separator.end()
    items = _items(buffer[:end]) if end else None
    return (items, buffer[after:]) if items else ([], buffer)


def _end(buffer: bytes) -> tuple[list[msgspec.Raw], bytes]:
    """Return the last items, and the envelope after the closing bracket of the array."""
    bracket = len(buffer)
    for _ in range(8 * _GUESSES):
        bracket = buffer.rfind(b"]", 0, bracket)
        if bracket < 0:
            break
        items = _items(buffer[:bracket])
        if items is not None:
            return items, buffer[bracket + 1 :]
    raise BrokenAnswer("the listing is cut short, or no valid JSON")


def _items(inside: bytes) -> list[msgspec.Raw] | None:
    """Decode the text between the brackets of an array. Return None if it is not valid: a wrong cut."""
    found = _decoded(inside)
    if found is not None or not _SURROGATE.search(inside):
        return found
    # An unpaired surrogate in one title must not make the whole listing unreadable: decode a copy of the same
    # length in which it is replaced, and cut the original text at the same positions.
    readable = replace_unpaired_surrogates(inside)
    found, at = _decoded(readable), 0
    for place, item in enumerate(found or ()):
        at = readable.index(bytes(item), at)
        end = at + len(memoryview(item))
        found[place], at = msgspec.Raw(inside[at:end]), end  # type: ignore[index]  # it has items
    return found


def _decoded(inside: bytes) -> list[msgspec.Raw] | None:
    try:
        return _decode_items(b"[" + inside + b"]")
    except (msgspec.DecodeError, RecursionError):
        return None


def _comma_before(buffer: bytes, start: int) -> int:
    """Return the position of the comma before `start`; 0 if there is something else."""
    at = start - 1
    while at > 0 and buffer[at] in b" \t\r\n":
        at -= 1
    return at if buffer[at : at + 1] == b"," else 0


def _check_envelope(envelope_alone: bytes) -> None:
    """Check that an envelope, with its array emptied, reports success."""
    response = envelope.response_of(envelope_alone, context=RequestContext())
    if bytes(response).translate(None, b" \t\r\n") != b"[]":
        raise BrokenAnswer("the listing is no list of rows")
