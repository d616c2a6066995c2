"""Dynamic answers of one object, from `object_actions`: which answers hold on which frame."""

import math
from bisect import bisect_right
from collections.abc import Mapping

import msgspec

from harvester.labels.answers import Answer, AnswerList, AnswerSerialiser
from harvester.labels.locations import ROOT_SPACE, Location
from harvester.labels.wire import Ranges

_decode_ranges = msgspec.json.Decoder(Ranges | None).decode
_EVER = -(2**64)  # a frame number below any that can be sent: start of answers without ranges


class DynamicAnswers:
    """The dynamic answers of one object of one row.

    An answer that names a space of the row holds in that space only. An answer that names no space, or a
    space that the row does not have, holds wherever the object is. An answer without ranges holds always.

    Not safe to share between threads: a timeline remembers the frame that it was last asked for.

    Args:
        serialiser: serialises the answers.
        actions: the object's answers as sent.
        spaces: any name that the row uses for a space -> the id of that space.
    """

    def __init__(self, serialiser: AnswerSerialiser, actions: msgspec.Raw, spaces: Mapping[str, str]) -> None:
        self._serialiser = serialiser
        self._actions = serialiser.in_ontology_order(actions)
        self._timelines: dict[str | None, _Timeline] = {}
        self.name_spaces = False
        for action in self._actions:
            if action.space_id is not None:
                self.name_spaces = True
                action.space_id = spaces.get(action.space_id)

    def at(self, frame: int, location: Location) -> AnswerList:
        """Return the answers that hold on `frame`. Fast if frames are asked for in ascending order."""
        timeline = self._timelines.get(location.space_id)
        if timeline is None:
            timeline = self._timelines[location.space_id] = _Timeline(self._serialiser, self._in(location))
        return timeline.at(frame)

    def with_ranges(self, location: Location) -> AnswerList:
        """Return all answers, each with its ranges as sent. For records that are not on a frame."""
        return _joined(
            [self._serialiser.serialise([action], _checked(action.range)) for action in self._in(location)]
        )

    def within(self, start: int, until: int | None, location: Location) -> AnswerList:
        """Return the answers that hold between two moments of an event-based scene.

        The ranges of each answer are cut to the time from `start` to `until`, in nanoseconds, both included.
        `until` is None if the object has no later event.
        """
        written = []
        for action in self._in(location):
            ranges = _decode_ranges(action.range)
            cut = [
                (max(first, start), last if until is None else min(last, until))
                for first, last in ranges or ()
                if last >= start and (until is None or first <= until)
            ]
            if ranges is None:
                written.append(self._serialiser.serialise([action]))
            elif cut:
                written.append(self._serialiser.serialise([action], msgspec.json.encode(cut)))
        return _joined(written)

    def _in(self, location: Location) -> list[Answer]:
        here = (None, ROOT_SPACE if location.space_id is None else location.space_id)
        return [action for action in self._actions if action.space_id in here]


def _checked(ranges: msgspec.Raw) -> msgspec.Raw:
    """Return `ranges` as sent. Raises msgspec.ValidationError if they are not a list of pairs of numbers."""
    _decode_ranges(ranges)
    return ranges


def _joined(lists: list[AnswerList]) -> AnswerList:
    """Concatenate several answer lists."""
    inside = b",".join([one.json[1:-1] for one in lists])
    return AnswerList(b"[%b]" % inside, any(one.as_text for one in lists))


class _Timeline:
    """The answers that hold on each frame, computed by replaying the starts and ends of their ranges.

    Replaying forwards takes one pass over the ranges of a long track and needs no table with an entry per
    frame. Asking for an earlier frame starts again from the beginning.
    """

    def __init__(self, serialiser: AnswerSerialiser, actions: list[Answer]) -> None:
        self._serialiser = serialiser
        self._actions = actions
        changes: dict[int, list[tuple[int, int]]] = {}
        for index, action in enumerate(actions):
            ranges = _decode_ranges(action.range)
            if ranges is None:
                changes.setdefault(_EVER, []).append((index, 1))
            for start, end in ranges or ():
                first, after = math.ceil(start), math.floor(end) + 1
                if first < after:
                    changes.setdefault(first, []).append((index, 1))
                    changes.setdefault(after, []).append((index, -1))
        self._points = sorted(changes)
        self._changes = [changes[point] for point in self._points]
        self._rewind()

    def _rewind(self) -> None:
        self._replayed = 0
        self._holding: dict[int, int] = {}
        self._written = AnswerList(b"[]")

    def at(self, frame: int) -> AnswerList:
        segment = bisect_right(self._points, frame)
        if segment < self._replayed:
            self._rewind()
        if segment > self._replayed:
            holding = self._holding
            for changes in self._changes[self._replayed : segment]:
                for index, step in changes:
                    holding[index] = holding.get(index, 0) + step
                    if not holding[index]:
                        del holding[index]
            self._replayed = segment
            self._written = self._serialiser.serialise([self._actions[index] for index in sorted(holding)])
        return self._written
