"""Turns lines of records into Arrow batches with typed columns, in constant memory."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow

from harvester.datasets.arrow_arrays import Doubles, Places, array_of, fixed, repeated, texts
from harvester.datasets.columns import HEAD, MADE, TABLES, TAILS, TIME
from harvester.datasets.geometry_columns import GeometryColumns
from harvester.datasets.record_lines import cut, not_a_record
from harvester.datasets.record_types import RecordType
from harvester.datasets.sent_labels import NO_DATE, NO_EXTENT, LabelDecoder, Moments, SentMade, SentObject

_TEXT = pyarrow.string()
_DATES = ("created_at", "last_edited_at")
# The column of the label as sent, and the type into which it is decoded, by table.
_LABELS: Mapping[str, tuple[str, type[SentMade]]] = {
    "objects": ("object", SentObject),
    "classifications": ("classification", SentMade),
}
_AS_JSON = frozenset(("reviews",))
_made_of = attrgetter(*MADE)
_Columns = dict[str, pyarrow.Array]


class TypedTable:
    """Makes batches of one table of `harvester.datasets.columns`. Not thread-safe.

    `remarks` counts the values of the last batch that could not be written, by reason.
    """

    def __init__(self, table: str, *, dictionaries: bool = False) -> None:
        """With `dictionaries`, texts that many records share are dictionary-encoded."""
        self._table, self._dictionaries = table, dictionaries
        self.remarks = Counter[str]()
        self._moments = Moments()
        columns, repeating = TABLES[table], list[str]()
        if table in _LABELS:
            self._label, type = _LABELS[table]
            self._head, self._tail = RecordType(HEAD), RecordType(TAILS[table], _AS_JSON & columns.keys())
            self._labels = LabelDecoder(type)
            shared = (*HEAD, *TAILS[table], *MADE)
            repeating = [name for name in shared if columns[name] == _TEXT and name not in _AS_JSON]
        else:
            self._whole = RecordType(columns)
        self._repeating = frozenset(repeating)
        encoded = dict.fromkeys(repeating, pyarrow.dictionary(pyarrow.int32(), _TEXT)) if dictionaries else {}
        self.schema = pyarrow.schema({**columns, **encoded})

    def batch(self, lines: list[bytes]) -> pyarrow.RecordBatch:
        """Return a batch of the records in these lines.

        Raises:
            Unsound: a line is no record of this table.
        """
        self.remarks = Counter()
        made = self._of_labels(lines) if self._table in _LABELS else self._of_whole_lines(lines)
        columns = [made[name] for name in self.schema.names]
        return pyarrow.RecordBatch.from_arrays(columns, schema=self.schema)

    def _of_labels(self, lines: list[bytes]) -> _Columns:
        """Return the columns of lines with labels."""
        found = cut(self._table, lines)
        heads = self._records(self._head, found.heads, np.bincount(found.head_of))
        tails = self._records(self._tail, found.tails, np.bincount(found.tail_of))
        sent = self._labels.decode(found.labels)
        columns = {
            **self._columns(self._head, heads, found.head_of),
            self._label: _checked(texts(found.labels)),
            f"{self._label}_hash": array_of(_TEXT, found.hashes),
            **self._columns(self._tail, tails, found.tail_of),
            **self._made(sent),
        }
        if self._table == "objects":
            sizes = np.array([(head.width, head.height) for head in heads], np.float64)[found.head_of]
            columns |= self._geometry(sent, *sizes.T)
        return columns

    def _of_whole_lines(self, lines: list[bytes]) -> _Columns:
        """Return the columns of lines without labels."""
        records = self._records(self._whole, lines, np.ones(len(lines), np.int64))
        columns = self._columns(self._whole, records, np.arange(len(lines)))
        dates = {name: [getattr(r, name) for r in records] for name in _DATES if name in self.schema.names}
        return columns | self._times(dates, set())

    def _records(self, type: RecordType, lines: Sequence[bytes], times: Places) -> list[Any]:
        """Decode records, or heads or tails of them; each occurs in this number of lines (`times`)."""
        records = list[Any]()
        for line, number in zip(lines, times.tolist(), strict=True):
            record, reasons = type.decode(line)
            records.append(record)
            self.remarks.update(dict.fromkeys(reasons, number))
        return records

    def _columns(self, type: RecordType, records: Sequence[Any], places: Places) -> _Columns:
        """Return the columns, except those of times. Line number i has the record ``records[places[i]]``."""
        columns, at = _Columns(), fixed(places)
        for name, column in type.columns.items():
            values = [getattr(record, name) for record in records]
            if name in self._repeating:
                columns[name] = self._repeated(values, places)
            elif column != TIME:
                columns[name] = array_of(column, values).take(at)
        return columns

    def _repeated(self, values: Sequence[str | None], places: Places) -> pyarrow.Array:
        found = repeated(values, places)
        return found if self._dictionaries else found.dictionary_decode()

    def _made(self, sent: Sequence[SentMade]) -> _Columns:
        """Return the columns `MADE`, and count what could not be read of labels, except extents."""
        no_dates = set[int]()
        for row, reasons in self._labels.reasons.items():
            for reason in reasons - {NO_EXTENT}:
                if reason == NO_DATE:
                    no_dates.add(row)
                else:
                    self.remarks[reason] += 1
        values = dict(zip(MADE, zip(*map(_made_of, sent), strict=True), strict=True))
        columns = self._times({name: values.pop(name) for name in _DATES}, no_dates)
        for name, found in values.items():
            if name in self._repeating:
                columns[name] = self._repeated(found, np.arange(len(found)))
            else:
                columns[name] = array_of(MADE[name], found)
        return columns

    def _times(self, texts: Mapping[str, Sequence[str | None]], no_dates: set[int]) -> _Columns:
        """Return columns of times. Count the rows with a text that is no date, and those in `no_dates`."""
        columns = _Columns()
        for name, some in texts.items():
            found = self._moments.of(some)
            columns[name] = array_of(TIME, found)
            if found.count(None) != some.count(None):
                no_dates |= {
                    row for row, moment in enumerate(found) if moment is None and some[row] is not None
                }
        self.remarks[NO_DATE] += len(no_dates)
        return columns

    def _geometry(self, sent: Sequence[SentObject], width: Doubles, height: Doubles) -> _Columns:
        unreadable = [row for row, reasons in self._labels.reasons.items() if NO_EXTENT in reasons]
        made = GeometryColumns(sent, width, height, unreadable)
        self.remarks[NO_EXTENT] += int(made.unknown.sum())
        return made.columns


def batch_maker(table: str) -> Callable[[list[bytes]], tuple[pyarrow.RecordBatch, Counter[str]]]:
    """Return a function that makes a dictionary-encoded batch of lines, and counts the remarks on it."""
    typed = TypedTable(table, dictionaries=True)
    return lambda lines: (typed.batch(lines), typed.remarks)


def _checked(labels: pyarrow.Array) -> pyarrow.Array:
    """Return labels as they are. Raises Unsound unless all are UTF-8."""
    try:
        labels.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        raise not_a_record() from error
    return labels
