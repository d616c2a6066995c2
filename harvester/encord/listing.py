"""The listing of a project: one answer as large as the project, spooled and read in pieces.

The list call has no paging. Its body goes to an unnamed temporary file as it comes over the network, and
is split into its items a window at a time, so that a million rows take no more memory than a thousand.
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

_SMALL = 256 * 1024  # bytes: an answer up to here is read whole at once, an error always is
_START = re.compile(rb'"response"\s*:\s*\[')
_FIRST_KEY = re.compile(rb'\s*(\{\s*"(?:[^"\\]|\\.)*"\s*:)')
_BETWEEN = re.compile(rb"\s*,\s*")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_GUESSES = 8
_LARGEST_ITEM = 64 * PIECE

_scanner = json.JSONDecoder(strict=False)
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Spool:
    """A listing on disk, in a file without a name that is gone when it is closed, or we are.

    Read by one reader at a time.
    """

    _digest: str | None = None

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._encoding = encoding

    def __iter__(self) -> Iterator[list[msgspec.Raw]]:
        """The listed rows, some at a time, each with its JSON as sent.

        Raises:
            BrokenAnswer, AnswerTooLarge: as `body.read_body`.
        """
        return split(self._body())

    def digest(self) -> str | None:
        """The sha256 of the body, whose compression may be another each time. Raises likewise."""
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
    """Spools the answer; errors, which are small, are raised as for label rows."""
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
    # Unbuffered, so that a full disk shows where it is written to; pieces are large. Closed by the spool.
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
    """A spool that holds no error: what is small is read at once, while asking again may help."""
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
    """The items of the array ``response`` in a v1 envelope that comes in `pieces`, some at a time.

    A window is cut where an item seems to start, and decoded as an array: JSON is read from the left
    in one way only, so what decodes was cut between two items, and what does not was not.

    Raises:
        BrokenAnswer: there is no such array, or it does not end.
        AnswerTooLarge: one of its items is unreasonably large.
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
    """The envelope up to the array's bracket, and what follows it."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        if start := _START.search(buffer):
            return buffer[: start.end()], buffer[start.end() :]
        if len(buffer) > _SMALL:
            break
    raise BrokenAnswer("the listing is no list of rows")


def _take(buffer: bytes, marker: bytes) -> tuple[list[msgspec.Raw], bytes]:
    """The items that are whole in `buffer`, all but the last, and the rest, which starts with an item."""
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
    """As `_take`, where items do not start alike: slower, and sure."""
    text = buffer.decode("latin-1")  # one character a byte, so that positions are the same
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
    """The last items, and the envelope from behind the array's closing bracket on."""
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
    """The items of an array with `inside` between its brackets; None if that is not how it is cut."""
    found = _decoded(inside)
    if found is not None or not _SURROGATE.search(inside):
        return found
    # One odd title must not hide all other rows: cut where the same text without it is cut.
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
    """Where the comma before `start` is, 0 if something else is there."""
    at = start - 1
    while at > 0 and buffer[at] in b" \t\r\n":
        at -= 1
    return at if buffer[at : at + 1] == b"," else 0


def _check_envelope(envelope_alone: bytes) -> None:
    """Holds an envelope, of which the array has been emptied, to what a success looks like."""
    response = envelope.response_of(envelope_alone, context=RequestContext())
    if bytes(response).translate(None, b" \t\r\n") != b"[]":
        raise BrokenAnswer("the listing is no list of rows")
