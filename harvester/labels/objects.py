"""Objects: from a label row's skeleton to lines, with the objects' own bytes copied as sent."""

from collections.abc import Iterator
from typing import Any

import msgspec

from harvester.filters import Chain
from harvester.filters.fields import fields_decoder
from harvester.labels.answers import JSON, Answers
from harvester.labels.dynamic import DynamicAnswers
from harvester.labels.places import FRAME_TYPES, RANGE_SPACES, RANGE_TYPES, Place, Places
from harvester.labels.records import Sheet, number
from harvester.labels.wire import LabelRow, ObjectEntries

_RANGE_SHAPES = frozenset({"audio", "time_range", "text"})

_NO_ANSWERS = b',"attributes":[],"dynamic_attributes":[]}\n'
_decode_entries = msgspec.json.Decoder(ObjectEntries).decode


class ObjectReader:
    """Reads the objects of label rows. Holds no state of a row; safe to use from many threads."""

    def __init__(self, chain: Chain, answers: Answers) -> None:
        self._chain = chain
        self._answers = answers
        # Only what is looked at is decoded: the hash joins an object to its answers.
        self._decode = fields_decoder(chain.needs | {"object_hash"}).decode
        self._decode_event = fields_decoder(chain.needs | {"object_hash", "event"}).decode
        self._decode_entry = fields_decoder(chain.needs | {"feature_hash", "shape"}).decode

    def read(
        self, row: LabelRow, sent: JSON | memoryview, data_type: str, head: bytes, places: Places
    ) -> Sheet:
        """The lines of all objects of `row`, whose JSON is `sent`; `head` is the row's part of a line."""
        reading = _Reading(self._chain, self._answers, row)
        sheet, head = reading.sheet, b'{"kind":"object",' + head
        scene = data_type == "scene"
        decode = self._decode_event if scene else self._decode
        all_alike = not (row.object_answers or row.object_actions or self._chain.names or scene)
        for place, frame, labels in places.labels():
            if not labels.objects:
                continue
            before = b'%b%b%b,"object":' % (head, place.head, number(frame))
            if all_alike:
                sheet.keep_all(before, _NO_ANSWERS, labels.objects)
                continue
            for raw in labels.objects:
                fields = decode(raw)
                # The end of an object in an event-based scene is no label; its start and its changes are.
                if not scene or fields.event != "delete":
                    reading.choose(fields, before, raw, fields.object_hash, frame, place)
        for place, object_hash, raw, fields in self._on_ranges(row, sent, data_type, places):
            before = b'%b%bnull,"object":' % (head, place.head)
            reading.choose(fields, before, raw, object_hash, None, place)
        return sheet

    def _on_ranges(
        self, row: LabelRow, sent: JSON | memoryview, data_type: str, places: Places
    ) -> Iterator[tuple[Place, str, msgspec.Raw, Any]]:
        """The objects that live in `object_answers`, once for each space that they are on."""
        answers = row.object_answers or {}
        if data_type in FRAME_TYPES and not any(entry and entry.spaces for entry in answers.values()):
            return
        entries = _decode_entries(sent).object_answers or {}
        for object_hash, entry in answers.items():
            if entry is None:
                continue
            raw = entries[object_hash]
            fields = self._decode_entry(raw)
            if not fields.feature_hash and not fields.shape:
                continue  # Answers left behind by an object that is gone.
            by_shape = fields.shape in _RANGE_SHAPES
            if entry.spaces:
                for space_id in entry.spaces:
                    space_type = places.space_type(space_id)
                    if space_type in RANGE_SPACES or (space_type is None and by_shape):
                        yield places.space(space_id), object_hash, raw, fields
            elif data_type in RANGE_TYPES or (data_type not in FRAME_TYPES and by_shape):
                yield places.root, object_hash, raw, fields


class _Reading:
    """The objects of one row: what is kept of them so far, and their answers by object."""

    def __init__(self, chain: Chain, answers: Answers, row: LabelRow) -> None:
        self.sheet = Sheet(chain.names)
        self._chain = chain
        self._answers = answers
        self._row = row
        self._statics = row.object_answers or {}
        self._actions = row.object_actions or {}
        self._tails: dict[str | None, bytes] = {None: _NO_ANSWERS}
        self._dynamic: dict[str, tuple[bytes, DynamicAnswers]] = {}

    def choose(
        self,
        fields: Any,
        before: bytes,
        raw: msgspec.Raw,
        object_hash: str | None,
        frame: int | None,
        place: Place,
    ) -> None:
        """Keeps the object, or counts the filter that refuses it. `before` is its line up to the object."""
        sheet, chain = self.sheet, self._chain
        sheet.seen += 1
        if chain.looks_at_fields and (name := chain.refused_by(fields)) is not None:
            sheet.dropped[name] += 1
            return
        tail = self._tails.get(object_hash) or self._tail(object_hash, frame, place)
        if chain.looks_at_records:
            line = b"".join((before, raw, tail))
            if (name := chain.refused_by_own(line, self._row.label_hash)) is not None:
                sheet.dropped[name] += 1
                return
        sheet.written += 1
        sheet.pieces += (before, raw, tail)

    def _tail(self, object_hash: str | None, frame: int | None, place: Place) -> bytes:
        """The end of a line: the object's answers. The same on every frame, unless there are dynamic ones."""
        assert object_hash is not None  # None is among the tails from the start.
        if object_hash not in self._dynamic:
            entry, actions = self._statics.get(object_hash), self._actions.get(object_hash)
            static = self._answers.static(entry.classifications) if entry else b"[]"
            before = b',"attributes":%b,"dynamic_attributes":' % static
            if actions is None:
                tail = self._tails[object_hash] = before + b"[]}\n"
                return tail
            self._dynamic[object_hash] = before, DynamicAnswers(self._answers, actions.actions)
        before, dynamic = self._dynamic[object_hash]
        here = dynamic.with_ranges(place.scope) if frame is None else dynamic.at(frame, place.scope)
        return b"%b%b}\n" % (before, here)
