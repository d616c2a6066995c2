"""Writes the classifications of label rows: one line per placement, or one per frame with ``--per-frame``.

A placement is one location of a classification: a data unit or space, and ranges in it; see
`harvester.labels.placement`. The entry of the classification is copied into the line as sent.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harvester.filters import Chain
from harvester.filters.fields import Review, fields_decoder
from harvester.labels.answers import NULL, AnswerList, AnswerSerialiser, StaticAnswerCache
from harvester.labels.expansion import Expansion, FrameLines, expanded, expanded_on
from harvester.labels.locations import FRAME_TYPES, ROOT_SPACE, Location, Locations
from harvester.labels.notes import Remarks
from harvester.labels.ontology import Ontology
from harvester.labels.placement import (
    Copies,
    CopiesAtLocation,
    CopiesBySpace,
    Placement,
    copied_placements,
    frame_copies,
    has_frames,
    own_placements,
    whole_row_placement,
)
from harvester.labels.records import LineBuffer
from harvester.labels.units import number_of_frames
from harvester.labels.values import whole
from harvester.labels.wire import ClassificationAnswer, ClassificationCopy, LabelRow

# The parts of a line. _HEAD joins them: row keys, location keys, frame, entry as sent, _CLASS, ranges, _END.
_HEAD = b'%b%b%b,"classification":%b%b%b%b'
_CLASS = b',"classification_hash":%b,"feature_hash":%b,"name":%b,"ranges":'
_END = b',"answers":%b,"reviews":%b}\n'

_encode = msgspec.json.encode


class _Named(msgspec.Struct, gc=False):
    name: str | None = None


_decode_entry = msgspec.json.Decoder(ClassificationAnswer | None).decode
_decode_copy = msgspec.json.Decoder(ClassificationCopy).decode
_decode_names = msgspec.json.Decoder(list[_Named] | None).decode
_decode_reviews = msgspec.json.Decoder(list[Review] | None).decode


class _FoundPlacement(msgspec.Struct):
    """One placement of a classification, and the parts that all its lines share."""

    classification_hash: str
    placement: Placement
    class_part: bytes  # see `_CLASS`
    end: bytes  # see `_END`
    feature: str | None
    fields: Any  # the decoded fields that filters read, None if no filter reads fields
    as_text: bool  # true if an answer has an unknown form, see `AnswerList`
    not_expanded: bool = False  # true if ``--per-frame`` could not write a line for each frame


class ClassificationReader:
    """Reads the classifications of label rows. Holds no state of a row; safe to use from many threads.

    Args:
        chain: the filters.
        serialiser: serialises the answers.
        ontology: the ontology of the project.
        per_frame: write one line per frame for a placement on frames.
        with_reviews: write the reviews into the records.
    """

    def __init__(
        self,
        chain: Chain,
        serialiser: AnswerSerialiser,
        ontology: Ontology,
        *,
        per_frame: bool,
        with_reviews: bool,
    ) -> None:
        self._chain = chain
        self._answers = StaticAnswerCache(serialiser)
        self._ontology = ontology
        self._per_frame = per_frame
        self._with_reviews = with_reviews
        self._needs_reviews = with_reviews or "reviews" in chain.needs
        self._decode_fields = fields_decoder(chain.needs).decode

    def read(
        self,
        buffer: LineBuffer,
        row: LabelRow,
        data_type: str,
        head: bytes,
        locations: Locations,
        remarks: Remarks,
        frames: int | None,
    ) -> None:
        """Add the lines of all classifications of `row` to `buffer`.

        Args:
            buffer: the line buffer of classifications.
            row: the skeleton of the label row.
            data_type: the row's data type in lower case.
            head: the keys that all records of the row share, see `harvester.labels.records.row_head`.
            locations: the data units and spaces of the row. Their counts are increased.
            remarks: collects the notes on the row.
            frames: the number of frames according to the listing, None if it does not say.
        """
        head = b'{"kind":"classification",' + head
        reading = _Reading(buffer, self._chain, row, head, locations, remarks, frames)
        for found in self._found(row, data_type, locations, continuous=reading.continuous):
            before = buffer.written
            if self._per_frame and found.feature not in self._ontology.global_classifications:
                reading.add_by_frame(found)
            else:
                reading.add(found)
            if buffer.written > before:
                reading.note(found)

    def _found(
        self, row: LabelRow, data_type: str, locations: Locations, *, continuous: bool
    ) -> Iterator[_FoundPlacement]:
        for key, entry, placement, copies in self._placements(
            row, data_type, locations, continuous=continuous
        ):
            decoded = _decode_copy(placement.sent)
            feature = entry.feature_hash or decoded.feature_hash
            name = decoded.name or next(
                (one.name for one in _decode_names(entry.classifications) or ()), None
            )
            if feature is not None:
                name = self._ontology.names.get(feature, name)
            answers: AnswerList = self._answers[bytes(entry.classifications)]
            reviews, fields = NULL, None
            if self._needs_reviews:
                reviews = _reviews(entry, decoded, _copies_of(placement, copies))
            if self._chain.looks_at_fields:
                fields = self._decode_fields(placement.sent)
                vars_of = {"feature_hash": feature, "name": name, "reviews": _decode_reviews(reviews)}
                for field in self._chain.needs & vars_of.keys():
                    setattr(fields, field, vars_of[field])
            yield _FoundPlacement(
                key,
                placement,
                _CLASS % (_encode(key), _encode(feature), _encode(name)),
                _END % (answers.json, reviews if self._with_reviews else NULL),
                feature,
                fields,
                answers.as_text,
            )

    def _placements(
        self, row: LabelRow, data_type: str, locations: Locations, *, continuous: bool
    ) -> Iterator[tuple[str, ClassificationAnswer, Placement, CopiesBySpace]]:
        """Yield (classification hash, entry, placement, frame-level copies) for each placement of the row.

        The copies are empty if nothing needed them: collecting them decodes all labels of the row.
        """
        copies: Copies | None = frame_copies(locations) if self._needs_reviews else None
        for key, sent in (row.classification_answers or {}).items():
            entry = _decode_entry(sent)
            if entry is None:
                continue
            placements = own_placements(entry, sent, locations)
            if not placements:
                copies = frame_copies(locations) if copies is None else copies
                placements = copied_placements(copies.get(key, {}), locations)
            if not placements:
                on_frames = data_type in FRAME_TYPES and not continuous
                placements = whole_row_placement(entry, sent, locations, self._ontology, on_frames=on_frames)
            for placement in placements:
                yield key, entry, placement, copies.get(key, {}) if copies else {}


class _Reading:
    """Filters and writes the classifications of one label row."""

    def __init__(
        self,
        buffer: LineBuffer,
        chain: Chain,
        row: LabelRow,
        head: bytes,
        locations: Locations,
        remarks: Remarks,
        frames: int | None,
    ) -> None:
        self.continuous = row.scene is not None and bool(row.scene.is_continuous)
        self._buffer = buffer
        self._chain = chain
        self._row = row
        self._data_type = (row.data_type or "").lower()
        self._head = head
        self._locations = locations
        self._remarks = remarks
        self._frames = frames

    def add(self, found: _FoundPlacement) -> None:
        """Write a placement as one line, unless a filter drops it."""
        placement = found.placement
        line = self._line(found, placement.location, None, placement.ranges, placement.sent)
        self._count(self._units(placement), self._add_line(found, line))

    def add_by_frame(self, found: _FoundPlacement) -> None:
        """Write one line for each frame of a placement, or a single line if it is not on frames."""
        placement = found.placement
        if placement.copies:
            for frame, (location, sent) in sorted(placement.copies.items(), key=lambda item: item[0] or 0):
                ranges = b"[]" if frame is None else NULL
                self._count(
                    [location], self._add_line(found, self._line(found, location, frame, ranges, sent))
                )
            return
        location, ranges = placement.location, placement.ranges
        framed = has_frames(location, self._data_type, self._locations, continuous=self.continuous)
        units = self._locations.by_frame if location.space_id is None else {}
        frames: Expansion | None = None
        if framed and units:  # the only frames of an image group are its images
            frames = expanded_on(ranges, units)
        elif framed:
            frames = expanded(ranges, number_of_frames(location, self._frames))
        found.not_expanded = framed is not False and (frames is None or frames.cut)
        if not frames:
            self.add(found)
        elif units:
            for frame in frames:
                self._add_frames(found, Expansion([(frame, frame)], False), units[frame])
        else:
            self._add_frames(found, frames, location)

    def note(self, found: _FoundPlacement) -> None:
        """Add the notes on a classification of which at least one line was written."""
        if not (found.as_text or found.placement.unknown or found.not_expanded):
            return
        where = f"classification {found.classification_hash}"
        if found.as_text:
            self._remarks.add("answer_as_text", where)
        if found.placement.unknown:
            self._remarks.add("placement_unknown", where)
        if found.not_expanded:
            self._remarks.add("ranges_not_expanded", where)

    def _add_frames(self, found: _FoundPlacement, frames: Expansion, location: Location) -> None:
        """Write a line for each of `frames`, all in the same data unit or space."""
        chain, count = self._chain, len(frames)
        before = self._head + location.head
        after = self._line(found, location, None, NULL, found.placement.sent)[len(before) + len(NULL) :]
        kept: bytearray | None = None
        if self._dropped_by_fields(found, count):
            written = 0
        elif chain.looks_at_records:
            kept = bytearray(self._is_kept(b"%b%d%b" % (before, frame, after)) for frame in frames)
            written = sum(kept)
        else:
            written = count
        self._buffer.seen += count
        location.classifications += written
        location.dropped_classifications += count - written
        if written:
            self._buffer.add_series(FrameLines(before, after, frames, kept), written)

    def _add_line(self, found: _FoundPlacement, line: bytes) -> bool:
        self._buffer.seen += 1
        if self._dropped_by_fields(found, 1) or not self._is_kept(line):
            return False
        self._buffer.written += 1
        self._buffer.pieces.append(line)
        return True

    def _dropped_by_fields(self, found: _FoundPlacement, lines: int) -> bool:
        """Return whether a field filter drops the classification. If so, count `lines` dropped records.

        All lines of a placement have the same fields, so they are filtered once, not line by line.
        """
        dropped = dict.fromkeys(self._buffer.dropped, 0)
        stands, _ = self._chain.filter([found], [found.fields], dropped)
        for name, number in dropped.items():
            self._buffer.dropped[name] += number * lines
        return not stands

    def _is_kept(self, line: bytes) -> bool:
        name = self._chain.dropped_by(line, self._row.label_hash, self._buffer.lacking)
        if name is not None:
            self._buffer.dropped[name] += 1
        return name is None

    def _line(
        self, found: _FoundPlacement, location: Location, frame: int | None, ranges: bytes, sent: msgspec.Raw
    ) -> bytes:
        return _HEAD % (self._head, location.head, whole(frame), sent, found.class_part, ranges, found.end)

    def _units(self, placement: Placement) -> Iterable[Location]:
        """Return the locations whose counts include a placement.

        In a row of several data units (an image group), a placement on the row counts for each data unit in
        its ranges.
        """
        by_frame = self._locations.by_frame
        if placement.location.space_id is not None or not by_frame or len(self._locations.units) == 1:
            return [placement.location]
        frames = expanded(placement.ranges, None)
        if frames is None or not frames.spans:
            return self._locations.units
        return [location for frame, location in by_frame.items() if _in(frame, frames)]

    def _count(self, locations: Iterable[Location], kept: bool) -> None:
        for location in locations:
            location.classifications += kept
            location.dropped_classifications += not kept


def _in(frame: int, frames: Expansion) -> bool:
    return any(start <= frame <= end for start, end in frames.spans)


def _copies_of(placement: Placement, copies: CopiesBySpace) -> CopiesAtLocation:
    """Return the frame-level copies in the location of a placement.

    Copies of the space `root` may also be in the data unit: then they have no space id.
    """
    space_id = placement.location.space_id
    found = copies.get(space_id, {})
    return found if found or space_id != ROOT_SPACE else copies.get(None, {})


def _reviews(entry: ClassificationAnswer, decoded: ClassificationCopy, copies: CopiesAtLocation) -> bytes:
    """Return the reviews of a classification as sent, or null if there are none.

    These are the entry's own reviews or, if it has none, those of the first frame-level copy with reviews.
    """
    found = NULL
    for sent in (entry.reviews, decoded.reviews, *(_decode_copy(raw).reviews for _, raw in copies.values())):
        reviews = bytes(sent)
        if reviews[:1] == b"[" and reviews.translate(None, b" \t\r\n") != b"[]":
            return reviews
        if reviews[:1] == b"[":
            found = b"[]"
    return found
