"""Cuts lines into the columns that DuckDB gets.

A line of an object is ``HEAD,"object":LABEL,"object_hash":...}``. The label is cut out between its
neighbours' keys, so that it stays byte for byte as it is. The head says where the label is and is the same
for all objects of a frame: each different head is decoded once, here, and DuckDB only gets its number.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow

from harvester.datasets.arrow_arrays import integers, numbers, texts
from harvester.errors import Unsound

Positions = npt.NDArray[np.int64]

# The keys around the label of a line, by kind.
_AROUND = {
    "objects": (b',"object":', b',"object_hash":'),
    "classifications": (b',"classification":', b',"classification_hash":'),
}
LABELLED = frozenset(_AROUND)
INPUT = pyarrow.schema(
    [
        ("head", pyarrow.int64()),
        ("aspect", pyarrow.float64()),
        ("label", pyarrow.string_view()),
        ("rest", pyarrow.string_view()),
    ]
)
FULL_CHUNK = 1024  # lines: DuckDB parses them at once; more take more memory, and no less time
_CHUNK_BYTES = 4 * 1024**2  # of long lines there are fewer in a chunk
_INLINE = 12  # bytes of a text that an Arrow view holds itself
_BEGINNING = 4  # bytes at the beginning of a longer text that its view repeats
_VIEW = np.dtype([("size", "<i4"), ("start", f"S{_BEGINNING}"), ("buffer", "<i4"), ("offset", "<i4")])
_OPENING = ord("{")


def chunks_of(pieces: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """Divide lines into lists of as many as DuckDB works on at once, or fewer if they are long.

    Where a list ends depends on the lines only, not on how they are divided into `pieces`.
    """
    waiting = list[bytes]()
    for piece in pieces:
        waiting += piece
        while end := _end_of_chunk(waiting):
            yield waiting[:end]
            del waiting[:end]
    if waiting:
        yield waiting


def _end_of_chunk(lines: list[bytes]) -> int | None:
    """Return how many lines are a chunk, None if they are too few for one."""
    if sum(map(len, lines[:FULL_CHUNK])) < _CHUNK_BYTES:
        return FULL_CHUNK if len(lines) >= FULL_CHUNK else None
    return next(number for number, size in enumerate(accumulate(map(len, lines)), 1) if size >= _CHUNK_BYTES)


class BlockCutter:
    """Cuts the blocks of one table. Numbers the heads from 0, and keeps each until `heads` has passed it."""

    def __init__(self, table: str) -> None:
        self._around = _AROUND.get(table)
        self._heads: list[dict[str, Any]] = []
        self._forgotten = 0

    def cut(self, lines: list[bytes]) -> pyarrow.RecordBatch:
        """Return the columns of whole lines, see `INPUT`.

        Raises Unsound if a line is no record of the table, or is no text.
        """
        block = bytearray().join(lines)
        text = np.frombuffer(block, np.uint8)
        buffer = pyarrow.py_buffer(block)
        _check_text(buffer)
        ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
        starts = np.concatenate(([0], ends[:-1]))
        heads: Positions = np.zeros(len(lines), np.int64)
        labels = pyarrow.nulls(len(ends), pyarrow.string_view())
        aspects = pyarrow.nulls(len(ends), pyarrow.float64())
        if self._around is not None:
            heads, label_starts, label_ends, aspects = self._positions(lines)
            labels = _views(buffer, starts + label_starts, starts + label_ends)
            starts = starts + label_ends
            text[starts] = _OPENING  # in place of the comma before the rest of the line
        rests = _views(buffer, starts, ends)
        return pyarrow.RecordBatch.from_arrays([integers(heads), aspects, labels, rests], schema=INPUT)

    def heads(self, first: int, last: int) -> list[dict[str, Any]]:
        """Return the heads with the numbers from `first` to `last`, and forget earlier ones."""
        del self._heads[: first - self._forgotten]
        self._forgotten = first
        return self._heads[: last - first + 1]

    def _positions(self, lines: list[bytes]) -> tuple[Positions, Positions, Positions, pyarrow.Array]:
        """Return for each line: the number of its head, begin and end of its label, height over width."""
        assert self._around is not None
        before, after = self._around
        firsts, sizes = list[int](), list[int]()  # of each head: its first line, and where labels begin
        aspects = list[float | None]()
        head, known = b"\n", self._forgotten + len(self._heads)
        for number, line in enumerate(lines):
            if not line.startswith(head):
                size = line.find(before) + len(before)
                head = line[:size]
                decoded = _decoded(head[: -len(before)])
                self._heads.append(decoded)
                aspects.append(_aspect(decoded))
                firsts.append(number)
                sizes.append(size)
        places = np.repeat(np.arange(len(firsts)), np.diff([*firsts, len(lines)]))
        starts = np.array(sizes)[places]
        ends = np.fromiter((line.rfind(after) for line in lines), np.int64, len(lines))
        if (ends < starts).any():
            raise _damaged()
        return places + known, starts, ends, numbers(aspects, pyarrow.float64()).take(integers(places))


def _decoded(head: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(head + b"}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged() from error
    return found


def _aspect(head: dict[str, Any]) -> float | None:
    width, height = head.get("width"), head.get("height")
    return height / width if isinstance(width, int) and isinstance(height, int) and width else None


def _check_text(buffer: pyarrow.Buffer) -> None:
    """Raise Unsound unless the bytes are UTF-8: DuckDB does not check what it gets."""
    whole = pyarrow.Array.from_buffers(
        pyarrow.large_string(), 1, [None, pyarrow.py_buffer(np.array([0, buffer.size], np.int64)), buffer]
    )
    try:
        whole.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        raise _damaged() from error


def _views(buffer: pyarrow.Buffer, starts: Positions, ends: Positions) -> pyarrow.Array:
    """Return texts of a buffer as an Arrow array that points into it."""
    text = np.frombuffer(buffer, np.uint8)
    sizes = ends - starts
    views = np.zeros(len(starts), _VIEW)
    views["size"], views["offset"] = sizes, starts
    if (sizes <= _INLINE).any():
        short = [bytes(text[start:end]).decode() for start, end in zip(starts, ends, strict=True)]
        return texts(short).cast(pyarrow.string_view())
    beginnings = text[starts[:, None] + np.arange(_BEGINNING)]
    views["start"] = np.ascontiguousarray(beginnings).view(f"S{_BEGINNING}").ravel()
    return pyarrow.Array.from_buffers(
        pyarrow.string_view(), len(starts), [None, pyarrow.py_buffer(views), buffer]
    )


def _damaged() -> Unsound:
    return Unsound("the export holds a line that is no record of its kind: see harvester verify")
