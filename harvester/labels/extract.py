"""Label row bytes -> records. Pure, and on bytes: what is copied is never parsed into Python objects."""

from collections.abc import Mapping

import msgspec

from harvester.errors import SkipRow
from harvester.filters import Chain
from harvester.filters.own import OwnFilter
from harvester.labels.answers import Nesting
from harvester.labels.classifications import ClassificationReader
from harvester.labels.objects import ObjectReader
from harvester.labels.ontology import read_ontology
from harvester.labels.places import Places
from harvester.labels.records import Lines, Sheet, complete, row_ends, row_head
from harvester.labels.text import has_line_break
from harvester.labels.wire import NOT_AS_SENT, LabelRow, PlanRow, SentRow
from harvester.settings import Format, Selection

_decode_row = msgspec.json.Decoder(LabelRow).decode


class Harvest(msgspec.Struct):
    """What one label row gave, by kind: its lines, and what became of its records."""

    lines: dict[str, Lines]
    seen: dict[str, int]
    written: dict[str, int]
    dropped: dict[str, dict[str, int]]


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
        nesting = Nesting(known)
        self._signed_urls = selection.signed_urls
        self._emit = format.emit
        chains = {
            kind: Chain(kind, selection, known.names, functions) for kind in ("objects", "classifications")
        }
        self.filters = {kind: chain.names for kind, chain in chains.items() if kind in format.emit}
        self._objects = ObjectReader(chains["objects"], nesting)
        self._classifications = ClassificationReader(
            chains["classifications"],
            nesting,
            known,
            per_frame=format.per_frame,
        )

    def extract(self, row: SentRow | LabelRow, planned: PlanRow) -> Harvest:
        """The records of a label row: as sent, or its skeleton where no rows are emitted.

        Raises:
            SkipRow: the row cannot be read: no JSON, or of a form that no label row has.
            BadInput: one of the user's own filters failed.
        """
        try:
            return self._extract(row, planned)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise SkipRow(_reason(exc), operation="extract", row=planned.label_hash) from exc

    def _extract(self, sent: SentRow | LabelRow, planned: PlanRow) -> Harvest:
        row, skeleton = (b"", sent) if isinstance(sent, LabelRow) else _read(sent)
        complete(skeleton, planned)
        if skeleton.label_hash != planned.label_hash:  # a repeated key, or the answer to another question
            raise SkipRow("the label row says it is another one", operation="extract", row=planned.label_hash)
        head, data_type = row_head(skeleton), (skeleton.data_type or "").lower()
        places = Places(skeleton, signed_urls=self._signed_urls)
        sheets: dict[str, Sheet] = {}
        for kind in self._emit:
            if kind == "objects":
                sheets[kind] = self._objects.read(skeleton, data_type, head, places)
            elif kind == "classifications":
                sheets[kind] = self._classifications.read(skeleton, data_type, head, places)
            else:
                sheets[kind] = _row_sheet(row, planned)
        return Harvest(
            lines={kind: sheet.lines(len(row)) for kind, sheet in sheets.items()},
            seen={kind: sheet.seen for kind, sheet in sheets.items()},
            written={kind: sheet.written for kind, sheet in sheets.items()},
            dropped={kind: sheet.dropped for kind, sheet in sheets.items()},
        )


def _read(row: SentRow) -> tuple[SentRow, LabelRow]:
    """A row on one line, and its skeleton."""
    # Decoded first: only in valid JSON is a line break never part of a value.
    skeleton = _decode_row(row)
    if not has_line_break(row):
        return row, skeleton
    row = msgspec.json.format(row, indent=-1)
    return row, _decode_row(row)


def _row_sheet(row: SentRow, planned: PlanRow) -> Sheet:
    listed = bytes(planned.metadata) or b"null"
    if listed == bytes(NOT_AS_SENT):
        reason = "the listing says of it what is no text, and cannot be written as sent"
        raise SkipRow(reason, operation="extract", row=planned.label_hash)
    if has_line_break(listed):
        listed = msgspec.json.format(listed, indent=-1)
    sheet = Sheet()
    sheet.keep_all(*row_ends(listed), [row])
    return sheet


def _reason(exc: Exception) -> str:
    """Why a row cannot be read: the place, and nothing of the row's content."""
    if isinstance(exc, UnicodeDecodeError):
        return "the label row is no valid UTF-8"
    if isinstance(exc, RecursionError):
        return "the label row is nested too deep"
    if isinstance(exc, msgspec.ValidationError):
        return f"the label row has an unknown form: {exc}"
    return f"the label row is no valid JSON: {exc}"
