"""Writes the objects of label rows as lines. The bytes of an object are copied as sent.

Most time of an extraction is spent here, so it works by columns (a few calls for the many objects of a frame)
and caches the parts of lines that recur.
"""

from collections.abc import Iterable, Iterator
from itertools import chain as concatenated
from itertools import compress, repeat
from typing import Any

import msgspec

from harvester.filters import Chain
from harvester.filters.fields import fields_decoder
from harvester.labels.answers import (
    JSON,
    NO_ANSWERS,
    NULL,
    AnswerCache,
    AnswerList,
    AnswerSerialiser,
    StaticAnswerCache,
)
from harvester.labels.dynamic import DynamicAnswers
from harvester.labels.locations import FRAME_TYPES, RANGE_SPACES, RANGE_TYPES, Location, Locations
from harvester.labels.notes import Remarks
from harvester.labels.occurrences import hashes_on_frames, last_moment, moments_of
from harvester.labels.ontology import Ontology
from harvester.labels.records import LineBuffer
from harvester.labels.values import integer, whole
from harvester.labels.wire import NO_NUMBER, NO_RANGE, LabelRow, ObjectAnswer, Ranges

_Answers = dict[str, ObjectAnswer | None]

# Cache: (raw dynamic answers, frame, space) -> serialised dynamic answers, for the first frame of an object.
FirstFrameCache = AnswerCache[tuple[bytes, int | None, str | None]]

_PICTURES = frozenset({"image", "img_group"})  # data types in which an object is on one frame only
_NO_CACHE: dict[object, bytes] = {}
RANGE_SHAPES = frozenset({"audio", "time_range", "text"})  # shapes of objects on ranges instead of frames

# The parts of a line after the object: hash, class and `object_number`, then `until`, ranges, answers.
_HASH = b',"object_hash":'
_CLASS = b',"feature_hash":%b,"name":%b,"shape":%b,"object_number":'
_ANSWERS = b',"until":%b,"ranges":%b,"attributes":%b,"dynamic_attributes":'
_DYNAMIC = b"%b}\n"
# The parts after `object_number` for objects on frames: up to the dynamic answers; the end of the line
# without dynamic answers; and without any answers.
_ON_FRAMES = _ANSWERS % (NULL, NULL, b"%b")
_NO_DYNAMIC = _DYNAMIC % b"[]"
_NO_ANSWERS_END = _ON_FRAMES % b"[]" + _NO_DYNAMIC
# Bounds of `_LineEndCache`, 16 MB at most.
_CACHED_ENDS = 4096  # entries
_CACHED_END_BYTES = 4096  # bytes of one entry

# Objects of one frame whose fields are in memory together. A frame seldom has as many.
_AT_ONCE = 4096

_encode = msgspec.json.encode
# `object_answers` is decoded in two ways. Objects on frames have only their answers in it; objects on ranges
# are themselves in it, and are copied from there.
_decode_answers = msgspec.json.Decoder(dict[str, ObjectAnswer | None] | None).decode
_decode_entries = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_decode_ranges = msgspec.json.Decoder(Ranges).decode
_decode_class = fields_decoder({"name", "shape"}).decode


