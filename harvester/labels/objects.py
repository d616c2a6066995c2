"""Objects: from a label row's skeleton to lines, with the objects' own bytes copied as sent."""

from collections.abc import Iterator
from itertools import chain as concatenated
from itertools import compress, repeat
from typing import Any

import msgspec

from harvester.filters import Chain
from harvester.filters.fields import fields_decoder
from harvester.labels.answers import JSON, Nesting, StaticAnswers, Written
from harvester.labels.dynamic import DynamicAnswers
from harvester.labels.places import FRAME_TYPES, RANGE_SPACES, RANGE_TYPES, Place, Places
from harvester.labels.records import Sheet, number
from harvester.labels.wire import LabelRow, ObjectAnswer

_Answers = dict[str, ObjectAnswer | None]

# Dynamic answers as sent, and frame and space where an object with them is first met: what is written there.
FirstMet = Written[tuple[bytes, int | None, str | None]]

_RANGE_SHAPES = frozenset({"audio", "time_range", "text"})

# The end of a line: static answers where they go, and no dynamic ones.
_ANSWERS = b',"attributes":%b,"dynamic_attributes":[]}\n'
_NO_ANSWERS = _ANSWERS % b"[]"
# `object_answers`, as what they say of objects that stand elsewhere, and as the objects themselves.
_decode_answers = msgspec.json.Decoder(dict[str, ObjectAnswer | None] | None).decode
_decode_entries = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


class ObjectReader:
    """Reads the objects of label rows. Holds no state of a row; safe to use from many threads."""

    def __init__(self, chain: Chain, nesting: Nesting) -> None:
        self._chain = chain
        self._nesting = nesting
        self._answers = StaticAnswers(nesting, _ANSWERS)
        self._first_met = FirstMet()
        # Only what is looked at is decoded; the hash joins an object to its answers.
        self._decode = fields_decoder(chain.needs | {"object_hash"}).decode
        self._decode_event = fields_decoder(chain.needs | {"object_hash", "event"}).decode
        self._decode_entry = fields_decoder(
            chain.needs | {"object_hash", "event", "feature_hash", "shape"}
        ).decode

    def read(self, sheet: Sheet, row: LabelRow, data_type: str, head: bytes, places: Places) -> None:
        """Adds the lines of all objects of `row`; `head` is the row's part of a line."""
        answers = _decode_answers(row.object_answers) or {}
        scene = data_type == "scene"
        reading = _Reading(
            sheet, self._chain, self._nesting, self._answers, self._first_met, row, answers, scene=scene
        )
        head = b'{"kind":"object",' + head
        decode = self._decode_event if scene else self._decode
        all_alike = not (answers or row.object_actions or self._chain.names or scene)
        for place, frame, labels in places.labels():
            objects = labels.objects
            if objects:
                before = b'%b%b%b,"object":' % (head, place.head, number(frame))
                if all_alike:
                    sheet.keep_all(before, _NO_ANSWERS, objects)
                else:
                    reading.choose(before, objects, list(map(decode, objects)), frame, place)
        for place, raw, fields in self._on_ranges(row, answers, data_type, places):
            reading.choose(b'%b%bnull,"object":' % (head, place.head), [raw], [fields], None, place)

    def _on_ranges(
        self, row: LabelRow, answers: _Answers, data_type: str, places: Places
    ) -> Iterator[tuple[Place, msgspec.Raw, Any]]:
        """The objects that live in `object_answers`, once for each space that they are on."""
        if data_type in FRAME_TYPES and not any(entry and entry.spaces for entry in answers.values()):
            return
        entries = _decode_entries(row.object_answers) or {}
        for object_hash, entry in answers.items():
            if entry is None:
                continue
            raw = entries[object_hash]
            fields = self._decode_entry(raw)
            if not fields.feature_hash and not fields.shape:
                continue  # Answers left behind by an object that is gone.
            fields.object_hash = object_hash
            by_shape = fields.shape in _RANGE_SHAPES
            if entry.spaces:
                for space_id in entry.spaces:
                    space_type = places.space_type(space_id)
                    if space_type in RANGE_SPACES or (space_type is None and by_shape):
                        yield places.space(space_id), raw, fields
            elif data_type in RANGE_TYPES or (data_type not in FRAME_TYPES and by_shape):
                yield places.root, raw, fields


