"""What the tests of the pool share: rows, their fake source, and a stand-in for the extractor."""

import random
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from harvester.errors import SkipRow
from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.fetch.source import LabelRows
from harvester.labels.extract import NOTHING_KNOWN, Extracted, Extractor, Known
from harvester.labels.records import Lines
from harvester.labels.wire import LabelRow, PlanRow, Row
from harvester.settings import Limits
from tests.fetch.virtual_loop import cpu_to_spare


def plan_row(name: str) -> PlanRow:
    return PlanRow(
        dataset_hash="d", data_title=f"title of {name}", label_hash=name, branch_name="main", data_hash="x"
    )


def plan(count: int, prefix: str = "row") -> list[PlanRow]:
    return [plan_row(f"{prefix}-{i:04}") for i in range(count)]


def label_rows(rows: Iterable[PlanRow], size: int = 100) -> dict[str, bytes]:
    """The JSON of each row, by label hash."""
    return {
        row.label_hash: msgspec.json.encode({"label_hash": row.label_hash, "pad": "." * size})
        for row in rows
        if row.label_hash
    }


class Copying(Extractor):
    """An extractor whose lines are the rows as they came. A row that says so cannot be read."""

    def __init__(self) -> None:
        pass

    def extract(self, row: Row, planned: PlanRow, known: Known = NOTHING_KNOWN) -> Extracted:
        assert not isinstance(row, LabelRow)
        data = bytes(memoryview(row))
        if b"unreadable" in data:
            raise SkipRow("the row cannot be read", row=planned.label_hash)
        return _copied([data + b"\n"])

    def extract_all(
        self, rows: Iterable[tuple[Row, PlanRow]], known: Known = NOTHING_KNOWN
    ) -> Iterator[tuple[int, Extracted | SkipRow]]:
        together: list[bytes] = []
        for row, planned in rows:
            try:
                together.append(bytes(self.extract(row, planned).lines["objects"]))
            except SkipRow as error:
                if together:
                    yield len(together), _copied(together)
                yield 1, error
                together = []
        if together:
            yield len(together), _copied(together)


def _copied(lines: list[bytes]) -> Extracted:
    kind, count = "objects", len(lines)
    size = sum(map(len, lines))
    return Extracted(
        lines={kind: Lines(size, lines, size)},
        rows={kind: count}, seen={kind: count}, written={kind: count}, dropped={kind: {}},
    )  # fmt: skip


COPYING = Copying()


class Heard:
    """Keeps events as they are told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, fields: Any) -> None:
        self.events.append((event, dict(fields)))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]


def a_pool(source: LabelRows, **options: Any) -> Pool:
    """A pool over `source`, always with the same luck; options are fields of Limits, or arguments of Pool."""
    own = {name: options.pop(name) for name in ("on_event", "rng", "request_deadline") if name in options}
    own.setdefault("rng", random.Random(0))
    counters = options.pop("counters", None) or Counters()
    with cpu_to_spare():
        return Pool(source, Limits(**options), counters=counters, **own)


async def collect(
    pool: Pool, rows: Iterable[PlanRow] | AsyncIterable[PlanRow], extractor: Extractor = COPYING
) -> list[tuple[str | None, bytes | FailedRow]]:
    """All of a stream: each row's label hash with its line or its failure."""
    found: list[tuple[str | None, bytes | FailedRow]] = []
    async with aclosing(pool.stream(rows, extractor)) as outcomes:
        async for some, outcome in outcomes:
            each = [outcome] if isinstance(outcome, FailedRow) else outcome.lines["objects"].chunks
            found += [(row.label_hash, one) for row, one in zip(some, each, strict=True)]
    return found


def whole(rows: Iterable[PlanRow], source_rows: dict[str, bytes]) -> list[tuple[str | None, bytes]]:
    """What `collect` returns where every row is harvested."""
    return [(row.label_hash, source_rows[row.label_hash or ""] + b"\n") for row in rows]
