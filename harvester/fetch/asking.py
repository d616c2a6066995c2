"""What a worker thread does: one blocking call, the check of its answer, and the reading of its rows.

A label row's raw bytes never leave the thread: what comes back are the lines that were made of them.
"""

from collections.abc import Sequence

import msgspec

from harvester.errors import HarvesterError, SkipRow
from harvester.fetch.bundles import find_asked
from harvester.fetch.source import Answer, LabelRows
from harvester.labels.extract import Extractor, Harvest
from harvester.labels.wire import LabelRow, PlanRow, SentRow, label_hash_of


class FailedRow(msgspec.Struct, frozen=True):
    """A row that could not be had. `error` is the kind of error, as `harvester.errors` names it."""

    label_hash: str
    data_title: str
    error: str
    message: str
    attempts: int
    trace_id: str | None = None

    @classmethod
    def of(cls, row: PlanRow, error: HarvesterError, attempts: int) -> "FailedRow":
        """`row` failed for good with `error`, after so many requests."""
        return cls(
            row.label_hash or "",
            row.data_title,
            type(error).__name__,
            error.message,
            attempts,
            error.trace_id,
        )


Outcome = Harvest | FailedRow


class Fetched(msgspec.Struct):
    """What a call brought: an outcome for each row asked for, None for one that the answer left out.

    `weight` is the size of the lines in bytes, `foreign` the number of rows that nobody asked for.
    """

    outcomes: list[Outcome | None]
    wire_bytes: int
    body_bytes: int
    weight: int
    foreign: int


class Call:
    """One call, made in a worker thread. `abandoned` is set once nobody waits for it any more."""

    __slots__ = ("_attempts", "_extractor", "_rows", "_source", "abandoned")

    def __init__(
        self, source: LabelRows, extractor: Extractor, rows: Sequence[PlanRow], attempts: int
    ) -> None:
        self._source = source
        self._extractor = extractor
        self._rows = rows
        self._attempts = attempts
        self.abandoned = False

    def __call__(self) -> Fetched:
        """Blocks until the answer is there and read. Raises what `LabelRows` raises, and Stop."""
        asked = [row.label_hash or "" for row in self._rows]
        answer = self._ask(asked)
        fetched = Fetched([None] * len(asked), answer.wire_bytes, answer.body_bytes, 0, 0)
        hashes = [label_hash_of(row) for row in answer.rows]
        if len(asked) == 1 and hashes == [None]:
            hashes = [*asked]  # no doubt the one asked for; what is wrong with it shows in reading it
        found = find_asked(asked, hashes)
        fetched.foreign = found.foreign
        for i, at in enumerate(found.at):
            if self.abandoned:
                break
            if at is not None:
                fetched.outcomes[i] = outcome = self._read(answer.rows[at], self._rows[i])
                if isinstance(outcome, Harvest):
                    fetched.weight += sum(lines.size for lines in outcome.lines.values())
        return fetched

    def _ask(self, asked: list[str]) -> Answer:
        if len(asked) == 1:
            return self._source.get_label_row(asked[0])
        # A row may stand in the plan twice; it is asked for once.
        return self._source.get_label_rows(list(dict.fromkeys(asked)))

    def _read(self, row: SentRow | LabelRow, planned: PlanRow) -> Outcome:
        try:
            return self._extractor.extract(row, planned)
        except SkipRow as error:
            # As a value: the exception's traceback would keep the answer's bytes alive.
            return FailedRow.of(planned, error, self._attempts + 1)