class ObjectReader:
    """Reads the objects of label rows. Holds no state of a row; safe to use from many threads."""

    def __init__(self, chain: Chain, serialiser: AnswerSerialiser, ontology: Ontology) -> None:
        self._shapes = ontology.shapes
        self._shared = _Shared(chain, serialiser, ontology)
        # Decode only the fields that are read. The hashes are always needed: they lead to an object's answers
        # and class.
        needs = chain.needs | {"object_hash", "feature_hash"}
        self._decode = fields_decoder(needs).decode
        self._decode_event = fields_decoder(needs | {"event"}).decode
        self._decode_entry = fields_decoder(needs | {"event", "shape"}).decode

    def read(
        self,
        buffer: LineBuffer,
        row: LabelRow,
        data_type: str,
        head: bytes,
        locations: Locations,
        remarks: Remarks,
    ) -> None:
        """Add the lines of all objects of `row` to `buffer`.

        `data_type` is in lower case. `head` are the keys that all records of the row share, see
        `harvester.labels.records.row_head`. The counts in `locations` are increased.
        """
        answers = _decode_answers(row.object_answers) or {}
        reading = _Reading(buffer, self._shared, row, answers, locations, remarks, data_type=data_type)
        head = b'{"kind":"object",' + head
        decode = self._decode_event if data_type == "scene" else self._decode
        for location, frame, labels in locations.labels():
            if labels.objects:
                before = b'%b%b%b,"object":' % (head, location.head, whole(frame))
                for objects in _some_at_once(labels.objects):
                    reading.add(before, objects, list(map(decode, objects)), frame, location)
        for location, raw, fields, ranges in self._on_ranges(row, answers, data_type, locations):
            before = b'%b%bnull,"object":' % (head, location.head)
            reading.add(before, [raw], [fields], None, location, ranges)

    def _on_ranges(
        self, row: LabelRow, answers: _Answers, data_type: str, locations: Locations
    ) -> Iterator[tuple[Location, msgspec.Raw, Any, bytes]]:
        """Yield (location, object as sent, fields, ranges) of objects in `object_answers`, once per space."""
        framed = data_type in FRAME_TYPES
        candidates = {
            key: entry
            for key, entry in answers.items()
            if entry is not None and (not framed or entry.range is not NO_RANGE or entry.spaces)
        }  # in a row of data with frames, most entries hold only answers
        if not candidates:
            return
        entries = _decode_entries(row.object_answers) or {}
        on_frames: set[str | None] | None = None
        for object_hash, entry in candidates.items():
            raw = entries[object_hash]
            fields = self._decode_entry(raw)
            if not fields.feature_hash and not fields.shape:
                continue  # the answers of an object that was deleted
            fields.object_hash = object_hash
            shape = fields.shape or self._shapes.get(fields.feature_hash) or None
            ranged = shape in RANGE_SHAPES
            if shape is None:  # unknown: it is an object on ranges unless a frame has it
                on_frames = hashes_on_frames(locations) if on_frames is None else on_frames
                ranged = object_hash not in on_frames
            # By space id, because two of the names in `spaces` may mean the same space.
            on_spaces: dict[str | None, tuple[Location, bytes]] = {}
            for space_id, where in (entry.spaces or {}).items():
                sent = where.range if where else None
                if locations.space_type(space_id) in RANGE_SPACES or (
                    ranged and (shape or not _is_empty(sent))
                ):
                    location = locations.space(space_id)
                    on_spaces.setdefault(location.space_id, (location, _ranges(sent)))
            for location, ranges in on_spaces.values():
                yield location, raw, fields, ranges
            if on_spaces:
                continue  # as in the SDK: with ranges on spaces, the range on the row is ignored
            if data_type in RANGE_TYPES or (
                ranged and not (_is_empty(entry.range) and (framed or not shape))
            ):
                html = bytes(entry.range_html) != NULL
                yield locations.root, raw, fields, NULL if html else _ranges(entry.range)


def _some_at_once(objects: list[msgspec.Raw]) -> Iterable[list[msgspec.Raw]]:
    """Cut the objects of one frame, so that the fields of a million are not in memory together."""
    if len(objects) <= _AT_ONCE:
        return (objects,)
    return (objects[start : start + _AT_ONCE] for start in range(0, len(objects), _AT_ONCE))


class _LineEndCache(dict[bytes, bytes]):
    """Bounded cache: (static answers as sent) -> end of the line after `object_number`.

    For objects on frames without dynamic answers. Returns b"" for answers of an unknown form, which need a
    note and are therefore handled without this cache.
    """

    def __init__(self, static: StaticAnswerCache) -> None:
        self._static = static

    def __missing__(self, sent: bytes) -> bytes:
        answers = self._static[sent]
        if answers.as_text:
            return b""
        end = _ON_FRAMES % answers.json + _NO_DYNAMIC
        if len(self) >= _CACHED_ENDS:
            self.clear()
        if len(end) < _CACHED_END_BYTES:
            self[sent] = end
        return end


class _Shared:
    """What is shared by all rows: filters, classes of the ontology, caches of answers."""

    def __init__(self, chain: Chain, serialiser: AnswerSerialiser, ontology: Ontology) -> None:
        self.chain = chain
        self.serialiser = serialiser
        self.static = StaticAnswerCache(serialiser)
        self.first_frame = FirstFrameCache()
        self.classes = {
            feature: _CLASS % (_encode(feature), _encode(ontology.names[feature]), _encode(shape or None))
            for feature, shape in ontology.shapes.items()
        }
        self.line_ends = _LineEndCache(self.static)


