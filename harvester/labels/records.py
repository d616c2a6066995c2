"""Line buffers: put the lines of records together from pieces of bytes, and count the records."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Protocol

import msgspec

from harvester.labels.values import JSON
from harvester.labels.wire import LabelRow, PlanRow, SentRow

# Bytes. A larger label row is a large row: its lines are joined in chunks, not all at once.
LARGE_ROW_BYTES = 1024**2
# Bytes of a chunk of joined lines.
JOIN_CHUNK_BYTES = 1024**2

_encode = msgspec.json.encode


class LineSeries(Protocol):
    """Many similar lines, made while they are iterated over, so that they are never all in memory."""

    def __len__(self) -> int:
        """Return the size of all lines in bytes."""

    def __iter__(self) -> Iterator[bytes]: ...


class Lines(msgspec.Struct):
    """The lines of one kind of record from some label rows.

    `size` is their size in bytes. `chunks` can be iterated over once. `held` bytes of the lines are in memory
    now; the rest is made during the iteration.
    """

    size: int
    chunks: Iterable[bytes]
    held: int

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks)


# The state of a buffer before a row was read.
_Mark = tuple[int, int, int, int, dict[str, int], set[str]]


class LineBuffer:
    """Buffer of the lines of one kind of record, with the counts of these records.

    `pieces` are parts of lines, which are joined once, for many rows at a time. `rows` counts the label rows
    that have lines. `seen`, `written` and `dropped` count records; `dropped` counts by filter name. `lacking`
    are the fields that the expression of ``--where`` reads and that no record so far had.
    """

    def __init__(self, filters: tuple[str, ...] = (), fields: Iterable[str] = ()) -> None:
        self.pieces: list[SentRow | LineSeries] = []
        self.rows = 0
        self.seen = 0
        self.written = 0
        self.dropped = dict.fromkeys(filters, 0)
        self.lacking = set(fields)
        self._series = 0

    def add(self, before: bytes, after: bytes, sent: Sequence[SentRow]) -> None:
        """Add one record for each of `sent`, which is put between `before` and `after`."""
        self.seen += len(sent)
        self.written += len(sent)
        self.pieces += chain.from_iterable(zip(repeat(before), sent, repeat(after), strict=False))

    def add_series(self, series: LineSeries, lines: int) -> None:
        """Add a series of `lines` lines. They are counted as written, not as seen."""
        self.written += lines
        self.pieces.append(series)
        self._series += 1

    def mark(self) -> _Mark:
        """Return the state before the next row is read, for `back_to`."""
        return (
            len(self.pieces),
            self.seen,
            self.written,
            self._series,
            self.dropped.copy(),
            self.lacking.copy(),
        )

    def back_to(self, mark: _Mark) -> None:
        """Remove everything that was added since `mark`."""
        pieces, self.seen, self.written, self._series, self.dropped, self.lacking = mark
        del self.pieces[pieces:]

    def count_row(self, mark: _Mark) -> None:
        """Count the row that was read since `mark`, if it has lines."""
        self.rows += len(self.pieces) > mark[0]

    def lines(self, large_rows: int) -> Lines:
        """Return the lines. `large_rows`: bytes of all label rows if one of them is large, else 0.

        Lines are usually joined at once. If there is a large row, and the lines have more bytes than the
        label rows, they are joined chunk by chunk while they are written: so the label rows and all their
        lines are never in memory together. The lines of a `LineSeries` are always made chunk by chunk.
        """
        if self._series or (large_rows and sum(map(len, self.pieces)) > large_rows):
            held = sum(len(piece) for piece in self.pieces if _is_made(piece))
            return Lines(sum(map(len, self.pieces)), _joined(self.pieces), held)
        lines = b"".join(self.pieces)  # type: ignore[arg-type]  # no series among them
        return Lines(len(lines), [lines], len(lines))


def _is_made(piece: "SentRow | LineSeries") -> bool:
    return isinstance(piece, bytes | bytearray | memoryview | msgspec.Raw)


def _joined(pieces: Iterable[SentRow | LineSeries]) -> Iterator[bytes]:
    chunk = bytearray()
    for piece in _cut(pieces):
        chunk += piece
        if len(chunk) >= JOIN_CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def _cut(pieces: Iterable[SentRow | LineSeries]) -> Iterator[SentRow]:
    for piece in pieces:
        if not isinstance(piece, bytes | bytearray | memoryview | msgspec.Raw):
            yield from piece
        elif len(piece) <= JOIN_CHUNK_BYTES:
            yield piece
        else:
            view = memoryview(piece)
            starts = range(0, len(view), JOIN_CHUNK_BYTES)
            yield from (view[start : start + JOIN_CHUNK_BYTES] for start in starts)


def completed(row: LabelRow, planned: PlanRow) -> LabelRow:
    """Return the row with its missing values filled in from the listing. `row` itself is not changed."""
    if (
        row.label_hash
        and row.branch_name is not None
        and row.data_hash
        and row.dataset_hash
        and row.dataset_title is not None
        and row.data_title is not None
        and row.data_type
    ):
        return row
    return msgspec.structs.replace(
        row,
        label_hash=row.label_hash or planned.label_hash,
        branch_name=planned.branch_name if row.branch_name is None else row.branch_name,
        data_hash=row.data_hash or planned.data_hash,
        dataset_hash=row.dataset_hash or planned.dataset_hash,
        dataset_title=planned.dataset_title if row.dataset_title is None else row.dataset_title,
        data_title=planned.data_title if row.data_title is None else row.data_title,
        data_type=row.data_type or planned.data_type.lower() or None,
    )


def row_head(row: LabelRow) -> bytes:
    """Return the keys that all records of a row share, ``label_hash`` to ``data_type``, ending in a comma."""
    fields = {
        "label_hash": row.label_hash,
        "branch_name": row.branch_name,
        "data_hash": row.data_hash,
        "dataset_hash": row.dataset_hash,
        "dataset_title": row.dataset_title,
        "data_title": row.data_title,
        "data_type": row.data_type,
    }
    return _encode(fields)[1:-1] + b","


def row_ends(metadata: JSON) -> tuple[bytes, bytes]:
    """Return the bytes before and after the label row in a row record. `metadata` is the listing item."""
    return b'{"kind":"row","metadata":%b,"row":' % metadata, b"}\n"
