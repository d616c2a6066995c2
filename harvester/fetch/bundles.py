"""Decide how many rows one call requests, how a failing bundle is split, and which rows an answer holds.

Pure functions of values: no waiting, no clock, no network.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from harvester.labels.wire import PlanRow

# Rows per call. The platform's documentation recommends at most 1000.
MOST_ROWS = 1000
# Target size of an answer, in bytes. At this size the overhead of a call is small against the transfer; more
# would only need more memory (measured: with twice the size, an export of 300,000 rows took 50 MB more).
TARGET_BYTES = 2 * 1024**2
# Target duration of a call, in seconds. After a longer one bundles do not grow. After a much longer one, or a
# failure after this time, they shrink, because a larger bundle might run into a timeout. Chosen.
TARGET_SECONDS = 5.0
_TOO_LONG_SECONDS = 4 * TARGET_SECONDS
# Memory per byte of the answer: the body itself and its decoded rows, which take up to a third of it. At
# first the results are assumed to be as large as the body; the real ratio is learned from answers.
_BODY = 1.35
_INFLATION = _BODY + 1
# The mean size of a row is a moving average over about this many rows. One answer counts for half of it at
# most, because a single odd bundle is not the rule; and, if its rows are larger than expected, for a quarter
# at least, because too low an estimate risks memory. Chosen.
_ROWS_REMEMBERED = 50
_MAX_LEARNT = 0.5
_MIN_LEARNT_UP = 0.25


class BundleSizer:
    """Learn from answers how many rows to request at once.

    It starts with one row, because the size of rows is unknown, and doubles with each answer up to the target
    size. After a bundle that was too large it halves, and then grows by single rows only: a limit that the
    server does not tell is then exceeded now and then, not by every second bundle.

    Args:
        cap: upper limit of rows per bundle, set by the user. Lowered if the server tells its own maximum.
        max_memory: bytes that all bundles together may hold.
        row_bytes: mean size of a row in an earlier run. If given, bundles start at full size.
    """

    def __init__(self, *, cap: int = MOST_ROWS, max_memory: int, row_bytes: float | None = None) -> None:
        self.cap = cap
        self._target = min(TARGET_BYTES, max_memory // 8)  # several bundles and their lines fit at once
        self._unknown = max_memory // 2  # bytes to reserve as long as the size of rows is unknown
        self._most = 1 if row_bytes is None else MOST_ROWS
        self._careful_from = 2 * MOST_ROWS  # rows from which on bundles grow one by one; at first never
        self._mean = row_bytes
        self._deviation = (row_bytes or 0.0) / 2  # mean deviation of row sizes; a first guess, soon corrected
        self._inflation = _INFLATION

    @property
    def size(self) -> int:
        """Return the number of rows for the next bundle."""
        most = min(self.cap, self._most)
        if self._mean is not None:
            most = min(most, int(self._target / self._row_bytes))
        return max(1, most)

    @property
    def _row_bytes(self) -> float:
        """Return a high estimate of the size of a row: mean plus deviation, in bytes."""
        return max(1.0, (self._mean or 0.0) + self._deviation)

    def footprint(self, rows: int) -> int:
        """Return the bytes to reserve for `rows` rows. Before the first answer: half of the budget."""
        return self._unknown if self._mean is None else int(rows * self._row_bytes * self._inflation)

    def answered(self, rows: int, body_bytes: int, line_bytes: int, took: float) -> None:
        """Learn from an answer to a request for `rows` rows.

        Args:
            body_bytes: size of the decompressed body.
            line_bytes: size of the results made from it.
            took: seconds from sending the request to the end of extraction.
        """
        row_bytes = body_bytes / rows
        inflation = _BODY + line_bytes / max(1, body_bytes)
        if self._mean is None:
            self._mean = row_bytes
        else:
            share = min(_MAX_LEARNT, rows / _ROWS_REMEMBERED)
            if row_bytes > self._mean + self._deviation:
                share = max(share, _MIN_LEARNT_UP)
            self._deviation += share * (abs(row_bytes - self._mean) - self._deviation)
            self._mean += share * (row_bytes - self._mean)
            self._inflation += share * (inflation - self._inflation)
        if took > _TOO_LONG_SECONDS:
            self._shrink(rows)
        elif took <= TARGET_SECONDS and rows == self._most:
            self._most = min(MOST_ROWS, 2 * rows if 2 * rows <= self._careful_from else rows + 1)

    def too_much(self, rows: int, maximum: int | None) -> None:
        """Learn that the server refused to send `rows` rows at once; `maximum` rows, if it told its limit."""
        if maximum is not None:
            self.cap = max(1, min(self.cap, maximum))
        else:
            self._shrink(rows)

    def failed(self, rows: int, took: float) -> None:
        """Learn that a request failed after `took` seconds. A quick failure says nothing about the size."""
        if took > TARGET_SECONDS:
            self._shrink(rows)

    def _shrink(self, rows: int) -> None:
        # Relative to the bundle that failed, not to the present size: other bundles that were in flight with
        # it fail for the same reason, and must not shrink the size again.
        self._most = self._careful_from = min(self._most, max(1, rows // 2))


# A row is reported as failed after this many answers without it. The last of these is a request for that row
# alone, by a call whose error tells why it is missing. Chosen.
MOST_LEFT_OUT = 3


class Batch(msgspec.Struct):
    """Rows that are requested together: at first a whole bundle; after a failure, a part of it.

    Attributes:
        rows: the rows.
        places: the position of each row in the bundle.
        before: attempts for the larger batches from which this one was split.
        spent: attempts for this batch. A refused request, and one that failed during an outage, is no
            attempt.
        left_out: answers that did not hold these rows.
        asked_again: whether the rows are requested again because they were older than listed.
    """

    rows: Sequence[PlanRow]
    places: Sequence[int]
    before: int = 0
    spent: int = 0
    left_out: int = 0
    asked_again: bool = False

    @property
    def attempts(self) -> int:
        """Return the attempts for these rows, in batches of any size."""
        return self.before + self.spent

    @property
    def asks_why(self) -> bool:
        """Return whether to use the call whose error tells why the (single) row was left out."""
        return self.left_out == MOST_LEFT_OUT - 1

    def cut(self, at_most: int | None = None) -> "list[Batch]":
        """Split the batch into halves, or into parts of `at_most` rows if that is less."""
        count = len(self.rows)
        size = max(1, min(at_most or count, (count + 1) // 2))
        return [self.part(range(start, min(start + size, count))) for start in range(0, count, size)]

    def part(self, chosen: Sequence[int]) -> "Batch":
        """Return a new batch of the rows at the positions `chosen` of this one."""
        return Batch(
            [self.rows[i] for i in chosen],
            [self.places[i] for i in chosen],
            before=self.attempts,
            left_out=self.left_out,
            asked_again=self.asked_again,
        )


class FoundRows(msgspec.Struct):
    """Where the requested rows are in an answer.

    Attributes:
        at: for each requested row its index in the answer; None if the answer does not hold it.
        foreign: number of rows in the answer that were not requested.
    """

    at: list[int | None]
    foreign: int

    @property
    def missing(self) -> list[int]:
        """Return the positions of the rows that the answer does not hold."""
        return [i for i, found in enumerate(self.at) if found is None]

    def runs(self, places: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
        """Yield groups of rows in the answer that are consecutive in the bundle, according to `places`.

        Each row is a pair: its position in the request, and its index in the answer.
        """
        there = ((i, found) for i, found in enumerate(self.at) if found is not None)
        # Within a group of consecutive places, place minus counter is constant.
        for _, run in groupby(enumerate(there), key=lambda pair: places[pair[1][0]] - pair[0]):
            yield [row for _, row in run]


def find_asked(asked: Sequence[str], answered: Iterable[str | None]) -> FoundRows:
    """Find the requested label hashes (`asked`) among those of an answer, which may be in any order.

    If the answer holds a row twice, the first one counts.
    """
    first: dict[str | None, int] = {}
    for place, label_hash in enumerate(answered):
        first.setdefault(label_hash, place)
    return FoundRows([first.get(label_hash) for label_hash in asked], len(first.keys() - set(asked)))
