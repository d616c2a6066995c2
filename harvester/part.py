"""Harvest ONE part: fetch -> read -> choose -> keep. The unit of work of every engine."""

from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing
from typing import Protocol

import msgspec

from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.labels.extract import Extractor, Harvest
from harvester.labels.wire import PlanRow


class Keep(Protocol):
    """Where a part's lines go. Blocking, and quick: writes are buffered."""

    def write(self, kind: str, lines: bytes, records: int) -> None: ...

    def fail(self, row: FailedRow) -> None: ...


class KindCounts(msgspec.Struct):
    """What became of the records of one kind: `seen` = `written` + all that filters `dropped`."""

    seen: int = 0
    written: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)


class Tally(msgspec.Struct):
    """What became of the rows that were asked for, and of their records by kind."""

    harvested: int = 0
    failed: int = 0
    records: dict[str, KindCounts] = msgspec.field(default_factory=dict)

    def add(self, harvest: Harvest) -> None:
        """Counts one harvested row."""
        self.harvested += 1
        for kind, seen in harvest.seen.items():
            counts = self.records.setdefault(kind, KindCounts())
            counts.seen += seen
            counts.written += harvest.written[kind]
            for name, dropped in harvest.dropped[kind].items():
                counts.dropped[name] = counts.dropped.get(name, 0) + dropped


async def harvest_rows(
    rows: Iterable[PlanRow] | AsyncIterable[PlanRow],
    *,
    pool: Pool,
    extractor: Extractor,
    keep: Keep,
    counters: Counters,
) -> Tally:
    """Asks for `rows`, reads and chooses their records, and keeps them in the order of `rows`.

    A row that fails is kept as failed, and its neighbours go on. An error that concerns more than its
    row (see `harvester.errors.Stop`) is raised.
    """
    tally = Tally()
    async with aclosing(pool.stream(rows, extractor)) as outcomes:
        async for _, outcome in outcomes:
            if isinstance(outcome, FailedRow):
                tally.failed += 1
                counters.failed += 1
                keep.fail(outcome)
                continue
            tally.add(outcome)
            counters.harvested += 1
            for kind, lines in outcome.lines.items():
                if lines:
                    keep.write(kind, lines, outcome.written[kind])
                    counters.out_bytes += len(lines)
                    setattr(counters, kind, getattr(counters, kind) + outcome.written[kind])
    return tally
