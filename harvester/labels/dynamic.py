"""Dynamic answers: what `object_actions` says of one object, frame by frame."""

import math
from bisect import bisect_right

import msgspec

from harvester.labels.answers import Answer, Nesting, written_answer
from harvester.labels.wire import Ranges

# Given as the space of records whose place is not one of the row's spaces: every answer may hold there.
ANYWHERE = "*"

_decode_ranges = msgspec.json.Decoder(Ranges | None).decode


class DynamicAnswers:
    """The dynamic answers of one object of one row. An answer that names a space holds only there.

    Not to be shared between threads: it remembers how far it has read.
    """

    def __init__(self, nesting: Nesting, actions: msgspec.Raw) -> None:
        self._nesting = nesting
        self._actions = nesting.in_ontology_order(actions)
        self._timelines: dict[str | None, _Timeline] = {}

    def at(self, frame: int, space_id: str | None) -> bytes:
        """The answers that hold on `frame`, as the JSON of `dynamic_attributes`. Cheap in frame order."""
        timeline = self._timelines.get(space_id)
        if timeline is None:
            timeline = self._timelines[space_id] = _Timeline(self._nesting, self._in_space(space_id))
        return timeline.at(frame)

    def with_ranges(self, space_id: str | None) -> bytes:
        """All answers, each with its ``range`` as sent: for records that stand on no frame."""
        written = []
        for action in self._in_space(space_id):
            answer = self._nesting.nested([(written_answer(action), action)])
            written.append(b'%b,"range":%b}' % (answer[1:-2], action.range))
        return b"[%b]" % b",".join(written)

    def _in_space(self, space_id: str | None) -> list[Answer]:
        if space_id == ANYWHERE:
            return self._actions
        return [action for action in self._actions if action.space_id in (None, space_id)]


class _Timeline:
    """Which answers hold when: replayed forwards, so that a long track costs one pass and no table."""

    def __init__(self, nesting: Nesting, actions: list[Answer]) -> None:
        self._nesting = nesting
        self._actions = actions
        changes: dict[int, list[tuple[int, int]]] = {}
        for index, action in enumerate(actions):
            for start, end in _decode_ranges(action.range) or ():
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
        self._written = b"[]"

    def at(self, frame: int) -> bytes:
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
            answers = [self._actions[index] for index in sorted(holding)]
            self._written = self._nesting.nested([(written_answer(answer), answer) for answer in answers])
        return self._written
