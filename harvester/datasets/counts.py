"""Counts what a conversion reads, writes and leaves out, so that nothing is dropped silently."""

from collections.abc import Mapping

import msgspec

from harvester.schema import Count


class ConvertedCounts(msgspec.Struct):
    """Record counts of one kind. `read` = `written` + the sum of `left_out`, which counts by reason."""

    read: Count = 0
    written: Count = 0
    left_out: dict[str, Count] = msgspec.field(default_factory=dict)


class Counts:
    """The counts of a conversion. One thread adds to them.

    `records` counts live records by kind: each record that is read is either written or left out for one
    reason. `remarks` counts what was written in part only, or in another form, by reason. `tables` holds the
    counts that only one format has: table -> line -> column -> number, such as ``shapes -> polygon ->
    segmentation -> 12`` or ``splits -> train -> units -> 80``.
    """

    def __init__(self) -> None:
        self.records: dict[str, ConvertedCounts] = {}
        self.remarks: dict[str, int] = {}
        self.tables: dict[str, dict[str, dict[str, int]]] = {}

    def of(self, kind: str) -> ConvertedCounts:
        """Return the counts of a kind, which then appears in the summary even if they stay 0."""
        return self.records.setdefault(kind, ConvertedCounts())

    def read(self, kind: str, number: int) -> None:
        """Count records that were read. Formats leave this to `harvester.datasets.choosing`."""
        self.of(kind).read += number

    def write(self, kind: str, number: int = 1) -> None:
        """Count records that became something in the data set."""
        self.of(kind).written += number

    def leave_out(self, kind: str, reason: str, number: int = 1) -> None:
        """Count records that the data set does not hold. `reason` is a word such as ``shape``."""
        left_out = self.of(kind).left_out
        left_out[reason] = left_out.get(reason, 0) + number

    def remark(self, reason: str, number: int = 1) -> None:
        """Count values that could not be written as they are."""
        self.remarks[reason] = self.remarks.get(reason, 0) + number

    def tally(self, table: str, line: str, column: str, number: int = 1) -> None:
        """Add to a cell of a table of the format's own."""
        cells = self.tables.setdefault(table, {}).setdefault(line, {})
        cells[column] = cells.get(column, 0) + number

    def check(self) -> None:
        """Raise AssertionError unless each record that was read was written or left out."""
        for kind, counts in self.records.items():
            accounted = counts.written + sum(counts.left_out.values())
            assert counts.read == accounted, f"{kind}: {counts.read} read, {accounted} accounted for"

    def in_order(self) -> "Counts":
        """Return the counts with kinds, reasons and cells sorted, so that equal counts give equal bytes."""
        ordered = Counts()
        for kind, counts in sorted(self.records.items()):
            ordered.records[kind] = ConvertedCounts(counts.read, counts.written, _sorted(counts.left_out))
        ordered.remarks = _sorted(self.remarks)
        ordered.tables = {
            table: {line: dict(cells) for line, cells in lines.items()}
            for table, lines in sorted(self.tables.items())
        }
        return ordered


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
