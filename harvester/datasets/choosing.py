"""Chooses among live records with the filters of `export`, and counts what each filter drops."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec

from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.errors import BadInput, Unsound
from harvester.expression import Where
from harvester.filters import Chain
from harvester.filters.fields import Review, fields_decoder
from harvester.filters.own import OwnFilter
from harvester.labels.ontology import read_ontology
from harvester.live_rows import LiveRow, in_pieces
from harvester.schema import Kind
from harvester.settings import Selection

_CHOSEN: tuple[Kind, ...] = ("objects", "classifications")  # units are never dropped


class _ObjectLine(msgspec.Struct, gc=False):
    """An object record, of which only the object as sent is read."""

    object: msgspec.Raw


class _ClassificationLine(msgspec.Struct, gc=False):
    """A classification record: what filters read of it."""

    classification: msgspec.Raw
    feature_hash: str | None
    name: str | None
    reviews: msgspec.Raw


_decode_object = msgspec.json.Decoder(_ObjectLine).decode
_decode_classification = msgspec.json.Decoder(_ClassificationLine).decode
_decode_reviews = msgspec.json.Decoder(list[Review] | None).decode


# Called with the kinds that are read, and about how many label rows have been read since the last call.
OnRows = Callable[[Collection[Kind], int], object]
# Bytes in the middle of a line's label hash. In most chunks of lines, each is of another row.
_in_label_hash = itemgetter(slice(44, 60))


def _nothing(_: Collection[Kind], __: int) -> None: ...


class Choice:
    """The record filters of a selection, over the live records of an export. They work as in `export`.

    `unfinished` are the kinds whose rows have not all been read.
    """

    def __init__(
        self,
        export: FinishedExport,
        selection: Selection,
        counts: Counts,
        functions: Mapping[str, OwnFilter] | None = None,
        on_rows: OnRows = _nothing,
    ) -> None:
        """Make the filters of `selection`; what they drop is counted in `counts`, by the filter's name.

        `on_rows` is called while rows are read; it may raise to stop.

        Raises:
            BadInput: a filter cannot be imported, the expression is invalid, or reviews are asked for that
                the export does not have.
        """
        reads_reviews = selection.where is not None and Where(selection.where).reads_reviews
        if (selection.approved or reads_reviews) and not export.manifest.selection.include_reviews:
            raise BadInput(f"{export.name} has no reviews: export with --include-reviews to choose by them")
        known = read_ontology(export.ontology())
        self._export = export
        self._counts = counts
        self._on_rows = on_rows
        self.unfinished: set[Kind] = set()
        self._filters: dict[Kind, _KindFilter] = {}
        for kind in _CHOSEN:
            chain = Chain(kind, selection, known.names, known.shapes, functions)
            if chain.names:
                self._filters[kind] = _KindFilter(kind, chain, counts)

    def rows(self, kinds: Iterable[Kind]) -> Iterator[LiveRow]:
        """Yield the harvested label rows with the chosen live records of these `kinds`, in plan order.

        `LiveRow.lines` has an iterator for each of them. A row of which no record is chosen is yielded, too:
        its units are data without labels.
        """
        wanted = tuple(kinds)
        self._begin(wanted)
        for row in self._export.rows(wanted):
            lines: dict[str, Iterator[bytes]] = {
                kind: self._chosen(kind, row.lines[kind], row.label_hash) for kind in wanted
            }
            yield LiveRow(row.listed, lines)
            for kind in wanted:
                for _ in lines[kind]:
                    self._counts.leave_out(kind, "not_read")
            self._on_rows(wanted, 1)
        self.unfinished.difference_update(wanted)

    def pieces(self, kind: Kind) -> Iterator[list[bytes]]:
        """Yield the chosen live records of one kind, as `rows` does, many at once."""
        if kind in self._filters:
            yield from in_pieces(chain.from_iterable(row.lines[kind] for row in self.rows([kind])))
            return
        self._begin([kind])
        for some in self._export.pieces(kind):
            self._counts.read(kind, len(some))
            yield some
            self._on_rows([kind], len(set(map(_in_label_hash, some))))
        self.unfinished.remove(kind)

    def _begin(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            assert kind not in self._counts.records, f"{kind} are read twice"
            self._counts.of(kind)
            self.unfinished.add(kind)

    def _chosen(self, kind: Kind, lines: Iterable[bytes], label_hash: str) -> Iterator[bytes]:
        chosen = self._filters.get(kind)
        for some in in_pieces(lines):
            self._counts.read(kind, len(some))
            yield from some if chosen is None else chosen.kept(some, label_hash)


class _KindFilter:
    """The filters over records of one kind."""

    def __init__(self, kind: str, chain: Chain, counts: Counts) -> None:
        self._kind = kind
        self._chain = chain
        self._counts = counts
        self._decode_record = _decode_object if kind == "objects" else _decode_classification
        self._decode_fields = fields_decoder(chain.needs).decode

    def kept(self, lines: list[bytes], label_hash: str) -> list[bytes]:
        """Return the lines that every filter keeps, and count the others."""
        dropped = dict.fromkeys(self._chain.names, 0)
        if self._chain.looks_at_fields:
            fields = [self._fields(line) for line in lines]
            if unreadable := fields.count(None):
                self._counts.leave_out(self._kind, "unreadable", unreadable)
                lines = [line for line, found in zip(lines, fields, strict=True) if found is not None]
                fields = [found for found in fields if found is not None]
            lines, _ = self._chain.filter(lines, fields, dropped)
        if self._chain.looks_at_records:
            lines = [line for line in lines if self._keeps(line, label_hash, dropped)]
        for name, number in dropped.items():
            if number:
                self._counts.leave_out(self._kind, name, number)
        return lines

    def _keeps(self, line: bytes, label_hash: str, dropped: dict[str, int]) -> bool:
        name = self._chain.dropped_by(line, label_hash, set())
        if name is not None:
            dropped[name] += 1
        return name is None

    def _fields(self, line: bytes) -> Any:
        """Decode what the filters read of a record, None if it is of another type.

        The class of a classification is that of its record.
        """
        try:
            record = self._decode_record(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unsound(f"the export holds a line that no filter can read: {error}") from error
        try:
            if isinstance(record, _ObjectLine):
                return self._decode_fields(record.object)
            fields = self._decode_fields(record.classification)
            for field in self._chain.needs & {"feature_hash", "name"}:
                setattr(fields, field, getattr(record, field))
            if "reviews" in self._chain.needs:
                fields.reviews = _decode_reviews(record.reviews)
            return fields
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
