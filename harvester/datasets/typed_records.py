"""Turns lines of records into Arrow batches with typed columns, in constant memory."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow

from harvester.datasets.arrow_arrays import Doubles, Places, array_of, fixed, repeated, texts
from harvester.datasets.columns import HEAD, MADE, TABLES, TAILS, TIME
from harvester.datasets.counts import Counts
from harvester.datasets.geometry_columns import GeometryColumns
from harvester.datasets.line_blocks import cut, no_record
from harvester.datasets.record_types import RecordType
from harvester.datasets.sent_labels import NO_DATE, NO_EXTENT, LabelDecoder, Moments, SentMade, SentObject

_TEXT = pyarrow.string()
_DATES = ("created_at", "last_edited_at")
# What is decoded of the label as sent, by table: its column, and its type.
_LABELS: Mapping[str, tuple[str, type[SentMade]]] = {
    "objects": ("object", SentObject),
    "classifications": ("classification", SentMade),
}
_AS_JSON = frozenset(("reviews",))
_made_of = attrgetter(*MADE)
_Columns = dict[str, pyarrow.Array]


class TypedTable:
    """One table of `harvester.datasets.columns`: makes its batches. Not thread-safe."""

    def __init__(self, table: str, counts: Counts | None = None, *, dictionaries: bool = False) -> None:
        """`counts` gets the remarks on values that could not be written.

        With `dictionaries`, texts that many records share are dictionary-encoded.
        """
        self._table, self._counts, self._dictionaries = table, counts, dictionaries
        self._moments = Moments()
        columns, texts = TABLES[table], list[str]()
        if table in _LABELS:
            self._label, type = _LABELS[table]
            self._head, self._tail = RecordType(HEAD), RecordType(TAILS[table], _AS_JSON & columns.keys())
            self._labels = LabelDecoder(type)
            texts = [n for n in (*HEAD, *TAILS[table], *MADE) if columns[n] == _TEXT and n not in _AS_JSON]
        else:
            self._whole = RecordType(columns)
        self._repeating = frozenset[str](texts)
        encoded = dict.fromkeys(texts, pyarrow.dictionary(pyarrow.int32(), _TEXT)) if dictionaries else {}
        self.schema = pyarrow.schema({**columns, **encoded})

    def batch(self, lines: list[bytes]) -> pyarrow.RecordBatch:
        """Return a batch of the records in these lines.

        Raises:
            Unsound: a line is no record of this table.
        """
        made = self._cut(lines) if self._table in _LABELS else self._whole_lines(lines)
        columns = [made[name] for name in self.schema.names]
        return pyarrow.RecordBatch.from_arrays(columns, schema=self.schema)

    def _cut(self, lines: list[bytes]) -> _Columns:
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

    def _whole_lines(self, lines: list[bytes]) -> _Columns:
        """Return the columns of lines without labels."""
        records = self._records(self._whole, lines, np.ones(len(lines), np.int64))
        columns = self._columns(self._whole, records, np.arange(len(lines)))
        dates = {name: [getattr(r, name) for r in records] for name in _DATES if name in self.schema.names}
        return columns | self._times(dates, set())

    def _records(self, type: RecordType, lines: Sequence[bytes], times: Places) -> list[Any]:
        """Decode records, or parts of them, which occur so many `times`."""
        records = list[Any]()
        for line, number in zip(lines, times.tolist(), strict=True):
            record, reasons = type.decode(line)
            records.append(record)
            for reason in reasons:
                self._remark(reason, number)
        return records

    def _columns(self, type: RecordType, records: Sequence[Any], places: Places) -> _Columns:
        """Return the columns, but those of times, of the records at these places."""
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
        """Return who made labels, and when, and count what of labels could not be read."""
        no_dates = set[int]()
        for row, reasons in self._labels.reasons.items():
            for reason in reasons - {NO_EXTENT}:
                if reason == NO_DATE:
                    no_dates.add(row)
                else:
                    self._remark(reason, 1)
        values = dict(zip(MADE, zip(*map(_made_of, sent), strict=True), strict=True))
        columns = self._times({name: values.pop(name) for name in _DATES}, no_dates)
        for name, found in values.items():
            if name in self._repeating:
                columns[name] = self._repeated(found, np.arange(len(found)))
            else:
                columns[name] = array_of(MADE[name], found)
        return columns

    def _times(self, texts: Mapping[str, Sequence[str | None]], no_dates: set[int]) -> _Columns:
        """Return columns of times, and count the rows without a date that they should have."""
        columns = _Columns()
        for name, some in texts.items():
            found = self._moments.of(some)
            columns[name] = array_of(TIME, found)
            if found.count(None) != some.count(None):
                no_dates |= {
                    row for row, moment in enumerate(found) if moment is None and some[row] is not None
                }
        self._remark(NO_DATE, len(no_dates))
        return columns

    def _geometry(self, sent: Sequence[SentObject], width: Doubles, height: Doubles) -> _Columns:
        unreadable = [row for row, reasons in self._labels.reasons.items() if NO_EXTENT in reasons]
        made = GeometryColumns(sent, width, height, unreadable)
        self._remark(NO_EXTENT, int(made.unknown.sum()))
        self._remark("not_an_integer", len(made.broken_masks))
        return made.columns

    def _remark(self, reason: str, number: int) -> None:
        if self._counts is not None and number:
            self._counts.remark(reason, number)


def batch_maker(table: str) -> Callable[[list[bytes]], tuple[pyarrow.RecordBatch, dict[str, int]]]:
    """Return a function that makes a batch of lines, with dictionaries, and the remarks on it."""
    counts = Counts()
    typed = TypedTable(table, counts, dictionaries=True)

    def make(lines: list[bytes]) -> tuple[pyarrow.RecordBatch, dict[str, int]]:
        counts.remarks = {}
        return typed.batch(lines), counts.remarks

    return make


def _checked(labels: pyarrow.Array) -> pyarrow.Array:
    """Return texts. Raises Unsound unless they are UTF-8."""
    try:
        labels.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        raise no_record() from error
    return labels