class _Reading:
    """The objects of one row: where they are kept, and their answers by object."""

    def __init__(
        self,
        sheet: Sheet,
        chain: Chain,
        nesting: Nesting,
        written: StaticAnswers,
        first_met: FirstMet,
        row: LabelRow,
        answers: _Answers,
        *,
        scene: bool,
    ) -> None:
        self.sheet = sheet
        self._chain = chain
        self._nesting = nesting
        self._written = written
        self._first_met = first_met
        self._label_hash = row.label_hash
        self._scene = scene
        self._statics = answers
        self._actions = row.object_actions or {}
        self._tails: dict[str | None, bytes] = {None: _NO_ANSWERS}
        self._dynamic: dict[str, DynamicAnswers] = {}

    def choose(
        self, before: bytes, objects: list[msgspec.Raw], fields: list[Any], frame: int | None, place: Place
    ) -> None:
        """Keeps those of `objects`, given as sent and with their fields, that no filter refuses.

        `before` is their line up to the object. What happens here happens once a record, so it is done by
        columns: a few calls for many objects.
        """
        sheet, chain, tail_of = self.sheet, self._chain, self._tails.get
        if self._scene:
            # The end of an object in an event-based scene is no label; its start and its changes are.
            labels = [one.event != "delete" for one in fields]
            objects, fields = list(compress(objects, labels)), list(compress(fields, labels))
        sheet.seen += len(objects)
        objects, fields = chain.sift(objects, fields, sheet.dropped)
        tails = [tail_of(one.object_hash) or self._tail(one.object_hash, frame, place) for one in fields]
        if chain.looks_at_records:
            kept = [self._is_kept(before, *record) for record in zip(objects, tails, strict=True)]
            objects, tails = list(compress(objects, kept)), list(compress(tails, kept))
        sheet.written += len(objects)
        sheet.pieces += concatenated.from_iterable(zip(repeat(before), objects, tails, strict=False))

    def _is_kept(self, *record: JSON) -> bool:
        name = self._chain.refused_by(b"".join(record), self._label_hash)
        if name is not None:
            self.sheet.dropped[name] += 1
        return name is None

    def _tail(self, object_hash: str | None, frame: int | None, place: Place) -> bytes:
        """The end of a line: the object's answers. The same on every frame, unless there are dynamic ones."""
        assert object_hash is not None  # None is among the tails from the start.
        entry, actions = self._statics.get(object_hash), self._actions.get(object_hash)
        tail = self._written[bytes(entry.classifications)] if entry else _NO_ANSWERS
        if actions is None:
            self._tails[object_hash] = tail
            return tail
        return b"%b%b}\n" % (
            tail.removesuffix(b"[]}\n"),
            self._dynamic_answers(object_hash, actions.actions, frame, place.scope),
        )

    def _dynamic_answers(
        self, object_hash: str, actions: msgspec.Raw, frame: int | None, scope: str | None
    ) -> bytes:
        dynamic = self._dynamic.get(object_hash)
        if dynamic is not None:
            return _at(dynamic, frame, scope)
        # Where an object is first met, and on an image nowhere else, others were met with the same answers.
        sent = bytes(actions)
        key = (sent, frame, scope)
        written = self._first_met.get(key)
        if written is None:
            dynamic = self._dynamic[object_hash] = DynamicAnswers(self._nesting, actions)
            written = _at(dynamic, frame, scope)
            self._first_met.keep(key, sent, written)
        return written


def _at(dynamic: DynamicAnswers, frame: int | None, scope: str | None) -> bytes:
    return dynamic.with_ranges(scope) if frame is None else dynamic.at(frame, scope)
