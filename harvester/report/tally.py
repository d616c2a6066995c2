"""Counters for a stream of records. Their memory is bounded, whatever the records contain."""

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from harvester.filters.fields import Review
from harvester.report.numbers import (
    GRID,
    SMALLEST,
    Bin,
    Boxes,
    Frames,
    Missing,
    MissingAnswers,
    Ranking,
    Share,
)

MOST_KEYS = 10_000  # the most distinct values that are counted separately
TOP = 200  # the most values that the numbers list
_BINS = 24  # the most bins of a histogram, without the last one for larger values
# The sides, as shares of the image's side, at which the next cell of the size map begins.
_SIDES = [10 ** (math.log10(SMALLEST) * (1 - cell / GRID)) for cell in range(1, GRID)]

# The keys for a missing value, and for all distinct values after the first `MOST_KEYS`.
NONE, REST = "(none)", "(others)"


class GivenAnswer(msgspec.Struct, gc=False):
    """An answer to one attribute. One of three fields has it, see `harvester.schema.AnswerItem`."""

    name: str | None = None
    options: list[msgspec.Raw] | None = None
    text: str | None = None
    number: float | None = None


# Pairs of an attribute and whether its answer is not empty.
GivenAnswers = tuple[tuple[str, bool], ...]


def given_answers(answers: Iterable[GivenAnswer] | None) -> GivenAnswers:
    """Return what is counted of the answers of one label. Of two answers to one attribute the last counts."""
    if not answers:
        return ()
    said = {one.name or NONE: bool(one.options or one.text or one.number is not None) for one in answers}
    return tuple(said.items())


class ValueCounts:
    """Counts the values of one field: records, and distinct labels."""

    def __init__(self) -> None:
        self.records, self.distinct = Counter[str](), Counter[str]()

    def add(self, value: str | None, records: int, distinct: int) -> None:
        """Count that many records, `distinct` of which are the first of their label."""
        key = value or NONE
        if key not in self.records and len(self.records) >= MOST_KEYS:
            key = REST
        self.records[key] += records
        self.distinct[key] += distinct

    def ranking(self, names: Mapping[str, str] = MappingProxyType({})) -> Ranking:
        """Return the values, the most frequent first, then by name. `names`: hash -> name to show instead."""
        ranked = sorted(
            (Share(names.get(key, key), count, self.distinct[key]) for key, count in self.records.items()),
            key=lambda share: (-share.records, share.name),
        )
        rest = ranked[TOP:]
        return Ranking(
            top=ranked[:TOP],
            others=len(rest),
            other_records=sum(share.records for share in rest),
            other_distinct=sum(share.distinct for share in rest),
            folded=REST in self.records,
        )


class AnswerCounts:
    """Counts which attributes the labels of each class answer."""

    def __init__(self) -> None:
        self._labels = Counter[str]()
        self._answered = Counter[tuple[str, str]]()
        self._silent = Counter[str]()

    def add(self, name: str | None, answers: GivenAnswers, times: int) -> None:
        """Count that many labels of the class `name`, with equal answers."""
        key = name or NONE
        if key not in self._labels and len(self._labels) >= MOST_KEYS:
            key = REST
        self._labels[key] += times
        if not any(answered for _, answered in answers):
            self._silent[key] += times
        for attribute, answered in answers:
            pair = (key, attribute)
            if pair in self._answered or len(self._answered) < MOST_KEYS:
                self._answered[pair] += times if answered else 0

    def missing(self, names: Mapping[str, str] = MappingProxyType({})) -> MissingAnswers:
        """Return the pairs of class and attribute, those with most missing answers first.

        `names`: feature hash -> name to show instead.
        """
        pairs = [
            Missing(names.get(name, name), attribute, self._labels[name], self._labels[name] - answered)
            for (name, attribute), answered in self._answered.items()
        ]
        pairs.sort(key=lambda pair: (-pair.unanswered, pair.name, pair.attribute))
        lacking = sum(pair.unanswered > 0 for pair in pairs)
        return MissingAnswers(
            top=pairs[: min(lacking, TOP)],
            asked=sum(pair.asked for pair in pairs),
            unanswered=sum(pair.unanswered for pair in pairs),
            silent=sum(self._silent[name] for name in {name for name, _ in self._answered}),
            more=max(0, lacking - TOP),
        )


