"""The work of a worker thread: make one blocking call, check its answer, and extract its rows.

The raw bytes of label rows never leave the thread: it returns the output lines made from them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

import msgspec

from harvester.errors import Retry, SkipRow
from harvester.fetch.bundles import Batch, FoundRows, find_asked
from harvester.fetch.freshness import Clocks, older_rows
from harvester.fetch.source import LabelRows, RowsResponse
from harvester.labels.extract import NOTHING_KNOWN, Extracted, Extractor, Known
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


Outcome = Extracted | FailedRow


class Span(msgspec.Struct):
    """Consecutive rows of a bundle, from position `place` on, and their common outcome."""

    place: int
    rows: int
    outcome: Outcome


class Fetched(msgspec.Struct):
    """The result of a call.

    Attributes:
        spans: the outcomes of the rows that were extracted.
        missing: positions (in the batch) of rows that the answer does not hold.
        older: positions of rows that are older than listed. They are not extracted but requested again.
        wire_bytes: size of the body on the network; 0 if unknown.
        body_bytes: size of the decompressed body.
        weight: bytes of memory that the extracted lines hold.
        foreign: number of rows in the answer that were not requested.
    """

    spans: list[Span]
    missing: list[int]
    older: list[int]
    wire_bytes: int
    body_bytes: int
    weight: int
    foreign: int


class Call:
    """One call, to be run in a worker thread.

    Args:
        clocks: decides whether rows can be compared with their listing; None: never compare.

    Attributes:
        abandoned: set by the event loop when the result is not needed any more. Extraction then stops early.
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
        """Block until the answer has arrived and its rows are extracted.

        Raises what the methods of `LabelRows` raise, and Stop.
        """
        asked = [row.label_hash or "" for row in self._batch.rows]
        answer = self._ask(asked)
        hashes = [label_hash_of(row) for row in answer.rows]
        if len(asked) == 1 and hashes == [None]:
            # A single row without a readable label hash must be the requested one: extracting it produces the
            # error that says what is wrong with it.
            hashes = [*asked]
        found = find_asked(asked, hashes)
        missing, older = found.missing, self._older(found, answer)
        known = _known(asked, found, answer, older)
        ask_again = [] if self._batch.asked_again else list(older)
        # Do not extract rows that are requested again: their lines would be joined with those of their
        # neighbours.
        for place in ask_again:
            found.at[place] = None
        fetched = Fetched([], missing, ask_again, answer.wire_bytes, answer.body_bytes, 0, found.foreign)
        for run in found.runs(self._batch.places):
            fetched.spans += self._read(run, answer.rows, known)
        for span in fetched.spans:
            if isinstance(span.outcome, Extracted):
                fetched.weight += sum(lines.held for lines in span.outcome.lines.values())
        return fetched

    def _older(self, found: FoundRows, answer: RowsResponse) -> Mapping[int, str]:
        """Return the rows that are older than listed: their positions, with the text of the note."""
        if self._clocks is None or self._clocks.differ:
            return {}
        return older_rows(self._batch.rows, found.at, answer.rows)

    def _ask(self, asked: list[str]) -> RowsResponse:
        """Make the call that suits the number of rows."""
        if self._batch.asks_why:
            (label_hash,) = asked
            return self._source.get_left_out(label_hash)
        if len(asked) == 1:
            return self._source.get_label_row(asked[0])
        # The plan may hold a row twice; request it once.
        return self._source.get_label_rows(list(dict.fromkeys(asked)))

    def _read(self, run: list[tuple[int, int]], rows: Sequence[Row], known: Known) -> Iterator[Span]:
        """Extract a group of consecutive rows (see `FoundRows.runs`); stop early if abandoned."""
        batch, begin = self._batch, 0
        wanted = takewhile(lambda _: not self.abandoned, ((rows[at], batch.rows[i]) for i, at in run))
        for count, outcome in self._extractor.extract_all(wanted, known):
            first, _ = run[begin]
            if isinstance(outcome, SkipRow):
                # Not the exception itself: its traceback would keep the bytes of the answer in memory.
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
