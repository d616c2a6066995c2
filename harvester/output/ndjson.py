"""Writes the files of one part: ``objects-00000.ndjson`` and its like, counted and hashed on the way."""

import hashlib
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

import msgspec

from harvester.output.commit import PartFile
from harvester.output.compression import compressor
from harvester.output.layout import FAILED, NOTES, part_name
from harvester.output.target import Draft, Target
from harvester.settings import Compression

if TYPE_CHECKING:
    from harvester.fetch.pool import FailedRow
    from harvester.labels.notes import Note

_BUFFER = 1024**2  # bytes a file, before they are compressed; an open part has at most four


class PartWriter:
    """Keeps one part's lines; a `harvester.part.Keep`. A kind without lines has no file.

    Nothing of it is seen before `close`. Every method may raise CannotFinishNow; call `discard` then.
    """

    def __init__(self, target: Target, part: int, compression: Compression | None = None) -> None:
        self._target = target
        self._part = part
        self._compression = compression
        self._files: dict[str, _KindFile] = {}
        self._notes: list[Note] = []

    def fills(self, kind: str, size: int) -> bool:
        """Whether `size` bytes more of one kind are so many that `write` sends on what is buffered."""
        file = self._files.get(kind)
        return size + (file.buffered if file else 0) >= _BUFFER

    def write(self, kind: str, lines: Iterable[bytes], records: int, rows: int) -> None:
        """Takes in the `lines` that `rows` rows have of one kind, each ending in a newline, cut anywhere."""
        file = self._files.get(kind)
        if file is None:
            file = self._files[kind] = _KindFile(self._target, kind, self._part, self._compression)
        file.write(lines, records, rows)

    def fail(self, row: "FailedRow") -> None:
        """Lists a row that could not be had."""
        self.write(FAILED, [msgspec.json.encode(row) + b"\n"], 1, 1)

    def note(self, notes: "Iterable[Note]") -> None:
        """Takes in what is to be known of rows, in the order of the plan."""
        self._notes += notes

    def notes(self, *, without: Container[str] = ()) -> dict[str, int]:
        """Writes the notes, but for the kinds that are left out, and counts them by kind. Call it once."""
        counts = dict[str, int]()
        written = [note for note in self._notes if note.note not in without]
        for note in written:
            counts[note.note] = counts.get(note.note, 0) + 1
        if written:
            lines = [msgspec.json.encode(note) + b"\n" for note in written]
            self.write(NOTES, lines, len(lines), len({note.label_hash for note in written}))
        return dict(sorted(counts.items()))

    def close(self) -> list[PartFile]:
        """Makes the files durable, one after another. The part exists once its commit record does."""
        return [self._files[kind].close() for kind in sorted(self._files)]

    def discard(self) -> None:
        """Drops what is not durable yet. Never raises."""
        for file in self._files.values():
            file.discard()


class _KindFile:
    def __init__(self, target: Target, kind: str, part: int, compression: Compression | None) -> None:
        self.name = part_name(kind, part, compression)
        self.kind = kind
        self._target = target
        self._draft: Draft | None = None  # made with the first bytes for it, where blocking is expected
        self._buffer: list[bytes] = []
        self.buffered = 0
        self._compressor = compressor(compression)
        self._hash = hashlib.sha256()
        self._rows = self._records = self._bytes = 0

    def write(self, lines: Iterable[bytes], records: int, rows: int) -> None:
        self._rows += rows
        self._records += records
        for piece in lines:
            self._buffer.append(piece)
            self.buffered += len(piece)
            if self.buffered >= _BUFFER:
                self._flush()

    def close(self) -> PartFile:
        self._flush()
        self._keep(self._compressor.flush())
        assert self._draft is not None
        self._draft.commit()
        return PartFile(
            name=self.name,
            kind=self.kind,
            rows=self._rows,
            records=self._records,
            bytes=self._bytes,
            sha256=self._hash.hexdigest(),
        )

    def discard(self) -> None:
        if self._draft is not None:
            self._draft.discard()

    def _flush(self) -> None:
        data = b"".join(self._buffer)
        self._buffer.clear()
        self.buffered = 0
        self._keep(self._compressor.compress(data))

    def _keep(self, data: bytes) -> None:
        if data:
            self._hash.update(data)
            self._bytes += len(data)
            self._draft = self._draft or self._target.create(self.name)
            self._draft.write(data)
