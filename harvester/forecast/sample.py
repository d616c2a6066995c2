"""A random sample of label rows: fetched as in an export, measured, and not kept."""

import math
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.forecast.course import CallCost, cost_of
from harvester.labels.extract import NOTHING_KNOWN, Extracted, Known, RowByRow
from harvester.labels.locations import FRAME_TYPES
from harvester.labels.records import Lines
from harvester.labels.wire import LabelRow, PlanRow, Row
from harvester.output.compression import compressor
from harvester.settings import Compression, Format

# The least sample of a stratum that has so many rows: fewer tell nothing about its variance.
_LEAST = 4


class Stratum(msgspec.Struct):
    """A stratum: a group of similar rows, with its size and the rows drawn from it."""

    rows: int = 0
    drawn: list[PlanRow] = msgspec.field(default_factory=list)


class Draw:
    """Draws about `size` rows from a listing while it is read. The same seed and listing give the same rows.

    Rows are of one stratum where their data type and the order of magnitude of their number of frames
    agree: a video of an hour is no picture. Memory: `size` rows a stratum.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._rng = random.Random(seed)
        self._strata: dict[tuple[str, int], Stratum] = {}

    def add(self, row: PlanRow, frames: object) -> None:
        """Consider a row that would be fetched. `frames` is its listed number of frames."""
        data_type = row.data_type.lower()
        long = data_type in FRAME_TYPES and isinstance(frames, int | float) and frames >= 1
        stratum = self._strata.setdefault((data_type, int(math.log10(frames)) if long else 0), Stratum())  # type: ignore[arg-type]
        stratum.rows += 1
        if len(stratum.drawn) < self._size:
            stratum.drawn.append(row)
        elif (place := self._rng.randrange(stratum.rows)) < self._size:
            stratum.drawn[place] = row

    def strata(self) -> list[Stratum]:
        """Return the strata with their drawn rows: in proportion to their sizes, but at least a few."""
        strata = [self._strata[key] for key in sorted(self._strata)]
        listed = sum(stratum.rows for stratum in strata)
        least = min(_LEAST, self._size // len(strata)) if strata else 0
        for stratum in strata:
            share = math.ceil(self._size * stratum.rows / listed)
            self._rng.shuffle(stratum.drawn)
            del stratum.drawn[max(2, least, share) :]
        return strata


class Look(msgspec.Struct, frozen=True):
    """The measures of one label row: bytes as sent, bytes of lines by kind, and its records by fate.

    A row that cannot be fetched has none of it.
    """

    body: int = 0
    lines: dict[str, int] = {}
    seen: dict[str, int] = {}
    written: dict[str, int] = {}
    dropped: dict[str, dict[str, int]] = {}
    failed: bool = False


class Sample(msgspec.Struct):
    """The measures by label hash, the durations of the requests, and the counters of the server's answers.

    `packed` is what a byte of lines takes in a file, by kind: 1 where parts are not compressed. `rate` is how
    many requests a second the server takes, None where it refused none.
    """

    looks: dict[str, Look]
    packed: dict[str, float]
    counters: Counters
    calls: CallCost
    rate: float | None


class Weigher(RowByRow):
    """An extractor that records the size of each row as sent."""

    weights: dict[str, int]

    def extract(self, row: Row, planned: PlanRow, known: Known = NOTHING_KNOWN) -> Extracted:
        assert not isinstance(row, LabelRow)  # the source gives raw rows
        self.weights[planned.label_hash or ""] = memoryview(row).nbytes
        return super().extract(row, planned, known)


class CallTimes:
    """Records the seconds and answer bytes of each call of a pool. Passes all events on."""

    def __init__(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        self.calls: list[tuple[float, int]] = []
        self._on_event = on_event

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "request.answered":
            self.calls.append((fields["seconds"], fields["body_bytes"]))
        self._on_event(event, fields)


async def look_at(
    rows: list[PlanRow],
    pool: Pool,
    extractor: Weigher,
    format: Format,
    *,
    counters: Counters,
    times: CallTimes,
) -> Sample:
    """Fetch `rows` through `pool`, which counts in `counters` and sends its events to `times`.

    Raises what `Pool.stream` raises.
    """
    looks: dict[str, Look] = {}
    packing: dict[str, _Packing] = {kind: _Packing(format.compress) for kind in format.kinds}

    async with pool, aclosing(pool.stream(rows, extractor)) as outcomes:
        async for (row,), outcome in outcomes:
            label_hash = row.label_hash or ""
            looks[label_hash] = _look(outcome, extractor.weights.get(label_hash, 0))
            if isinstance(outcome, Extracted):
                for kind, file in packing.items():
                    file.add(outcome.lines[kind])
    packed = {kind: file.ratio() for kind, file in packing.items()}
    rate = pool.controller.rate if counters.refused else None
    return Sample(looks, packed, counters, cost_of(times.calls), rate)


class _Packing:
    """Return the compression ratio of lines in a file."""

    def __init__(self, compression: Compression | None) -> None:
        self._compressor = compressor(compression)
        self._before = self._after = 0

    def add(self, lines: Lines) -> None:
        self._before += lines.size
        self._after += sum(len(self._compressor.compress(chunk)) for chunk in lines.chunks)

    def ratio(self) -> float:
        return (self._after + len(self._compressor.flush())) / self._before if self._before else 1.0


def _look(outcome: Extracted | FailedRow, body: int) -> Look:
    if isinstance(outcome, FailedRow):
        return Look(failed=True)
    lines = {kind: lines.size for kind, lines in outcome.lines.items()}
    return Look(body, lines, outcome.seen, outcome.written, outcome.dropped)
