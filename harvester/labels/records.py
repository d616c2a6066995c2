"""Records: their kinds, their keys in order, and how a line is put together from ready-made bytes."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

import msgspec

from harvester.labels.answers import JSON
from harvester.labels.wire import LabelRow, PlanRow, SentRow

# Raised whenever a key is added, removed or changes its meaning.
SCHEMA_VERSION = 1

# The keys of an object record, in order; a classification record has the same up to `frame`.
HEAD_KEYS = (
    "kind",
    "label_hash",
    "branch_name",
    "data_hash",
    "dataset_hash",
    "dataset_title",
    "data_title",
    "data_type",
    "unit_hash",
    "file_name",
    "data_url",
    "space_id",
    "frame",
)
OBJECT_KEYS = (*HEAD_KEYS, "object", "attributes", "dynamic_attributes")
CLASSIFICATION_KEYS = (*HEAD_KEYS, "ranges", "classification", "answers")
ROW_KEYS = ("kind", "metadata", "row")

# Bytes of lines that are joined at once, where not all are; and of a row from which on it is a giant.
CHUNK = 1024**2

_encode = msgspec.json.encode


class Lines(msgspec.Struct):
    """The lines of one kind that rows give: `size` bytes for the file, in chunks to be taken once."""

    size: int
    chunks: Iterable[bytes]

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks)


# The state of a sheet before a row was read.
_Mark = tuple[int, int, int, dict[str, int]]


class Sheet:
    """The lines of one kind that rows give, one after the other, and what became of their records.

    `rows` are those that have lines.
    """

    def __init__(self, filters: tuple[str, ...] = ()) -> None:
        self.pieces: list[SentRow] = []
        self.rows = 0
        self.seen = 0
        self.written = 0
        self.dropped = dict.fromkeys(filters, 0)

    def keep_all(self, before: bytes, after: bytes, sent: Sequence[SentRow]) -> None:
        """Keeps records that differ in what was `sent` only."""
        self.seen += len(sent)
        self.written += len(sent)
        self.pieces += chain.from_iterable(zip(repeat(before), sent, repeat(after), strict=False))

    def mark(self) -> _Mark:
        """What `back_to` undoes the next row with."""
        return len(self.pieces), self.seen, self.written, self.dropped.copy()

    def back_to(self, mark: _Mark) -> None:
        """Forgets what was read since."""
        pieces, self.seen, self.written, self.dropped = mark
        del self.pieces[pieces:]

    def count_row(self, mark: _Mark) -> None:
        """Counts the row that was read since, if it has lines."""
        self.rows += len(self.pieces) > mark[0]

    def lines(self, giant: int) -> Lines:
        """The lines; their rows have so many bytes, if there is a giant among these.

        Lines that outweigh them are joined only as they are taken: till then the rows' bytes stay, and
        never lie in memory beside all that is made of them.
        """
        if giant and (size := sum(map(len, self.pieces))) > giant:
            return Lines(size, _joined(self.pieces))
        lines = b"".join(self.pieces)
        return Lines(len(lines), [lines])


def _joined(pieces: Iterable[SentRow]) -> Iterator[bytes]:
    chunk = bytearray()
    for piece in _cut(pieces):
        chunk += piece
        if len(chunk) >= CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def _cut(pieces: Iterable[SentRow]) -> Iterator[SentRow]:
    for piece in pieces:
        if len(piece) <= CHUNK:
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


def place_head(
    unit_hash: str | None, file_name: str | None, data_url: str | None, space_id: str | None
) -> bytes:
    """The keys that all records of a place share, ``unit_hash`` to ``space_id``, and the key ``frame``."""
    fields = {"unit_hash": unit_hash, "file_name": file_name, "data_url": data_url, "space_id": space_id}
    return _encode(fields)[1:-1] + b',"frame":'


def row_ends(metadata: JSON) -> tuple[bytes, bytes]:
    """What stands before and after the label row in a row record."""
    return b'{"kind":"row","metadata":%b,"row":' % metadata, b"}\n"


def number(frame: int | None) -> bytes:
    """A frame as JSON."""
    return b"null" if frame is None else b"%d" % frame
