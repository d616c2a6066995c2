"""Label rows -> records. Pure, and on bytes: what is copied is never parsed into Python objects."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import copy

import msgspec

from harvester.errors import SkipRow
from harvester.filters import Chain
from harvester.filters.own import OwnFilter
from harvester.labels.answers import AnswerWriter
from harvester.labels.classifications import ClassificationReader
from harvester.labels.notes import Note, Remark, Remarks
from harvester.labels.objects import ObjectReader
from harvester.labels.ontology import Ontology, read_ontology
from harvester.labels.places import Places
from harvester.labels.records import CHUNK, Lines, Sheet, complete, row_ends, row_head
from harvester.labels.text import has_line_break
from harvester.labels.units import UnitReader
from harvester.labels.wire import LabelRow, PlanRow, Row, SentRow
from harvester.settings import Format, Selection

_decode_row = msgspec.json.Decoder(LabelRow).decode


# Notes on label rows that were made before the rows are read, by label hash.
Known = Mapping[str, Iterable[Remark]]
NOTHING_KNOWN: Known = {}


class Harvest(msgspec.Struct):
    """The result of reading label rows. For each kind: lines, rows with lines, and counts of records.

    `notes` is what a user should know about these rows. `lacking` are the fields that the expression of
    ``--where`` reads and that no record of these rows had.
    """

    lines: dict[str, Lines]
    rows: dict[str, int]
    seen: dict[str, int]
    written: dict[str, int]
    dropped: dict[str, dict[str, int]]
    notes: list[Note] = []
    lacking: frozenset[str] = frozenset()


class Extractor:
    """Reads label rows, chooses their records, and writes these as lines. Safe to use from many threads."""

    def __init__(
        self,
        selection: Selection,
        format: Format,
        ontology: bytes | None,
        functions: Mapping[str, OwnFilter] | None = None,
    ) -> None:
        """`ontology` is the JSON of the project's editor structure, None where it is not at hand.

        `functions` are filters that `selection` names, but that are given here instead of imported.

        Raises:
            BadInput: a filter of `selection` does not import, or `ontology` is none.
        """
        known = read_ontology(ontology)
        writer = AnswerWriter(known)
        self._signed_urls = selection.signed_urls
        self._emit = format.kinds
        chains = {
            kind: Chain(kind, selection, known.names, known.shapes, functions)
            for kind in ("objects", "classifications")
        }
        self.filters = {kind: chain.names for kind, chain in chains.items() if kind in format.kinds}
        self._fields = frozenset[str]().union(*(chain.fields for chain in chains.values()))
        self._objects = ObjectReader(chains["objects"], writer, known)
        self._classifications = ClassificationReader(
            chains["classifications"],
            writer,
            known,
            per_frame=format.per_frame,
            with_reviews=selection.include_reviews or chains["classifications"].reads("reviews"),
        )
        self._units = UnitReader(format.kinds, signed_urls=selection.signed_urls)
        self._finders = _finders(writer, known, emitted=format.kinds) if "units" in format.kinds else []

    def extract(self, row: Row, planned: PlanRow, known: Known = NOTHING_KNOWN) -> Harvest:
        """The records of one label row: as sent, or its skeleton where no rows are emitted.

        `known`: notes on it that were made before.

        Raises:
            SkipRow: the row cannot be read: no JSON, or of a form that no label row has.
            BadInput: one of the user's own filters failed.
        """
        sheets, notes = self._sheets(), list[Note]()
        return _harvest(sheets, [self._add(sheets, row, planned, known, notes)], notes)

    def extract_all(
        self, rows: Iterable[tuple[Row, PlanRow]], known: Known = NOTHING_KNOWN
    ) -> Iterator[tuple[int, Harvest | SkipRow]]:
        """Read label rows. Yield (number of rows, their `Harvest`), or (1, the error) for an unreadable one.

        Raises BadInput as `extract`.
        """
        sheets, sizes, notes = self._sheets(), list[int](), list[Note]()
        for row, planned in rows:
            try:
                sizes.append(self._add(sheets, row, planned, known, notes))
            except SkipRow as error:
                if sizes:
                    yield len(sizes), _harvest(sheets, sizes, notes)
                yield 1, error
                sheets, sizes, notes = self._sheets(), [], []
        if sizes:
            yield len(sizes), _harvest(sheets, sizes, notes)

    def _sheets(self) -> dict[str, Sheet]:
        return {kind: Sheet(self.filters.get(kind, ()), self._fields) for kind in self._emit}

    def _add(
        self, sheets: dict[str, Sheet], sent: Row, planned: PlanRow, known: Known, notes: list[Note]
    ) -> int:
        """Reads a row into `sheets`, or, with SkipRow, nothing of it. Returns its bytes, 0 for a skeleton."""
        marks = [sheet.mark() for sheet in sheets.values()]
        remarks = Remarks()
        try:
            size = self._read(sheets, sent, planned, remarks)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SkipRow) as exc:
            for sheet, mark in zip(sheets.values(), marks, strict=True):
                sheet.back_to(mark)
            if isinstance(exc, SkipRow):
                raise
            raise SkipRow(_reason(exc), operation="extract", row=planned.label_hash) from exc
        for sheet, mark in zip(sheets.values(), marks, strict=True):
            sheet.count_row(mark)
        if known:
            for remark in known.get(planned.label_hash or "", ()):
                remarks.add(*remark)
        if remarks:
            notes += remarks.notes(planned)
        return size

    def _read(self, sheets: dict[str, Sheet], sent: Row, planned: PlanRow, remarks: Remarks) -> int:
        row, skeleton = (b"", copy(sent)) if isinstance(sent, LabelRow) else _on_one_line(sent)
        _compare(skeleton, planned, remarks)
        complete(skeleton, planned)
        if skeleton.label_hash != planned.label_hash:  # a repeated key, or the answer to another question
            raise SkipRow("the label row says it is another one", operation="extract", row=planned.label_hash)
        head, data_type = row_head(skeleton), (skeleton.data_type or "").lower()
        places = Places(skeleton, signed_urls=self._signed_urls, width=planned.width, height=planned.height)
        frames = planned.number_of_frames or None
        for kind, sheet in sheets.items():
            if kind == "objects":
                self._objects.read(sheet, skeleton, data_type, head, places, remarks)
            elif kind == "classifications":
                self._classifications.read(sheet, skeleton, data_type, head, places, remarks, frames)
            elif kind == "rows":
                _add_row(sheet, row, planned)
        if "units" in sheets:  # last, as they count the others
            for find in self._finders:
                find(skeleton, data_type, places)
            self._units.read(sheets["units"], skeleton, head, places, frames)
        return len(row)


def _finders(
    writer: AnswerWriter, ontology: Ontology, *, emitted: Collection[str]
) -> list[Callable[[LabelRow, str, Places], None]]:
    """What finds the spaces that only labels of a kind which is not `emitted` name: they are units, too."""
    objects = ObjectReader(Chain("objects", Selection(), {}, {}), writer, ontology)
    classifications = ClassificationReader(
        Chain("classifications", Selection(), {}, {}), writer, ontology, per_frame=False, with_reviews=False
    )

    def find_in_objects(row: LabelRow, data_type: str, places: Places) -> None:
        objects.read(Sheet(), row, data_type, b"", places, Remarks())

    def find_in_classifications(row: LabelRow, data_type: str, places: Places) -> None:
        classifications.read(Sheet(), row, data_type, b"", places, Remarks(), None)

    finders = {"objects": find_in_objects, "classifications": find_in_classifications}
    return [find for kind, find in finders.items() if kind not in emitted]


class RowByRow(Extractor):
    """An extractor that never joins the records of several label rows."""

    def extract_all(
        self, rows: Iterable[tuple[Row, PlanRow]], known: Known = NOTHING_KNOWN
    ) -> Iterator[tuple[int, Harvest | SkipRow]]:
        """As an extractor does, one row at a time."""
        for row, planned in rows:
            try:
                yield 1, self.extract(row, planned, known)
            except SkipRow as error:
                yield 1, error


def _compare(row: LabelRow, planned: PlanRow, remarks: Remarks) -> None:
    """Notes where a row, before anything is filled in, says of itself what its listing contradicts."""
    if planned.replaced_in:
        remarks.add("surrogates_replaced", planned.replaced_in)
    if planned.listed_twice:
        remarks.add("listed_twice", "the first of its places in the plan counts")
    for field in ("branch_name", "data_hash", "dataset_hash"):
        said, listed = getattr(row, field), getattr(planned, field)
        if said != listed and said and listed:
            remarks.add("unlike_listing", f"{field} {said}, listed as {listed}")


def _harvest(sheets: dict[str, Sheet], sizes: list[int], notes: list[Note]) -> Harvest:
    """What is on `sheets`, of rows of these sizes in bytes."""
    giant = sum(sizes) if max(sizes) > CHUNK else 0
    return Harvest(
        lines={kind: sheet.lines(giant) for kind, sheet in sheets.items()},
        rows={kind: sheet.rows for kind, sheet in sheets.items()},
        seen={kind: sheet.seen for kind, sheet in sheets.items()},
        written={kind: sheet.written for kind, sheet in sheets.items()},
        dropped={kind: sheet.dropped for kind, sheet in sheets.items()},
        notes=notes,
        lacking=frozenset.intersection(*(frozenset(sheet.lacking) for sheet in sheets.values())),
    )


def _on_one_line(row: SentRow) -> tuple[SentRow, LabelRow]:
    """A row on one line, and its skeleton."""
    # Decoded first: only in valid JSON is a line break never part of a value.
    skeleton = _decode_row(row)
    if not has_line_break(row):
        return row, skeleton
    row = msgspec.json.format(row, indent=-1)
    return row, _decode_row(row)


def _add_row(sheet: Sheet, row: SentRow, planned: PlanRow) -> None:
    if not len(row):
        raise TypeError("a row record is made of the row as sent, not of its skeleton")
    listed = bytes(planned.metadata) or b"null"
    if has_line_break(listed):
        listed = msgspec.json.format(listed, indent=-1)
    sheet.keep_all(*row_ends(listed), [row])


def _reason(exc: Exception) -> str:
    """Why a row cannot be read: the place, and nothing of the row's content."""
    if isinstance(exc, UnicodeDecodeError):
        return "the label row is no valid UTF-8"
    if isinstance(exc, RecursionError):
        return "the label row is nested too deep"
    if isinstance(exc, msgspec.ValidationError):
        return f"the label row has an unknown form: {exc}"
    return f"the label row is no valid JSON: {exc}"
