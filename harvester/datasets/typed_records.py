"""Turns lines of records into Arrow batches with typed columns, through DuckDB, in constant memory."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import duckdb
import pyarrow

from harvester.datasets.columns import TABLES
from harvester.datasets.queries import MACROS, REMARKS, query
from harvester.errors import Unsound

if TYPE_CHECKING:
    from harvester.datasets.counts import Counts

_LINES = 2048  # lines that are given to DuckDB at once: the number of rows that it works on at once
# Between the object or classification of a line and its neighbours.
_LABELS = {
    "objects": (b',"object":', b',"object_hash":'),
    "classifications": (b',"classification":', b',"classification_hash":'),
}
_INPUT = pyarrow.schema([("label", pyarrow.string()), ("rest", pyarrow.string())])


class TypedTable:
    """One table of `harvester.datasets.columns`: makes its batches. Not thread-safe."""

    def __init__(self, table: str, counts: "Counts | None" = None) -> None:
        """`counts` gets the remarks on values that could not be written."""
        self._table = table
        self._counts = counts
        self._connection = _connect()
        schema = self._reader(pyarrow.RecordBatchReader.from_batches(_INPUT, [])).schema
        self.schema = schema.remove(len(TABLES[table]))

    def batches(self, lines: Iterable[bytes]) -> Iterator[pyarrow.RecordBatch]:
        """Yield batches of the records in `lines`, in their order, while `lines` are read.

        Raises:
            Unsound: a line is no record of this table.
        """
        raised: list[BaseException] = []

        def given() -> Iterator[pyarrow.RecordBatch]:
            try:
                rest = iter(lines)
                while some := list(islice(rest, _LINES)):
                    yield _input(self._table, some)
            except BaseException as error:  # DuckDB would raise another one in its place
                raised.append(error)
                raise

        try:
            for batch in self._reader(pyarrow.RecordBatchReader.from_batches(_INPUT, given())):
                self._note(batch.column(batch.num_columns - 1))
                yield pyarrow.RecordBatch.from_arrays(batch.columns[:-1], schema=self.schema)
        except (duckdb.Error, pyarrow.ArrowException, OSError) as error:
            if raised:
                raise raised[0] from None
            raise Unsound(f"the export holds a line that is no record: {error}") from error

    def _reader(self, lines: pyarrow.RecordBatchReader) -> pyarrow.RecordBatchReader:
        self._connection.register("lines", lines)
        return self._connection.sql(query(self._table)).to_arrow_reader(_LINES)

    def _note(self, remarks: pyarrow.Array) -> None:
        for found in remarks.value_counts().to_pylist():
            for bit, reason in enumerate(REMARKS):
                if self._counts is not None and found["values"] >> bit & 1:
                    self._counts.remark(reason, found["counts"])


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


def _input(table: str, lines: list[bytes]) -> pyarrow.RecordBatch:
    """Return the relation that the statements read, see `harvester.datasets.queries`."""
    between = _LABELS.get(table)
    if between is None:
        labels: list[bytes | None] = [None] * len(lines)
        rests = lines
    else:
        start, end = between
        labels, rests = [], []
        for line in lines:
            first = line.find(start)
            last = line.rfind(end)
            labels.append(line[first + len(start) : last])
            rests.append(line[:first] + line[last:])
    arrays = [pyarrow.array(values, pyarrow.binary()).cast(pyarrow.string()) for values in (labels, rests)]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=_INPUT)


def empty_schemas() -> dict[str, pyarrow.Schema]:
    """Return the schema of each table."""
    return {table: TypedTable(table).schema for table in TABLES}
