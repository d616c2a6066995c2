"""Turns lines of records into Arrow batches with typed columns, through DuckDB, in constant memory."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow

from harvester.datasets.arrow_arrays import integers, integers_in, texts
from harvester.datasets.columns import HEAD, TABLES
from harvester.datasets.line_blocks import FULL_CHUNK, INPUT, LABELLED, BlockCutter, Positions
from harvester.datasets.mask_extents import with_extents
from harvester.datasets.queries import MACROS, REMARKS, query
from harvester.errors import Unsound

if TYPE_CHECKING:
    from harvester.datasets.counts import Counts

_ROWS = 8192  # of a batch, at most
_ARROW_TYPES = {"VARCHAR": pyarrow.string(), "BIGINT": pyarrow.int64()}  # of the head's columns
_ENCODED = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
_BROKEN = "not_an_integer"
_INTEGERS = range(-(2**63), 2**63)


class TypedTable:
    """One table of `harvester.datasets.columns`: makes its batches. Not thread-safe."""

    def __init__(self, table: str, counts: "Counts | None" = None, *, dictionaries: bool = False) -> None:
        """`counts` gets the remarks on values that could not be written.

        With `dictionaries`, texts that the records of a frame share are dictionary-encoded.
        """
        self._table = table
        self._counts = counts
        self._connection = _connect()
        self._head = HEAD if table in LABELLED else {}
        made = self._reader(pyarrow.RecordBatchReader.from_batches(INPUT, [])).schema
        self._dictionaries = dictionaries
        types = _ARROW_TYPES | {"VARCHAR": _ENCODED} if dictionaries else _ARROW_TYPES
        heads = [(name, types[type_]) for name, type_ in self._head.items()]
        fields = [pyarrow.field(*head) for head in heads] + [made.field(n) for n in range(1, len(made) - 1)]
        self.schema = pyarrow.schema(fields)
        assert self.schema.names == list(TABLES[table])

    def batches(self, chunks: Iterable[list[bytes]]) -> Iterator[pyarrow.RecordBatch]:
        """Yield batches of the records in `chunks` of lines, in their order, while `chunks` are read.

        Raises:
            Unsound: a line is no record of this table.
        """
        cutter = BlockCutter(self._table)
        # DuckDB collects `_ROWS` for a batch, however large they are: chunks of long lines are given to it
        # one by one.
        for full, some in groupby(chunks, key=lambda chunk: len(chunk) >= FULL_CHUNK):
            for part in [some] if full else ([chunk] for chunk in some):
                yield from self._made(cutter, part)

    def _made(self, cutter: BlockCutter, chunks: Iterable[list[bytes]]) -> Iterator[pyarrow.RecordBatch]:
        raised = list[BaseException]()

        def given() -> Iterator[pyarrow.RecordBatch]:
            try:
                for chunk in chunks:
                    yield cutter.cut(chunk)
            except BaseException as error:  # DuckDB would raise another one in its place
                raised.append(error)
                raise

        try:
            for batch in self._reader(pyarrow.RecordBatchReader.from_batches(INPUT, given())):
                number, *columns, remarks = batch.columns
                self._note(remarks, batch)
                heads = self._heads(cutter, number) if self._head else []
                made = pyarrow.RecordBatch.from_arrays([*heads, *columns], schema=self.schema)
                yield self._with_masks(made) if self._table == "objects" else made
        except (duckdb.Error, pyarrow.ArrowException, OSError) as error:
            if raised:
                raise raised[0] from None
            raise Unsound(f"the export holds a line that is no record: {error}") from error

    def _reader(self, lines: pyarrow.RecordBatchReader) -> pyarrow.RecordBatchReader:
        self._connection.register("lines", lines)
        return self._connection.sql(query(self._table)).to_arrow_reader(_ROWS)

    def _heads(self, cutter: BlockCutter, found: pyarrow.Array) -> list[pyarrow.Array]:
        """Return the columns of the heads with the numbers `found`, which ascend."""
        all_numbers = integers_in(found)
        first = int(all_numbers[0])
        places = all_numbers - first
        heads, columns = cutter.heads(first, int(all_numbers[-1])), []
        for name, type_ in self._head.items():
            fits = _is_integer if type_ == "BIGINT" else _is_text
            values = [head.get(name) for head in heads]
            for place, value in enumerate(values):
                if value is not None and not fits(value):
                    values[place] = None
                    reason = "not_an_integer" if type_ == "BIGINT" else "not_a_text"
                    self._remark(reason, int((places == place).sum()))
            columns.append(self._repeated(values, places, type_))
        return columns

    def _repeated(self, values: list[Any], places: Positions, type: str) -> pyarrow.Array:
        """Return the values at these places."""
        present = None if None not in values else np.array([value is not None for value in values])[places]
        if type == "BIGINT":
            return integers(np.array([value or 0 for value in values], np.int64)[places], present)
        known = dict.fromkeys(value for value in values if value is not None)
        codes = {value: number for number, value in enumerate(known)}
        indices = integers(np.array([codes.get(value, 0) for value in values], np.int32)[places], present)
        encoded = pyarrow.DictionaryArray.from_arrays(indices, texts(list(known)), safe=False)
        return encoded if self._dictionaries else encoded.dictionary_decode()

    def _with_masks(self, batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
        """Return a batch of objects with the extents of bitmasks, which DuckDB cannot read."""
        masks = batch.column("rle")
        if masks.null_count == len(masks):
            return batch
        boxes, unknown = with_extents(batch)
        if unknown:
            self._remark("extent_unknown", unknown)
        return batch.set_column(batch.schema.get_field_index("bbox"), batch.schema.field("bbox"), boxes)

    def _note(self, remarks: pyarrow.Array, batch: pyarrow.RecordBatch) -> None:
        """Count the remarks of a batch."""
        for found in remarks.value_counts().to_pylist():
            for bit, reason in enumerate(REMARKS):
                if found["values"] >> bit & 1:
                    self._remark(reason, found["counts"])
        counted = 1 << REMARKS.index(_BROKEN)
        if broken := [row for row in _broken_ranges(batch) if not remarks[row].as_py() & counted]:
            self._remark(_BROKEN, len(broken))

    def _remark(self, reason: str, number: int) -> None:
        if self._counts is not None:
            self._counts.remark(reason, number)


def _broken_ranges(batch: pyarrow.RecordBatch) -> set[int]:
    """Return the rows that have a range with a number that is no integer, which is null."""
    broken = set[int]()
    for name in set(batch.schema.names) & {"ranges", "attributes", "dynamic_attributes", "answers"}:
        column = batch.column(name)
        ranges = column if name == "ranges" else column.values.field("ranges")
        if any(ranges.values.field(side).null_count for side in ("first", "last")):
            for row, found in enumerate(column.to_pylist()):
                of_row = [found] if name == "ranges" else [answer["ranges"] for answer in found or ()]
                if any(None in pair.values() for some in of_row for pair in some or ()):
                    broken.add(row)
    return broken


def _is_integer(value: Any) -> bool:
    return type(value) is int and value in _INTEGERS


def _is_text(value: Any) -> bool:
    return type(value) is str


def _connect() -> duckdb.DuckDBPyConnection:
    """Return a connection that gives equal results on every machine, and asks no network."""
    connection = duckdb.connect(
        config={
            "threads": 1,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(MACROS)
    return connection
