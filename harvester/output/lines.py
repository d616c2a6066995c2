"""Reads the files of a part back, and checks their bytes, lines and label hashes."""

import codecs
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from harvester.errors import CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.output.commit import PartFile
from harvester.output.compression import DAMAGE, decompressed
from harvester.output.drafts import Files
from harvester.output.layout import CHANGES, FAILED, NOTES
from harvester.output.planfile import PlainFile
from harvester.output.target import Target
from harvester.plan.changes import Change
from harvester.schema import FAILED_KEYS, KINDS, NOTE_KEYS, RECORD_KEYS

T = TypeVar("T")

_PIECE = 1024**2

_KEYS: dict[str, tuple[str, ...]] = {
    **RECORD_KEYS,
    FAILED: FAILED_KEYS,
    NOTES: NOTE_KEYS,
    CHANGES: Change.__struct_fields__,
}
_WORD = {
    "objects": "object",
    "classifications": "classification",
    "units": "unit",
    "rows": "row",
    FAILED: None,
    NOTES: None,
    CHANGES: "change",
}


def check_file(target: Files, file: PartFile, expected: Callable[[str], bool]) -> str | None:
    """Return what is wrong with a part's file, or None. Reads the file once, and holds one line in memory.

    `expected` is called with the label hash of each record, once for consecutive records of the same row, and
    returns whether a record of that row may be there.
    """
    check = _LineCheck(file.kind, expected)
    records, problem = 0, None
    try:
        with target.open(file.name) as stream:
            hashed = _Hashed(stream)
            try:
                for line in chain.from_iterable(_pieces(hashed, file.name)):
                    records += 1
                    # Only the first bad line is reported. The rest is read for the checksum.
                    if problem is None and (wrong := check.wrong_with(line)):
                        problem = f"line {records:,}: {wrong}"
            except DAMAGE as error:
                problem = problem or f"cannot be decompressed: {error}"
            sha256 = hashed.of_all()
    except (OSError, CannotFinishNow) as error:
        return f"cannot be read: {error}"
    if sha256 != file.sha256:
        return "its bytes are not those that were committed" + (f" ({problem})" if problem else "")
    if problem is None and records != file.records:
        return f"{records:,} lines, not {file.records:,}"
    return problem


def read_lines(target: Files, name: str) -> Iterator[bytes]:
    """Yield the lines of a part's file, with newlines, decompressing as they are consumed.

    Raises CannotFinishNow if the file is damaged.
    """
    with target.open(name) as stream:
        try:
            yield from decompressed(stream, name)
        except DAMAGE as error:
            raise CannotFinishNow(f"{name} cannot be decompressed: {error}") from error


def checked_lines(target: Target, file: PartFile | PlainFile) -> Iterator[bytes]:
    """Yield the lines of a file, as `read_lines` does, and check its sha256 at the end.

    Raises as `checked_pieces` does.
    """
    for piece in checked_pieces(target, file):
        yield from piece


def checked_pieces(target: Target, file: PartFile | PlainFile) -> Iterator[list[bytes]]:
    """Yield the lines of a file in lists of about 1 MB, and check its sha256 at the end.

    Raises:
        Unsound: the file is missing or damaged.
        CannotFinishNow: it cannot be read.
    """
    damaged = Unsound(one_line(f"{target.name}: {file.name} is missing or damaged: see harvester verify"))
    try:
        opened = target.open(file.name)
    except CannotFinishNow as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise damaged from error
        raise
    with opened as stream:
        hashed = _Hashed(stream)
        try:
            yield from _pieces(hashed, file.name)
            sha256 = hashed.of_all()
        except DAMAGE as error:
            raise damaged from error
    if sha256 != file.sha256:
        raise damaged


class FailedLabel(msgspec.Struct):
    """A line of ``failed-*.ndjson`` or of another kind, of which only the label hash is read."""

    label_hash: str


def read_as(target: Files, name: str, type: type[T]) -> Iterator[T]:
    """Yield the lines of a part's file as structures. Raises CannotFinishNow if the file is damaged."""
    decode = msgspec.json.Decoder(type).decode
    for number, line in enumerate(read_lines(target, name), 1):
        try:
            yield decode(line)
        except (ValueError, RecursionError) as error:
            raise CannotFinishNow(one_line(f"{name} is damaged: line {number:,}: {error}")) from error


