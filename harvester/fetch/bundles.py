"""How many rows a call asks for, how a failing bundle is cut, whether an answer holds what was asked for.

Pure decisions: values in, values out.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from harvester.labels.wire import PlanRow

# The platform advises 1000 rows a call at most.
MOST_ROWS = 1000
# An answer of this size costs far more to send than to ask for; a larger one only takes more memory: with
# twice as much, an export of 300,000 rows took 50 MB more.
TARGET_BYTES = 2 * 1024**2
# Answers that take longer do not grow; much longer ones, or failures after so long, come near time-outs.
TARGET_SECONDS = 5.0
_TOO_LONG = 4 * TARGET_SECONDS
# A body is held once, with the skeletons of its rows, which weigh up to a third of it; and at first we think
# that the lines made of it weigh as much.
_BODY = 1.35
_INFLATION = _BODY + 1
# A mean of the last rows: a single answer replaces half of it at most, for one odd bundle is not the rule;
# and a quarter at least where rows are heavier than thought, for memory is at stake.
_ROWS_REMEMBERED = 50
_MOST_LEARNT = 0.5
_LEAST_LEARNT_UP = 0.25


class BundleSizer:
    """Learns from answers how many rows to ask for at once.

    It starts with one row, for nobody knows what a row weighs, and doubles with each answer up to the
    target size. After a bundle that was too much it halves, and from there on grows by single rows, so
    that a limit which the server does not name is met now and then, not with every other bundle.

    Args:
        cap: rows at most, as the user says; later also as the server says.
        max_memory: bytes that may be in flight.
        row_bytes: what a row weighed on average in an earlier run; the start is at full size then.
    """

    def __init__(self, *, cap: int = MOST_ROWS, max_memory: int, row_bytes: float | None = None) -> None:
        self.cap = cap
        self._target = min(TARGET_BYTES, max_memory // 8)  # several bundles and their lines fit at once
        self._unknown = max_memory // 2
        self._most = 1 if row_bytes is None else MOST_ROWS
        self._careful_from = 2 * MOST_ROWS
        self._mean = row_bytes
        self._deviation = (row_bytes or 0.0) / 2  # rows differ; how much shows soon
        self._inflation = _INFLATION

    @property
    def size(self) -> int:
        """Rows to ask for in the next bundle."""
        most = min(self.cap, self._most)
        if self._mean is not None:
            most = min(most, int(self._target / self._row_bytes))
        return max(1, most)

    @property
    def _row_bytes(self) -> float:
        """What a row weighs, on the heavy side."""
        return max(1.0, (self._mean or 0.0) + self._deviation)

    def footprint(self, rows: int) -> int:
        """Bytes that asking for so many rows may hold. Half of the budget as long as nothing is known."""
        return self._unknown if self._mean is None else int(rows * self._row_bytes * self._inflation)

    def answered(self, rows: int, body_bytes: int, line_bytes: int, took: float) -> None:
        """An answer of `rows` rows came after `took` seconds: its body's bytes, and those of its lines."""
        row_bytes = body_bytes / rows
        inflation = _BODY + line_bytes / max(1, body_bytes)
        if self._mean is None:
            self._mean = row_bytes
        else:
            share = min(_MOST_LEARNT, rows / _ROWS_REMEMBERED)
            if row_bytes > self._mean + self._deviation:
                share = max(share, _LEAST_LEARNT_UP)
            self._deviation += share * (abs(row_bytes - self._mean) - self._deviation)
            self._mean += share * (row_bytes - self._mean)
            self._inflation += share * (inflation - self._inflation)
        if took > _TOO_LONG:
            self._shrink(rows)
        elif took <= TARGET_SECONDS and rows == self._most:
            self._most = min(MOST_ROWS, 2 * rows if 2 * rows <= self._careful_from else rows + 1)

    def too_much(self, rows: int, maximum: int | None) -> None:
        """The server would not send `rows` rows at once; it may have named its `maximum`, which is kept."""
        if maximum is not None:
            self.cap = max(1, min(self.cap, maximum))
        else:
            self._shrink(rows)

    def failed(self, rows: int, took: float) -> None:
        """A request failed after `took` seconds. A quick failure says nothing of the bundle's size."""
        if took > TARGET_SECONDS:
            self._shrink(rows)

    def _shrink(self, rows: int) -> None:
        # By the size of the bundle that failed: those sent along with it are the same finding.
        self._most = self._careful_from = min(self._most, max(1, rows // 2))


# A row that so many answers leave out is not coming. For the last of them it is asked for alone.
MOST_LEFT_OUT = 3


class Batch(msgspec.Struct):
    """Rows of a bundle that are asked for together: all of them at first, parts of it after a failure.

    `places` says where in the bundle each row stands. `spent` counts the requests for this batch that
    count, `before` those for the larger ones that it was cut from, `left_out` the answers without it.
    `asked_again` is set where the rows came, but were older than listed.
    """

    rows: Sequence[PlanRow]
    places: Sequence[int]
    before: int = 0
    spent: int = 0
    left_out: int = 0
    asked_again: bool = False

    @property
    def attempts(self) -> int:
        """Requests that asked for these rows."""
        return self.before + self.spent

    @property
    def asks_why(self) -> bool:
        """Whether the answer is to say why earlier ones left out the one row that this is."""
        return self.left_out == MOST_LEFT_OUT - 1

    def cut(self, at_most: int | None = None) -> "list[Batch]":
        """Halves, or pieces of `at_most` rows where that is less."""
        count = len(self.rows)
        size = max(1, min(at_most or count, (count + 1) // 2))
        return [self.part(range(start, min(start + size, count))) for start in range(0, count, size)]

    def part(self, chosen: Sequence[int]) -> "Batch":
        """The rows at the positions `chosen`, to be asked for on their own."""
        return Batch(
            [self.rows[i] for i in chosen],
            [self.places[i] for i in chosen],
            before=self.attempts,
            left_out=self.left_out,
            asked_again=self.asked_again,
        )


class Found(msgspec.Struct):
    """Which row of an answer is the one asked for: `at[i]` for the i-th, None where it was left out."""

    at: list[int | None]
    foreign: int

    @property
    def missing(self) -> list[int]:
        """Positions of the rows that were left out."""
        return [i for i, found in enumerate(self.at) if found is None]

    def runs(self, places: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
        """The rows that are there, each as the i-th asked for and its place in the answer.

        Those come together whose `places` follow one another.
        """
        there = ((i, found) for i, found in enumerate(self.at) if found is not None)
        for _, run in groupby(enumerate(there), key=lambda pair: places[pair[1][0]] - pair[0]):
            yield [row for _, row in run]


def find_asked(asked: Sequence[str], answered: Iterable[str | None]) -> Found:
    """Finds the label hashes `asked` for among those of an answer, which has them in any order.

    Of duplicates the first counts; `foreign` counts the rows that nobody asked for.
    """
    first: dict[str | None, int] = {}
    for place, label_hash in enumerate(answered):
        first.setdefault(label_hash, place)
    return Found([first.get(label_hash) for label_hash in asked], len(first.keys() - set(asked)))
