"""`harvester.arrow`: a table of an export as Arrow batches, without files in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harvester.datasets.columns import TABLES
from harvester.datasets.finished_export import FinishedExport
from harvester.errors import BadInput, how_to_install
from harvester.live_rows import in_pieces
from harvester.schema import Kind

if TYPE_CHECKING:
    import pyarrow


def arrow(target: Path | str, table: str = "objects") -> "pyarrow.RecordBatchReader":
    """Return the live records of a finished export as Arrow batches, in plan order.

    The columns are those of the Parquet format. Batches are made while they are read; memory stays flat.

    Args:
        target: a directory or the address of an object store.
        table: ``objects``, ``classifications``, ``units``, ``listing`` or ``ontology``.

    Raises:
        BadInput: there is no such table, no finished export, or a library is missing.
        Unsound: the export is damaged. While batches are read, pyarrow raises an error of its own.
    """
    if table not in TABLES:
        raise BadInput(f"unknown table {table!r}: one of {', '.join(TABLES)}")
    try:
        import pyarrow

        from harvester.datasets.ontology_table import ontology_lines
        from harvester.datasets.record_lines import chunks_of
        from harvester.datasets.typed_records import TypedTable
    except ImportError as error:
        raise BadInput(
            f"harvester.arrow needs {error.name or error}: {how_to_install('datasets')}"
        ) from error
    export = FinishedExport(target)

    def pieces() -> Iterator[list[bytes]]:
        if table == "listing":
            return in_pieces(export.listing())
        if table == "ontology":
            return in_pieces(ontology_lines(export.ontology()))
        return export.pieces(cast(Kind, table))

    typed = TypedTable(table)
    return pyarrow.RecordBatchReader.from_batches(typed.schema, map(typed.batch, chunks_of(pieces())))