class _Reading:
    """Filters and writes the objects of one label row."""

    def __init__(
        self,
        buffer: LineBuffer,
        shared: _Shared,
        row: LabelRow,
        answers: _Answers,
        locations: Locations,
        remarks: Remarks,
        *,
        data_type: str,
    ) -> None:
        scene = data_type == "scene"
        self.buffer = buffer
        self._shared = shared
        self._row = row
        self._scene = scene
        self._locations = locations
        self._remarks = remarks
        self._statics = answers
        self._actions = row.object_actions or {}
        # (object hash, feature hash) -> end of the line: complete, and up to the dynamic answers.
        self._ends: dict[tuple[str | None, str | None], bytes] = {}
        self._heads: dict[tuple[str | None, str | None], bytes] = {}
        self._dynamic: dict[str, DynamicAnswers] = {}
        self._spaces: dict[str, str] | None = None
        continuous = scene and row.scene is not None and bool(row.scene.is_continuous)
        self._moments = moments_of(locations) if continuous else None
        # On pictures each object occurs once, so ends of lines are not cached, and need not be joined.
        self._on_pictures = not shared.chain.looks_at_records and data_type in _PICTURES

    def add(
        self,
        before: bytes,
        objects: list[msgspec.Raw],
        fields: list[Any],
        frame: int | None,
        location: Location,
        ranges: bytes = NULL,
    ) -> None:
        """Write those objects of one frame or space that no filter drops.

        `objects` are given as sent, and `fields` are their decoded fields in the same order. `before` is the
        beginning of their lines, up to the object. For objects on ranges, `frame` is None. `ranges` are their
        ranges as JSON, null for objects on frames.
        """
        buffer, chain = self.buffer, self._shared.chain
        if self._scene:
            # In an event-based scene, the start and the changes of an object are labels, its end is not.
            labels = [one.event != "delete" for one in fields]
            objects, fields = list(compress(objects, labels)), list(compress(fields, labels))
        seen = len(objects)
        objects, fields = chain.filter(objects, fields, buffer.dropped)
        if self._on_pictures and ranges is NULL:
            self._add_on_picture(before, objects, fields, frame, location)
        else:
            ends = self._ends_of(objects, fields, frame, location, ranges)
            if chain.looks_at_records:
                kept = [self._is_kept(before, *record) for record in zip(objects, ends, strict=True)]
                objects, ends = list(compress(objects, kept)), list(compress(ends, kept))
            buffer.pieces += concatenated.from_iterable(zip(repeat(before), objects, ends, strict=False))
        written = len(objects)
        buffer.seen += seen
        buffer.written += written
        location.objects += written
        location.dropped_objects += seen - written

    def _add_on_picture(
        self,
        before: bytes,
        objects: list[msgspec.Raw],
        fields: list[Any],
        frame: int | None,
        location: Location,
    ) -> None:
        """Write the lines of objects on a picture. No part is cached by object, since each occurs once."""
        statics, actions, pieces = self._statics, self._actions, self.buffer.pieces
        classes, line_ends = self._shared.classes, self._shared.line_ends
        for one, raw in zip(fields, objects, strict=True):
            object_hash = one.object_hash
            entry, known = statics.get(object_hash), classes.get(one.feature_hash)
            end = _NO_ANSWERS_END if entry is None else line_ends[bytes(entry.classifications)]
            if known is None or not end or object_hash in actions:
                pieces += (before, raw, self._end(one, raw, frame, location, NULL))
                continue
            number = NULL
            if entry is not None and entry.object_number is not NO_NUMBER:
                number = integer(entry.object_number)
            pieces += (before, raw, _HASH, _encode(object_hash), known, number, end)

    def _ends_of(
        self,
        objects: list[msgspec.Raw],
        fields: list[Any],
        frame: int | None,
        location: Location,
        ranges: bytes,
    ) -> list[bytes]:
        """Return the ends of the lines of `objects`. That of a track is cached from frame to frame."""
        cached = self._ends.get if ranges is NULL else _NO_CACHE.get  # ranges differ from space to space
        return [
            cached((one.object_hash, one.feature_hash)) or self._end(one, raw, frame, location, ranges)
            for one, raw in zip(fields, objects, strict=True)
        ]

    def _is_kept(self, *record: JSON) -> bool:
        name = self._shared.chain.dropped_by(b"".join(record), self._row.label_hash, self.buffer.lacking)
        if name is not None:
            self.buffer.dropped[name] += 1
        return name is None

    def _end(self, one: Any, raw: msgspec.Raw, frame: int | None, location: Location, ranges: bytes) -> bytes:
        """Return the end of a line, after the object. It is cached if all frames of the object share it."""
        object_hash, key = one.object_hash, (one.object_hash, one.feature_hash)
        until, actions = None, self._actions.get(object_hash)
        if self._moments is not None and frame is not None:
            until = last_moment(self._moments[id(location), object_hash], frame)
        cacheable = until is None and ranges is NULL and one.feature_hash in self._shared.classes
        head = self._heads.get(key) if cacheable else None
        if head is None:
            head = self._head(one, raw, until, ranges)
        if cacheable:
            self._heads[key] = head
        if actions is None:
            end = head + _NO_DYNAMIC
            if cacheable and self._moments is None:
                self._ends[key] = end
            return end
        dynamic = self._dynamic_answers(object_hash, actions.actions, frame, until, location)
        if dynamic.as_text:
            self._remarks.add("answer_as_text", f"object {object_hash}")
        return head + _DYNAMIC % dynamic.json

    def _head(self, one: Any, raw: msgspec.Raw, until: int | None, ranges: bytes) -> bytes:
        """Return the end of a line from after the object up to its dynamic answers."""
        entry, known = self._statics.get(one.object_hash), self._shared.classes.get(one.feature_hash)
        number, static = NULL, NO_ANSWERS
        if entry is not None:
            number, static = integer(entry.object_number), self._shared.static[bytes(entry.classifications)]
        if static.as_text:
            self._remarks.add("answer_as_text", f"object {one.object_hash}")
        known = _class_as_sent(one.feature_hash, raw) if known is None else known
        answers = _ANSWERS % (whole(until), ranges, static.json)
        return b"".join((_HASH, _encode(one.object_hash), known, number, answers))

    def _dynamic_answers(
        self, object_hash: str, actions: msgspec.Raw, frame: int | None, until: int | None, location: Location
    ) -> AnswerList:
        dynamic = self._dynamic.get(object_hash)
        if dynamic is not None:
            return self._at(dynamic, frame, until, location)
        # Use the shared cache for the first frame of an object: many objects have the same dynamic answers
        # there, and on an image it is the only frame.
        cacheable = location.listed and self._moments is None
        sent = bytes(actions)
        key = (sent, frame, location.space_id)
        written = self._shared.first_frame.get(key) if cacheable else None
        if written is None:
            if self._spaces is None:
                self._spaces = self._locations.names_of_spaces(self._named_spaces())
            dynamic = DynamicAnswers(self._shared.serialiser, actions, self._spaces)
            self._dynamic[object_hash] = dynamic
            written = self._at(dynamic, frame, until, location)
            if cacheable and not dynamic.name_spaces:  # else the result depends on the spaces of this row
                self._shared.first_frame.keep(key, sent, written)
        return written

    def _at(
        self, dynamic: DynamicAnswers, frame: int | None, until: int | None, location: Location
    ) -> AnswerList:
        if frame is None:
            return dynamic.with_ranges(location)
        if self._moments is not None:
            return dynamic.within(frame, until, location)
        return dynamic.at(frame, location)

    def _named_spaces(self) -> Iterator[str]:
        for entry in self._statics.values():
            yield from (entry.spaces or ()) if entry else ()


def _class_as_sent(feature: str | None, raw: msgspec.Raw) -> bytes:
    """Return the class keys of an object that the ontology does not know, from the object itself."""
    sent = _decode_class(raw)
    return _CLASS % (_encode(feature), _encode(sent.name), _encode(sent.shape))


def _is_empty(ranges: msgspec.Raw | None) -> bool:
    return ranges is None or bytes(ranges).translate(None, b" \t\r\n") in (NULL, b"[]")


def _ranges(sent: msgspec.Raw | None) -> bytes:
    """Return ranges as sent, or null if they are not a list of pairs of numbers."""
    if sent is None:
        return NULL
    try:
        _decode_ranges(sent)
    except msgspec.ValidationError:
        return NULL
    return bytes(sent)