def last_decision(reviews: Sequence[Review] | None) -> str:
    """Return the decision of the last review of a label. Its reviews are in the order sent."""
    if not reviews:
        return "unreviewed"
    last = reviews[-1]
    if last.approved is not None:
        return "approved" if last.approved else "rejected"
    return {"APPROVED": "approved", "REJECTED": "rejected"}.get((last.status or "").upper(), "undecided")


class BoxTally:
    """Counts the positions and sizes of boxes."""

    def __init__(self) -> None:
        self._boxes = self._outside = self._empty = 0
        self._positions = [0] * GRID**2
        self._sizes = [0] * GRID**2

    def add(self, x: float, y: float, w: float, h: float) -> None:
        """Count one box. Its top left corner and its sides are shares of the image's sides."""
        self._boxes += 1
        if not (x >= 0 and y >= 0 and x + w <= 1.000001 and y + h <= 1.000001):
            self._outside += 1
        across, down = x + w / 2, y + h / 2
        if 0 <= across <= 1 and 0 <= down <= 1:
            self._positions[min(GRID - 1, int(down * GRID)) * GRID + min(GRID - 1, int(across * GRID))] += 1
        if 0 < w < math.inf and 0 < h < math.inf:
            self._sizes[bisect(_SIDES, h) * GRID + bisect(_SIDES, w)] += 1
        else:
            self._empty += 1

    def boxes(self) -> Boxes:
        return Boxes(self._boxes, self._outside, self._empty, _rows(self._positions), _rows(self._sizes))


def _rows(cells: list[int]) -> list[list[int]]:
    return [cells[start : start + GRID] for start in range(0, len(cells), GRID)]


class FrameTally:
    """Counts the objects on each frame. The records of a frame must follow one another."""

    def __init__(self) -> None:
        self._frame: object = None
        self._here = 0
        self._counts = Counter[int]()

    def add(self, frame: object) -> None:
        """Count one object on this frame."""
        if frame == self._frame:
            self._here += 1
        else:
            self._leave()
            self._frame, self._here = frame, 1

    def frames(self) -> Frames:
        self._leave()
        self._frame, self._here = None, 0
        counts = sorted(self._counts.items())
        frames = sum(self._counts.values())
        return Frames(
            frames=frames,
            mean=round(sum(objects * times for objects, times in counts) / frames, 2) if frames else 0.0,
            median=_quantile(counts, frames * 0.5),
            p95=_quantile(counts, frames * 0.95),
            most=counts[-1][0] if counts else 0,
            histogram=_histogram(counts, _quantile(counts, frames * 0.99)),
        )

    def _leave(self) -> None:
        if self._here:
            self._counts[min(self._here, MOST_KEYS)] += 1


def _quantile(counts: list[tuple[int, int]], wanted: float) -> int:
    seen = 0
    for value, times in counts:
        seen += times
        if seen >= wanted:
            return value
    return 0


def _histogram(counts: list[tuple[int, int]], high: int) -> list[Bin]:
    """Return bins of equal width up to `high`, and one bin for larger values."""
    if not counts:
        return []
    width = -(-high // _BINS)
    last = -(-high // width)
    binned = Counter[int]()
    for value, times in counts:
        binned[min((value - 1) // width, last)] += times
    bins = [Bin(i * width + 1, (i + 1) * width, binned[i]) for i in range(last)]
    return [*bins, Bin(last * width + 1, counts[-1][0], binned[last])] if binned[last] else bins


def ranked(counts: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Sort counts, the largest first, then by name."""
    return dict(sorted(counts, key=lambda item: (-item[1], item[0])))
