"""The Parquet format: a directory of files for each table of `harvester.datasets.columns`.

The schema is the same for every project, so that the files of different exports can be read as one table.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import BinaryIO

import pyarrow
import pyarrow.parquet

from harvester.dataset_options import ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.columns import TABLES_VERSION
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.in_processes import mapped
from harvester.datasets.ontology_table import ontology_lines
from harvester.datasets.record_lines import chunks_of
from harvester.datasets.typed_records import TypedTable, batch_maker
from harvester.datasets.written import Output
from harvester.live_rows import in_pieces
from harvester.schema import Kind

RECORDS_PER_FILE = 1_000_000  # at least: a file ends with the row group that reaches it
# A row group is written once it has this number of records, or of bytes in memory. Chosen.
RECORDS_PER_GROUP = 32_768
BYTES_PER_GROUP = 32 * 1024**2


class Parquet:
    """Writes the tables. See `harvester.datasets.formats.DatasetFormat`."""

    version = TABLES_VERSION
    kinds: tuple[Kind, ...] = ("units", "objects", "classifications")
    required: tuple[Kind, ...] = ()
    options: frozenset[str] = frozenset()

    def check(self, export: FinishedExport, options: ConvertOptions) -> None:
        """There is nothing to check."""

    def write(
        self,
        choice: Choice,
        export: FinishedExport,
        options: ConvertOptions,
        output: Output,
        counts: Counts,
    ) -> None:
        """Write all tables. Each gets at least one file, so that a reader finds its columns."""
        processes = options.processes
        for kind in self.kinds:
            _write(kind, _counted(choice.pieces(kind), kind, counts), output, counts, processes)
        _write("listing", in_pieces(export.listing()), output, counts, processes)
        _write("ontology", in_pieces(ontology_lines(export.ontology())), output, counts, processes=1)


def _counted(pieces: Iterable[list[bytes]], kind: Kind, counts: Counts) -> Iterator[list[bytes]]:
    """Yield the lines of a kind, and count them as written."""
    for piece in pieces:
        counts.write(kind, len(piece))
        yield piece


def _write(table: str, pieces: Iterable[list[bytes]], output: Output, counts: Counts, processes: int) -> None:
    """Write the files of a table: ``objects/00000.parquet``, ..."""
    schema = TypedTable(table, dictionaries=True).schema
    # Closed in any case: an error, as long as somebody holds it, would keep the worker processes.
    with closing(mapped(batch_maker, (table,), chunks_of(pieces), processes)) as made:
        groups = _groups(_batches(made, counts))
        for number in range(10**9):
            with output.create(f"{table}/{number:05}.parquet") as file:
                if not _write_file(file, schema, groups):
                    return


def _batches(
    made: Iterable[tuple[pyarrow.RecordBatch, Mapping[str, int]]], counts: Counts
) -> Iterator[pyarrow.RecordBatch]:
    """Yield the batches, and count the remarks on them."""
    for batch, remarks in made:
        for reason, number in remarks.items():
            if number:
                counts.remark(reason, number)
        yield batch


def _write_file(file: BinaryIO, schema: pyarrow.Schema, groups: Iterator[pyarrow.Table]) -> bool:
    """Write `RECORDS_PER_FILE` records, or all that are left. Return whether there may be more."""
    written = 0
    settings = {
        "use_dictionary": _with_dictionary(schema),
        "column_encoding": dict.fromkeys(_TIMES.intersection(schema.names), "DELTA_BINARY_PACKED"),
        "write_statistics": _with_statistics(schema),
        "compression_level": _levels(schema),
        "store_schema": False,  # readers shall not get dictionaries
    }
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd", **settings) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
            written += group.num_rows
            del group  # before the next one is made
            if written >= RECORDS_PER_FILE:
                return True
    return False


# Columns whose values hardly ever repeat: a dictionary would only take time and space.
_DISTINCT = frozenset(
    ("object", "object_hash", "classification", "classification_hash", "created_at", "last_edited_at", "sent")
)
_TIMES = frozenset(("created_at", "last_edited_at"))
_LONG = frozenset(("object", "classification", "reviews", "sent", "client_metadata"))  # texts


def _with_dictionary(schema: pyarrow.Schema) -> list[str]:
    """Return the columns that are dictionary-encoded. Coordinates are, too: most have four decimals."""
    return [
        path for field in schema if field.name not in _DISTINCT for path in _leaves(field.name, field.type)
    ]


def _levels(schema: pyarrow.Schema) -> dict[str, int]:
    """Return zstd's level for each column. Of long texts, a higher one takes long and saves little."""
    return {
        path: 1 if field.name in _LONG else 3 for field in schema for path in _leaves(field.name, field.type)
    }


def _with_statistics(schema: pyarrow.Schema) -> list[str]:
    """Return the columns whose least and greatest values are noted: readers skip row groups by them."""
    return [
        field.name for field in schema if not pyarrow.types.is_nested(field.type) and field.name not in _LONG
    ]


def _leaves(path: str, type: pyarrow.DataType) -> Iterator[str]:
    """Yield the paths of a column's leaves, as Parquet names them."""
    if pyarrow.types.is_list(type):
        yield from _leaves(f"{path}.list.element", type.value_type)
    elif pyarrow.types.is_struct(type):
        for inner in type:
            yield from _leaves(f"{path}.{inner.name}", inner.type)
    else:
        yield path


def _groups(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.Table]:
    """Yield row groups. Where one begins depends on the records only."""
    group: list[pyarrow.RecordBatch] = []
    records = size = 0
    for batch in batches:
        group.append(batch)
        records += batch.num_rows
        size += batch.nbytes
        if records >= RECORDS_PER_GROUP or size >= BYTES_PER_GROUP:
            yield _joined(group)
            records = size = 0
    if group:
        yield _joined(group)


def _joined(batches: list[pyarrow.RecordBatch]) -> pyarrow.Table:
    """Return the batches as one table, and empty the list."""
    table = pyarrow.Table.from_batches(batches).unify_dictionaries()
    batches.clear()
    return table
