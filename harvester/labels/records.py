"""How the lines of records are put together from ready-made bytes, and what is counted of them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Protocol

import msgspec

from harvester.labels.values import JSON
from harvester.labels.wire import LabelRow, PlanRow, SentRow

# Bytes of lines that are joined at once, where not all are; and of a row from which on it is a giant.
CHUNK = 1024**2

_encode = msgspec.json.encode


class LineSeries(Protocol):
    """Many lines that differ in little: made as they are taken, so that they never lie in memory together."""

    def __len__(self) -> int:
        """Bytes of all its lines."""

    def __iter__(self) -> Iterator[bytes]: ...


class Lines(msgspec.Struct):
    """The lines of one kind that rows give: `size` bytes for the file, in chunks to be taken once.

    `held` bytes of these lie in memory now; the rest is made as it is taken.
    """

    size: int
    chunks: Iterable[bytes]
    held: int

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks)


# The state of a sheet before a row was read.
_Mark = tuple[int, int, int, int, dict[str, int]]


class Sheet:
    """The lines of one kind that rows give, one after the other, and what became of their records.

    `rows` are those that have lines.
    """

    def __init__(self, filters: tuple[str, ...] = ()) -> None:
        self.pieces: list[SentRow | LineSeries] = []
        self.rows = 0
        self.seen = 0
        self.written = 0
        self.dropped = dict.fromkeys(filters, 0)
        self._series = 0

    def keep_all(self, before: bytes, after: bytes, sent: Sequence[SentRow]) -> None:
        """Keeps records that differ in what was `sent` only."""
        self.seen += len(sent)
        self.written += len(sent)
        self.pieces += chain.from_iterable(zip(repeat(before), sent, repeat(after), strict=False))

    def keep_series(self, series: LineSeries, lines: int) -> None:
        """Keeps that many `lines`, which are not made yet."""
        self.written += lines
        self.pieces.append(series)
        self._series += 1

    def mark(self) -> _Mark:
        """What `back_to` undoes the next row with."""
        return len(self.pieces), self.seen, self.written, self._series, self.dropped.copy()

    def back_to(self, mark: _Mark) -> None:
        """Forgets what was read since."""
        pieces, self.seen, self.written, self._series, self.dropped = mark
        del self.pieces[pieces:]

    def count_row(self, mark: _Mark) -> None:
        """Counts the row that was read since, if it has lines."""
        self.rows += len(self.pieces) > mark[0]

    def lines(self, giant: int) -> Lines:
        """The lines; their rows have so many bytes, if there is a giant among these.

        Lines that outweigh them are joined only as they are taken: till then the rows' bytes stay, and
        never lie in memory beside all that is made of them. So are those of a series.
        """
        if self._series or (giant and sum(map(len, self.pieces)) > giant):
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
        if len(chunk) >= CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def _cut(pieces: Iterable[SentRow | LineSeries]) -> Iterator[SentRow]:
    for piece in pieces:
        if not isinstance(piece, bytes | bytearray | memoryview | msgspec.Raw):
            yield from piece
        elif len(piece) <= CHUNK:
            yield piece
        else:
            view = memoryview(piece)
            yield from (view[start : start + CHUNK] for start in range(0, len(view), CHUNK))


def complete(row: LabelRow, planned: PlanRow) -> None:
    """Fills in from the listing what the row does not say of itself."""
    row.label_hash = row.label_hash or planned.label_hash
    row.branch_name = planned.branch_name if row.branch_name is None else row.branch_name
    row.data_hash = row.data_hash or planned.data_hash
    row.dataset_hash = row.dataset_hash or planned.dataset_hash
    row.dataset_title = planned.dataset_title if row.dataset_title is None else row.dataset_title
    row.data_title = planned.data_title if row.data_title is None else row.data_title
    row.data_type = row.data_type or planned.data_type.lower() or None


def row_head(row: LabelRow) -> bytes:
    """The keys that all records of a row share, ``label_hash`` to ``data_type``; ends in a comma."""
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
    """What stands before and after the label row in a row record."""
    return b'{"kind":"row","metadata":%b,"row":' % metadata, b"}\n"