def label_hash_reader(kind: str) -> Callable[[bytes], str]:
    """Return a function that reads the label hash in a line of a file of this kind.

    It is fast for consecutive lines of the same row: all but the first are recognised by their beginning.

    The function raises Unsound if the line is no record.
    """
    start = _STARTS.get(kind)
    last, beginning = "", b"\n"  # no line begins with it

    def label_hash(line: bytes) -> str:
        nonlocal last, beginning
        if line.startswith(beginning):
            return last
        try:
            last = _label_hash_in(line, kind)
        except (ValueError, TypeError, RecursionError) as error:
            raise Unsound(f"a line of {kind} is no record: see harvester verify") from error
        found = b"%b%b," % (start, msgspec.json.encode(last)) if start else b""
        beginning = found if found and line.startswith(found) else b"\n"
        return last

    return label_hash


class _Labelled(msgspec.Struct):
    label_hash: str | None = None


class _RowOfKind(msgspec.Struct):
    row: _Labelled
    metadata: _Labelled | None = None


# What lines begin with, before the label hash. Lines of rows have it anywhere.
_STARTS = dict[str, bytes](
    {kind: b'{"kind":"%b","label_hash":' % kind[:-1].encode() for kind in KINDS if kind != "rows"}
)
_STARTS |= {FAILED: b'{"label_hash":', NOTES: b'{"label_hash":'}
_decode_labelled = msgspec.json.Decoder(_Labelled).decode
_decode_row = msgspec.json.Decoder(_RowOfKind).decode


def _label_hash_in(line: bytes, kind: str) -> str:
    if kind == "rows":
        record = _decode_row(line)
        found = record.row.label_hash or (record.metadata.label_hash if record.metadata else None)
    else:
        found = _decode_labelled(line).label_hash
    if found is None:
        raise ValueError("it names no label row")
    return found


class _LineCheck:
    def __init__(self, kind: str, expected: Callable[[str], bool]) -> None:
        self._kind = kind
        self._expected = expected
        self._last: object = None
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def wrong_with(self, line: bytes) -> str | None:
        try:
            keys, word, label_hash = self._read(line)
        except (ValueError, RecursionError) as error:
            return f"no valid JSON: {error}"
        if keys != _KEYS[self._kind]:
            return "its keys are not those of its kind"
        if word != _WORD[self._kind]:
            return "a record of another kind"
        same, self._last = label_hash == self._last, label_hash
        if not (isinstance(label_hash, str) and (same or self._expected(label_hash))):
            return "of a row that is not expected here"
        return None if line.endswith(b"\n") else "cut off"

    def _read(self, line: bytes) -> tuple[tuple[str, ...], object, object]:
        """Return a record's keys in order, its kind, and its label hash. Raises ValueError."""
        line.decode() if len(line) < _PIECE else _check_utf8(line)
        try:
            record = self._decode(line)
            if self._kind == "rows":
                label_hash: object = msgspec.json.decode(record.get("row", b"{}"), type=_Row).label_hash
            else:
                label_hash = _value(record.get("label_hash", _NULL))
            return tuple(record), _value(record.get("kind", _NULL)), label_hash
        except msgspec.DecodeError:
            # msgspec rejects unpaired surrogates, which the JSON grammar allows. Invalid JSON fails here too.
            whole = json.loads(line, parse_constant=_refuse)
            holder = whole.get("row") if self._kind == "rows" and isinstance(whole, dict) else whole
            if not isinstance(holder, dict):
                raise ValueError("no object") from None
            return tuple(whole), whole.get("kind"), holder.get("label_hash")


class _Row(msgspec.Struct):
    label_hash: str | None = None


_NULL = msgspec.Raw(b"null")
_value = msgspec.json.Decoder(str | None).decode


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check_utf8(line: bytes) -> None:
    """Check the encoding in pieces, since the decoded line may need four times its size in memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(line), _PIECE):
        decoder.decode(line[start : start + _PIECE], final=start + _PIECE >= len(line))


class _Hashed(io.RawIOBase):
    """A stream that computes the sha256 of what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = cast(io.RawIOBase, self._stream).readinto(buffer) or 0
        self._hash.update(buffer[:size])
        return size

    def of_all(self) -> str:
        """Read the rest of the stream, and return the sha256 of all of it."""
        while rest := self._stream.read(_PIECE):
            self._hash.update(rest)
        return self._hash.hexdigest()


def _pieces(stream: io.RawIOBase, name: str) -> Iterator[list[bytes]]:
    lines = decompressed(cast(BinaryIO, stream), name)
    while piece := lines.readlines(_PIECE):
        yield piece
