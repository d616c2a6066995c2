"""The Parquet format: a directory of files for each table of `harvester.datasets.columns`.

The schema is the same for every project, so that the files of different exports can be read as one table.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pyarrow
import pyarrow.parquet

from harvester.dataset_options import ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.columns import TABLES_VERSION
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.ontology_table import ontology_lines
from harvester.datasets.typed_records import TypedTable
from harvester.datasets.written import Output
from harvester.schema import Kind

RECORDS_PER_FILE = 1_000_000
# A row group is written once it has so many records, or bytes in memory.
RECORDS_PER_GROUP = 20_480
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
        for kind in self.kinds:
            _write(kind, _lines(choice, kind, counts), output, counts)
        _write("listing", export.listing(), output, counts)
        _write("ontology", ontology_lines(export.ontology()), output, counts)


def _lines(choice: Choice, kind: Kind, counts: Counts) -> Iterator[bytes]:
    """Yield the chosen lines of a kind, and count them as written."""
    for line in choice.lines(kind):
        counts.write(kind)
        yield line


def _write(table: str, lines: Iterable[bytes], output: Output, counts: Counts) -> None:
    """Write the files of a table: ``objects/00000.parquet``, ..."""
    typed = TypedTable(table, counts)
    groups = _groups(typed.batches(lines))
    for number in range(10**9):
        with output.create(f"{table}/{number:05}.parquet") as file:
            if not _write_file(file, typed.schema, groups):
                return


def _write_file(file: BinaryIO, schema: pyarrow.Schema, groups: Iterator[pyarrow.Table]) -> bool:
    """Write `RECORDS_PER_FILE` records, or all that are left. Return whether there may be more."""
    written = 0
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
            written += group.num_rows
            if written >= RECORDS_PER_FILE:
                return True
    return False


def _groups(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.Table]:
    """Yield row groups. Where one begins depends on the records only."""
    group: list[pyarrow.RecordBatch] = []
    records = size = 0
    for batch in batches:
        group.append(batch)
        records += batch.num_rows
        size += batch.nbytes
        if records >= RECORDS_PER_GROUP or size >= BYTES_PER_GROUP:
            yield pyarrow.Table.from_batches(group)
            group, records, size = [], 0, 0
    if group:
        yield pyarrow.Table.from_batches(group)
