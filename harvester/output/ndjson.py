"""Writes the files of one part, such as ``objects-00000.ndjson``, with their counts and checksums."""

import hashlib
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

import msgspec

from harvester.output.commit import PartFile
from harvester.output.compression import compressor
from harvester.output.drafts import Draft, Files
from harvester.output.layout import FAILED, NOTES, part_name
from harvester.settings import Compression

if TYPE_CHECKING:
    from harvester.fetch.pool import FailedRow
    from harvester.labels.notes import Note

_BUFFER = 1024**2  # bytes per file before compression; a part has at most one file per kind


class PartWriter:
    """Writes the lines of one part (a `harvester.part.RecordSink`). A kind without lines gets no file.

    The files are invisible to readers until `close`. Every method may raise CannotFinishNow; the caller then
    calls `discard`.
    """

    def __init__(self, target: Files, part: int, compression: Compression | None = None) -> None:
        self._target = target
        self._part = part
        self._compression = compression
        self._files: dict[str, _KindFile] = {}
        self._notes: list[Note] = []

    def would_flush(self, kind: str, size: int) -> bool:
        """Return whether writing `size` more bytes of this kind would flush its buffer."""
        file = self._files.get(kind)
        return size + (file.buffered if file else 0) >= _BUFFER

    def write(self, kind: str, lines: Iterable[bytes], records: int, rows: int) -> None:
        """Write the lines of `rows` rows of one kind: `records` lines, joined or split at any byte."""
        file = self._files.get(kind)
        if file is None:
            file = self._files[kind] = _KindFile(self._target, kind, self._part, self._compression)
        file.write(lines, records, rows)

    def fail(self, row: "FailedRow") -> None:
        """Write the line of a failed row."""
        self.write(FAILED, [msgspec.json.encode(row) + b"\n"], 1, 1)

    def note(self, notes: "Iterable[Note]") -> None:
        """Add notes about rows, in plan order. They are held in memory until `notes` writes them."""
        self._notes += notes

    def notes(self, *, without: Container[str] = ()) -> dict[str, int]:
        """Write the notes, except the kinds in `without`. Return their counts by kind. Call it once."""
        counts = dict[str, int]()
        written = [note for note in self._notes if note.note not in without]
        for note in written:
            counts[note.note] = counts.get(note.note, 0) + 1
        if written:
            lines = [msgspec.json.encode(note) + b"\n" for note in written]
            self.write(NOTES, lines, len(lines), len({note.label_hash for note in written}))
        return dict(sorted(counts.items()))

    def close(self) -> list[PartFile]:
        """Make the files durable. The part exists only after its commit record is written as well."""
        return [self._files[kind].close() for kind in sorted(self._files)]

    def discard(self) -> None:
        """Delete what is not durable yet. Never raises."""
        for file in self._files.values():
            file.discard()


class _KindFile:
    def __init__(self, target: Files, kind: str, part: int, compression: Compression | None) -> None:
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
