"""What a worker thread does: one blocking call, the check of its answer, and the reading of its rows.

A label row's raw bytes never leave the thread: what comes back are the lines that were made of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

import msgspec

from harvester.errors import Retry, SkipRow
from harvester.fetch.bundles import Batch, FoundRows, find_asked
from harvester.fetch.freshness import Clocks, older_rows
from harvester.fetch.source import LabelRows, RowsResponse
from harvester.labels.extract import NOTHING_KNOWN, Extractor, Harvest, Known
from harvester.labels.notes import Remark
from harvester.labels.wire import PlanRow, Row, label_hash_of
from harvester.schema import Failure


class FailedRow(msgspec.Struct, frozen=True):
    """A row that could not be harvested: a line of ``failed-*.ndjson``, see `harvester.schema.FailedLine`.

    `error` says why in one word to sort by; `attempts` counts the requests that asked for the row.
    """

    label_hash: str
    branch_name: str | None
    data_title: str
    error: Failure
    message: str
    attempts: int
    trace_id: str | None = None

    @classmethod
    def of(cls, row: PlanRow, error: SkipRow | Retry, attempts: int) -> "FailedRow":
        """Return the failure of `row` by `error`, after that many `attempts`."""
        return cls(
            row.label_hash or "",
            row.branch_name,
            row.data_title,
            error.failure,
            error.message,
            attempts,
            error.trace_id,
        )


Outcome = Harvest | FailedRow


class Span(msgspec.Struct):
    """Consecutive rows of a bundle, from position `place` on, and their common outcome."""

    place: int
    rows: int
    outcome: Outcome


class Fetched(msgspec.Struct):
    """What a call brought.

    `missing` are the positions of rows that the answer left out, `older` those of rows that are older than
    listed, and are not read yet: they are to be asked for again. `weight` is the size in bytes of the
    lines that are held, `foreign` the number of rows that were not asked for.
    """

    spans: list[Span]
    missing: list[int]
    older: list[int]
    wire_bytes: int
    body_bytes: int
    weight: int
    foreign: int


class Call:
    """One call, made in a worker thread. `abandoned` is set once its result is not needed any more.

    Without `clocks` no row is looked at for being older than listed.
    """

    __slots__ = ("_batch", "_clocks", "_extractor", "_source", "abandoned")

    def __init__(
        self, source: LabelRows, extractor: Extractor, batch: Batch, clocks: Clocks | None = None
    ) -> None:
        self._source = source
        self._extractor = extractor
        self._batch = batch
        self._clocks = clocks
        self.abandoned = False

    def __call__(self) -> Fetched:
        """Blocks until the answer is there and read. Raises what `LabelRows` raises, and Stop."""
        asked = [row.label_hash or "" for row in self._batch.rows]
        answer = self._ask(asked)
        hashes = [label_hash_of(row) for row in answer.rows]
        if len(asked) == 1 and hashes == [None]:
            hashes = [*asked]  # taken for the row asked for: reading it tells what is wrong with it
        found = find_asked(asked, hashes)
        missing, older = found.missing, self._older(found, answer)
        known = _known(asked, found, answer, older)
        ask_again = [] if self._batch.asked_again else list(older)
        for place in ask_again:
            found.at[place] = None  # not read: what is read is joined with its neighbours
        fetched = Fetched([], missing, ask_again, answer.wire_bytes, answer.body_bytes, 0, found.foreign)
        for run in found.runs(self._batch.places):
            fetched.spans += self._read(run, answer.rows, known)
        for span in fetched.spans:
            if isinstance(span.outcome, Harvest):
                fetched.weight += sum(lines.held for lines in span.outcome.lines.values())
        return fetched

    def _older(self, found: FoundRows, answer: RowsResponse) -> Mapping[int, str]:
        """Which rows are older than listed, by their position, and what is noted of that."""
        if self._clocks is None or self._clocks.differ:
            return {}
        return older_rows(self._batch.rows, found.at, answer.rows)

    def _ask(self, asked: list[str]) -> RowsResponse:
        if self._batch.asks_why:
            (label_hash,) = asked
            return self._source.get_left_out(label_hash)
        if len(asked) == 1:
            return self._source.get_label_row(asked[0])
        # A row may stand in the plan twice; it is asked for once.
        return self._source.get_label_rows(list(dict.fromkeys(asked)))

    def _read(self, run: list[tuple[int, int]], rows: Sequence[Row], known: Known) -> Iterator[Span]:
        """Read the rows that `run` names (see `FoundRows.runs`); stop early if the call was abandoned."""
        batch, begin = self._batch, 0
        wanted = takewhile(lambda _: not self.abandoned, ((rows[at], batch.rows[i]) for i, at in run))
        for count, outcome in self._extractor.extract_all(wanted, known):
            first, _ = run[begin]
            if isinstance(outcome, SkipRow):
                # As a value: the exception's traceback would keep the answer's bytes alive.
                failed = FailedRow.of(batch.rows[first], outcome, batch.attempts + 1)
                yield Span(batch.places[first], count, failed)
            else:
                yield Span(batch.places[first], count, outcome)
            begin += count


def _known(asked: Sequence[str], found: FoundRows, answer: RowsResponse, older: Mapping[int, str]) -> Known:
    """Return the notes on the rows `asked` for that follow from the answer itself."""
    if not answer.replaced and not older:
        return NOTHING_KNOWN
    known: dict[str, list[Remark]] = {}
    for place, (label_hash, at) in enumerate(zip(asked, found.at, strict=True)):
        remarks: list[Remark] = []
        if place in older:
            remarks.append(("stale", older[place]))
        if at is not None and at in answer.replaced:
            remarks.append(("surrogates_replaced", answer.replaced[at]))
        if remarks:
            known[label_hash] = remarks
    return known
