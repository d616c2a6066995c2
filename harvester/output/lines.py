"""Reads a part's file back: its bytes, its lines, and the rows that they are of."""

import codecs
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import msgspec

from harvester.errors import CannotFinishNow
from harvester.output.commit import PartFile
from harvester.output.compression import DAMAGE, decompressed
from harvester.output.layout import CHANGES, FAILED, NOTES
from harvester.output.target import Target
from harvester.plan.changes import Change
from harvester.schema import FAILED_KEYS, NOTE_KEYS, RECORD_KEYS

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


def check_file(target: Target, file: PartFile, expected: Callable[[str], bool]) -> str | None:
    """What is wrong with a part's file; None if nothing is. Reads it once; one line in memory.

    The bytes are those of the file, the lines what they decompress to.

    `expected` is asked about each record's label hash, a run of equal ones once.
    """
    check = _LineCheck(file.kind, expected)
    records, problem = 0, None
    try:
        with target.open(file.name) as stream:
            hashed = _Hashed(stream)
            try:
                for line in _lines(hashed, file.name):
                    records += 1
                    # The first bad line says enough; the hash goes on.
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


def read_lines(target: Target, name: str) -> Iterator[bytes]:
    """The lines of a part's file, each with its newline, decompressed as they are asked for.

    Raises CannotFinishNow where the file is damaged.
    """
    with target.open(name) as stream:
        try:
            yield from decompressed(stream, name)
        except DAMAGE as error:
            raise CannotFinishNow(f"{name} cannot be decompressed: {error}") from error


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
        """A record's keys in their order, its kind, and its label hash. Raises ValueError."""
        line.decode() if len(line) < _PIECE else _check_utf8(line)
        try:
            record = self._decode(line)
            if self._kind == "rows":
                label_hash: object = msgspec.json.decode(record.get("row", b"{}"), type=_Row).label_hash
            else:
                label_hash = _value(record.get("label_hash", _NULL))
            return tuple(record), _value(record.get("kind", _NULL)), label_hash
        except msgspec.DecodeError:
            # msgspec refuses lone surrogates, which the grammar allows; what is no JSON fails here too.
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
    """In pieces: the text of a line may take four times its bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(line), _PIECE):
        decoder.decode(line[start : start + _PIECE], final=start + _PIECE >= len(line))


class _Hashed(io.RawIOBase):
    """A stream that is hashed as it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)

    def of_all(self) -> str:
        """The hash, once whatever nobody asked for is read as well."""
        while rest := self._stream.read(_PIECE):
            self._hash.update(rest)
        return self._hash.hexdigest()


def _lines(stream: io.RawIOBase, name: str) -> Iterator[bytes]:
    buffered = cast(BinaryIO, io.BufferedReader(stream, _PIECE))
    lines = decompressed(buffered, name)
    while batch := lines.readlines(_PIECE):
        yield from batch
