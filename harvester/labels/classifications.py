"""Classifications: one line for each placement, or for each frame, with their entries as sent."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harvester.filters import Chain
from harvester.filters.fields import fields_decoder
from harvester.labels.answers import Nesting, StaticAnswers
from harvester.labels.ontology import Ontology
from harvester.labels.placement import (
    Copies,
    CopiesBySpace,
    Placement,
    copied_placements,
    frame_copies,
    frames_of,
    has_frames,
    own_placements,
    whole_row_placement,
)
from harvester.labels.places import FRAME_TYPES, Place, Places
from harvester.labels.records import Sheet, number
from harvester.labels.wire import ClassificationAnswer, LabelRow

# With a line a frame, the ranges of one row are spelt out up to this many frames (4 hours at 60 a second):
# what is longer is nonsense, and stays ranges.
MOST_FRAMES = 1_000_000

# A line to be: its place, its frame, its ranges as JSON, and the classification as sent.
_Line = tuple[Place, int | None, bytes, msgspec.Raw]


class _Named(msgspec.Struct, gc=False):
    name: str | None = None


_decode_entry = msgspec.json.Decoder(ClassificationAnswer | None).decode
_decode_names = msgspec.json.Decoder(list[_Named] | None).decode


class ClassificationReader:
    """Reads the classifications of label rows. Holds no state of a row; safe to use from many threads."""

    def __init__(self, chain: Chain, nesting: Nesting, ontology: Ontology, *, per_frame: bool) -> None:
        self._chain = chain
        self._answers = StaticAnswers(nesting, b"%b")
        self._ontology = ontology
        self._per_frame = per_frame
        self._decode_fields = fields_decoder(chain.needs).decode

    def read(self, sheet: Sheet, row: LabelRow, data_type: str, head: bytes, places: Places) -> None:
        """Adds the lines of all classifications of `row`; `head` is the row's part of a line."""
        chain = self._chain
        head = b'{"kind":"classification",' + head
        continuous = row.scene is not None and bool(row.scene.is_continuous)
        left = MOST_FRAMES
        for entry, placement, copies in self._placements(row, data_type, places, continuous=continuous):
            answers = self._answers[bytes(entry.classifications)]
            fields = self._fields(entry, placement, copies) if chain.looks_at_fields else None
            lines: Iterable[_Line] = [(placement.place, None, placement.ranges, placement.sent)]
            if self._per_frame:
                on_frames = entry.feature_hash not in self._ontology.global_classifications and has_frames(
                    placement.place, data_type, places, continuous=continuous
                )
                lines = _by_frame(placement, places, left if on_frames else 0)
            stands = list(lines)
            left -= len(stands)
            sheet.seen += len(stands)
            stands, _ = chain.sift(stands, [fields] * len(stands), sheet.dropped)
            for place, frame, ranges, sent in stands:
                line = b'%b%b%b,"ranges":%b,"classification":%b,"answers":%b}\n' % (
                    head, place.head, number(frame), ranges, sent, answers,
                )  # fmt: skip
                name = chain.refused_by(line, row.label_hash)
                if name is None:
                    sheet.written += 1
                    sheet.pieces.append(line)
                else:
                    sheet.dropped[name] += 1

    def _placements(
        self, row: LabelRow, data_type: str, places: Places, *, continuous: bool
    ) -> Iterator[tuple[ClassificationAnswer, Placement, CopiesBySpace]]:
        """Every placement, with its entry, and its frame-level copies where they were looked for."""
        copies: Copies | None = frame_copies(places) if "reviews" in self._chain.needs else None
        for key, sent in (row.classification_answers or {}).items():
            entry = _decode_entry(sent)
            if entry is None:
                continue
            placements = own_placements(entry, sent, places)
            if not placements:
                copies = frame_copies(places) if copies is None else copies
                placements = copied_placements(copies.get(key, {}), places)
            if not placements:
                on_frames = data_type in FRAME_TYPES and not continuous
                placements = whole_row_placement(entry, sent, places, self._ontology, on_frames=on_frames)
            for placement in placements:
                yield entry, placement, copies.get(key, {}) if copies else {}

    def _fields(self, entry: ClassificationAnswer, placement: Placement, copies: CopiesBySpace) -> Any:
        """What the filters look at. An entry has no name but its first answer's, and its reviews may be
        on its copies alone."""
        fields, needs = self._decode_fields(placement.sent), self._chain.needs
        if "name" in needs and fields.name is None:
            fields.name = next((answer.name for answer in _decode_names(entry.classifications) or ()), None)
        if "reviews" in needs and fields.reviews is None:
            for _, copy in copies.get(placement.place.space_id, {}).values():
                fields.reviews = fields.reviews or self._decode_fields(copy).reviews
        return fields


def _by_frame(placement: Placement, places: Places, most: int) -> Iterator[_Line]:
    """A line a frame; the placement as it is where it stands on no frames, or on more than `most`."""
    if placement.copies:
        for frame, (place, sent) in sorted(placement.copies.items(), key=lambda item: item[0] or 0):
            yield place, frame, b"[]" if frame is None else b"null", sent
        return
    frames = frames_of(placement, most)
    if not frames:
        yield placement.place, None, placement.ranges, placement.sent
        return
    on_row = placement.place.space_id is None
    for frame in frames:
        place = places.by_frame.get(frame, placement.place) if on_row else placement.place
        yield place, frame, b"null", placement.sent
