"""What a format of data sets is: the contract between `harvester.datasets.convert` and each format.

To add a format: a module of this room with a class that has what `DatasetFormat` lists, its line in
`FORMATS`, and its name in `harvester.dataset_options.DATASET_FORMATS`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

from harvester.dataset_options import ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.written import Output
from harvester.errors import BadInput, how_to_install
from harvester.schema import Kind

# The class of each format. Its module is imported when it is used: it may need libraries of an extra.
FORMATS: Mapping[str, str] = {
    "parquet": "harvester.datasets.parquet:Parquet",
    "coco": "harvester.datasets.coco:Coco",
    "yolo": "harvester.datasets.yolo:Yolo",
    "masks": "harvester.datasets.masks:Masks",
}


class DatasetFormat(Protocol):
    """Writes one format. Made anew, without arguments, for each conversion.

    The bytes that it writes depend on the arguments of `write` only: not on time, machine, paths, order of a
    set, or number of threads. Memory does not grow with the number of label rows.
    """

    version: int
    """The version of its schema: raised when its files change in form or meaning."""

    kinds: tuple[Kind, ...]
    """The kinds of record that it reads. The user is told of those that the export does not have."""

    required: tuple[Kind, ...]
    """Those of `kinds` without which it can write nothing: a conversion without them is refused."""

    options: frozenset[str]
    """The fields of `ConvertOptions` that it takes. Another one ends the conversion with BadInput."""

    def check(self, export: FinishedExport, options: ConvertOptions) -> None:
        """Check what can be checked before anything is written: files to read, values of options.

        Raises:
            BadInput: something is wrong; the message says what to change.
        """

    def write(
        self,
        choice: Choice,
        export: FinishedExport,
        options: ConvertOptions,
        output: Output,
        counts: Counts,
    ) -> None:
        """Write the data set.

        Args:
            choice: `choice.rows(kinds)` yields the label rows in plan order, with the records of these kinds
                that the filters keep. Each of the format's `kinds` is read once, with the others or alone,
                and to its end.
            export: for what else it says: `ontology`, `listing` (with the rows that have no labels).
            options: as given.
            output: where files are made, with names below the data set's directory.
            counts: each record of a row, units too, is counted once with `Counts.write` or
                `Counts.leave_out`; what is written in part only, with `Counts.remark`.

        Raises:
            BadInput: something is wrong with the user's input.
        """


def load(name: str) -> DatasetFormat:
    """Return the format of this name.

    Raises:
        BadInput: a library that it needs is missing.
    """
    module, _, found = FORMATS[name].partition(":")
    try:
        return cast(DatasetFormat, getattr(import_module(module), found)())
    except ImportError as error:
        raise BadInput(f"--to {name} needs {error.name or error}: {how_to_install('datasets')}") from error
