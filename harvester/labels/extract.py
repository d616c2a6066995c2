"""The extractor: turns label rows into the lines of records.

Pure: no files, no network. It works on bytes: objects and classifications are copied as sent, and are never
parsed into Python objects as a whole. That keeps it fast, and numbers and unknown keys exactly as sent.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from harvester.errors import SkipRow
from harvester.filters import Chain
from harvester.filters.own import OwnFilter
from harvester.labels.answers import AnswerSerialiser
from harvester.labels.classifications import ClassificationReader
from harvester.labels.locations import Locations
from harvester.labels.notes import Note, Remark, Remarks
from harvester.labels.objects import ObjectReader
from harvester.labels.ontology import Ontology, read_ontology
from harvester.labels.records import LARGE_ROW_BYTES, LineBuffer, Lines, completed, row_ends, row_head
from harvester.labels.text import has_line_break
from harvester.labels.units import UnitReader
from harvester.labels.wire import LabelRow, PlanRow, Row, SentRow
from harvester.settings import Format, Selection

_decode_row = msgspec.json.Decoder(LabelRow).decode


# Label hash -> notes on that label row which were made before the row was read.
Known = Mapping[str, Iterable[Remark]]
NOTHING_KNOWN: Known = {}


class Extracted(msgspec.Struct):
    """The result of extracting some label rows, by kind of record.

    `lines` are the lines to write and `rows` the number of label rows that have lines. `seen`, `written` and
    `dropped` count records; `dropped` counts by filter name. `notes` are the notes on these rows. `lacking`
    are the fields that the expression of ``--where`` reads and that no record of these rows had.
    """

    lines: dict[str, Lines]
    rows: dict[str, int]
    seen: dict[str, int]
    written: dict[str, int]
    dropped: dict[str, dict[str, int]]
    notes: list[Note] = []
    lacking: frozenset[str] = frozenset()


class Extractor:
    """Extracts and filters the records of label rows, and serialises them as lines. Thread-safe."""

    def __init__(
        self,
        selection: Selection,
        format: Format,
        ontology: bytes | None,
        functions: Mapping[str, OwnFilter] | None = None,
    ) -> None:
        """Make an extractor.

        Args:
            selection: which records are wanted, and which optional values they hold.
            format: which kinds of records are written, and how.
            ontology: the JSON of the project's editor structure, None if it is not available.
            functions: filter functions by name, used instead of importing the filters that `selection` names.

        Raises:
            BadInput: a filter of `selection` cannot be imported, or `ontology` is not a valid ontology.
        """
        known = read_ontology(ontology)
        serialiser = AnswerSerialiser(known)
        self._signed_urls = selection.signed_urls
        self._emit = format.kinds
        chains = {
            kind: Chain(kind, selection, known.names, known.shapes, functions)
            for kind in ("objects", "classifications")
        }
        self.filters = {kind: chain.names for kind, chain in chains.items() if kind in format.kinds}
        self._fields = frozenset[str]().union(*(chain.fields for chain in chains.values()))
        self._objects = ObjectReader(chains["objects"], serialiser, known)
        self._classifications = ClassificationReader(
            chains["classifications"],
            serialiser,
            known,
            per_frame=format.per_frame,
            with_reviews=selection.include_reviews or chains["classifications"].reads("reviews"),
        )
        self._units = UnitReader(format.kinds, signed_urls=selection.signed_urls)
        self._finders = _finders(serialiser, known, emitted=format.kinds) if "units" in format.kinds else []

    def extract(self, row: Row, planned: PlanRow, known: Known = NOTHING_KNOWN) -> Extracted:
        """Return the records of one label row.

        Args:
            row: the label row as sent, or its skeleton. Row records can only be made from the row as sent.
            planned: its row of the plan.
            known: notes that were made before, by label hash.

        Raises:
            SkipRow: the row is not valid JSON, or does not have the form of a label row.
            BadInput: one of the user's own filters failed.
        """
        buffers, notes = self._new_buffers(), list[Note]()
        return _harvest(buffers, [self._add(buffers, row, planned, known, notes)], notes)

    def extract_all(
        self, rows: Iterable[tuple[Row, PlanRow]], known: Known = NOTHING_KNOWN
    ) -> Iterator[tuple[int, Extracted | SkipRow]]:
        """Read label rows. Yield (number of rows, their records), or (1, the error) for an unreadable one.

        The records of consecutive readable rows come in one `Extracted`. Raises BadInput like `extract`.
        """
        buffers, sizes, notes = self._new_buffers(), list[int](), list[Note]()
        for row, planned in rows:
            try:
                sizes.append(self._add(buffers, row, planned, known, notes))
            except SkipRow as error:
                if sizes:
                    yield len(sizes), _harvest(buffers, sizes, notes)
                yield 1, error
                buffers, sizes, notes = self._new_buffers(), [], []
        if sizes:
            yield len(sizes), _harvest(buffers, sizes, notes)

    def _new_buffers(self) -> dict[str, LineBuffer]:
        return {kind: LineBuffer(self.filters.get(kind, ()), self._fields) for kind in self._emit}

    def _add(
        self, buffers: dict[str, LineBuffer], sent: Row, planned: PlanRow, known: Known, notes: list[Note]
    ) -> int:
        """Add the records of a row to `buffers`, and return its size in bytes (0 for a skeleton).

        If it raises SkipRow, everything that was added of this row has been removed again.
        """
        marks = [buffer.mark() for buffer in buffers.values()]
        remarks = Remarks()
        try:
            size = self._read(buffers, sent, planned, remarks)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SkipRow) as exc:
            for buffer, mark in zip(buffers.values(), marks, strict=True):
                buffer.back_to(mark)
            if isinstance(exc, SkipRow):
                raise
            raise SkipRow(_reason(exc), operation="extract", row=planned.label_hash) from exc
        for buffer, mark in zip(buffers.values(), marks, strict=True):
            buffer.count_row(mark)
        if known:
            for remark in known.get(planned.label_hash or "", ()):
                remarks.add(*remark)
        if remarks:
            notes += remarks.notes(planned)
        return size

    def _read(self, buffers: dict[str, LineBuffer], sent: Row, planned: PlanRow, remarks: Remarks) -> int:
        row, skeleton = (b"", sent) if isinstance(sent, LabelRow) else _on_one_line(sent)
        _compare(skeleton, planned, remarks)
        skeleton = completed(skeleton, planned)
        if skeleton.label_hash != planned.label_hash:  # a repeated key in the JSON, or not the requested row
            raise SkipRow("the label row says it is another one", operation="extract", row=planned.label_hash)
        head, data_type = row_head(skeleton), (skeleton.data_type or "").lower()
        locations = Locations(
            skeleton, signed_urls=self._signed_urls, width=planned.width, height=planned.height
        )
        frames = planned.number_of_frames or None
        for kind, buffer in buffers.items():
            if kind == "objects":
                self._objects.read(buffer, skeleton, data_type, head, locations, remarks)
            elif kind == "classifications":
                self._classifications.read(buffer, skeleton, data_type, head, locations, remarks, frames)
            elif kind == "rows":
                _add_row(buffer, row, planned)
        if "units" in buffers:  # last, because a unit's record counts the other records on it
            for find in self._finders:
                find(skeleton, data_type, locations)
            self._units.read(buffers["units"], skeleton, head, locations, frames)
        return len(row)


def _finders(
    serialiser: AnswerSerialiser, ontology: Ontology, *, emitted: Collection[str]
) -> list[Callable[[LabelRow, str, Locations], None]]:
    """Return functions that read the labels of a row whose kind is not `emitted`, without writing them.

    A space that only such a label names is a unit too, and `Locations` learns of it when the label is read.
    """
    objects = ObjectReader(Chain("objects", Selection(), {}, {}), serialiser, ontology)
    classifications = ClassificationReader(
        Chain("classifications", Selection(), {}, {}),
        serialiser,
        ontology,
        per_frame=False,
        with_reviews=False,
    )

    def find_in_objects(row: LabelRow, data_type: str, locations: Locations) -> None:
        objects.read(LineBuffer(), row, data_type, b"", locations, Remarks())

    def find_in_classifications(row: LabelRow, data_type: str, locations: Locations) -> None:
        classifications.read(LineBuffer(), row, data_type, b"", locations, Remarks(), None)

    finders = {"objects": find_in_objects, "classifications": find_in_classifications}
    return [find for kind, find in finders.items() if kind not in emitted]


class RowByRow(Extractor):
    """An extractor that never puts the records of several label rows into one `Extracted`."""

    def extract_all(
        self, rows: Iterable[tuple[Row, PlanRow]], known: Known = NOTHING_KNOWN
    ) -> Iterator[tuple[int, Extracted | SkipRow]]:
        """Read label rows one at a time. Yields like `Extractor.extract_all`, always with 1 row."""
        for row, planned in rows:
            try:
                yield 1, self.extract(row, planned, known)
            except SkipRow as error:
                yield 1, error


def _compare(row: LabelRow, planned: PlanRow, remarks: Remarks) -> None:
    """Add notes if a row contradicts its listing. Call it before missing values are filled in."""
    if planned.replaced_in:
        remarks.add("surrogates_replaced", planned.replaced_in)
    if planned.listed_twice:
        remarks.add("listed_twice", "the first of its locations in the plan counts")
    for field, said, listed in (
        ("branch_name", row.branch_name, planned.branch_name),
        ("data_hash", row.data_hash, planned.data_hash),
        ("dataset_hash", row.dataset_hash, planned.dataset_hash),
    ):
        if said != listed and said and listed:
            remarks.add("unlike_listing", f"{field} {said}, listed as {listed}")


def _harvest(buffers: dict[str, LineBuffer], sizes: list[int], notes: list[Note]) -> Extracted:
    """Make the result of the records in `buffers`. `sizes` are the sizes of their label rows in bytes."""
    large_rows = sum(sizes) if max(sizes) > LARGE_ROW_BYTES else 0
    return Extracted(
        lines={kind: buffer.lines(large_rows) for kind, buffer in buffers.items()},
        rows={kind: buffer.rows for kind, buffer in buffers.items()},
        seen={kind: buffer.seen for kind, buffer in buffers.items()},
        written={kind: buffer.written for kind, buffer in buffers.items()},
        dropped={kind: buffer.dropped for kind, buffer in buffers.items()},
        notes=notes,
        lacking=frozenset.intersection(*(frozenset(buffer.lacking) for buffer in buffers.values())),
    )


def _on_one_line(row: SentRow) -> tuple[SentRow, LabelRow]:
    """Return a label row without line breaks, and its skeleton."""
    # Decode first: it proves that the JSON is valid, and in valid JSON line breaks are only between values.
    skeleton = _decode_row(row)
    if not has_line_break(row):
        return row, skeleton
    row = msgspec.json.format(row, indent=-1)
    return row, _decode_row(row)


def _add_row(buffer: LineBuffer, row: SentRow, planned: PlanRow) -> None:
    if not len(row):
        raise TypeError("a row record is made of the row as sent, not of its skeleton")
    listed = bytes(planned.metadata) or b"null"
    if has_line_break(listed):
        listed = msgspec.json.format(listed, indent=-1)
    buffer.add(*row_ends(listed), [row])


def _reason(exc: Exception) -> str:
    """Return why a row cannot be read. The text names a position and never quotes the row's content."""
    if isinstance(exc, UnicodeDecodeError):
        return "the label row is no valid UTF-8"
    if isinstance(exc, RecursionError):
        return "the label row is nested too deep"
    if isinstance(exc, msgspec.ValidationError):
        return f"the label row has an unknown form: {exc}"
    return f"the label row is no valid JSON: {exc}"
