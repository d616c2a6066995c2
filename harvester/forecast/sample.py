"""Looking at a sample of label rows: asked for as an export would, measured, and kept nowhere."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from statistics import fmean
from typing import Any

import msgspec

from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.forecast.rehearsal import Server
from harvester.labels.extract import NOTHING_KNOWN, Harvest, Known, RowByRow
from harvester.labels.records import Lines
from harvester.labels.wire import LabelRow, PlanRow, Row
from harvester.output.compression import compressor
from harvester.settings import Compression, Format


class Look(msgspec.Struct, frozen=True):
    """What one label row came to: bytes as sent, bytes of lines by kind, and what became of its records.

    A row that cannot be had has none of it.
    """

    body: int = 0
    lines: dict[str, int] = {}
    seen: dict[str, int] = {}
    written: dict[str, int] = {}
    dropped: dict[str, dict[str, int]] = {}
    failed: bool = False


class Sample(msgspec.Struct):
    """The looks by label hash, what the requests took, and how the server answered.

    `packed` is what a byte of lines takes in a file, by kind: 1 where parts are not compressed.
    """

    looks: dict[str, Look]
    packed: dict[str, float]
    counters: Counters
    server: Server


class Weigher(RowByRow):
    """An extractor that notes how much each row weighs as sent."""

    weights: dict[str, int]

    def extract(self, row: Row, planned: PlanRow, known: Known = NOTHING_KNOWN) -> Harvest:
        assert not isinstance(row, LabelRow)  # rows are asked for as sent
        self.weights[planned.label_hash or ""] = memoryview(row).nbytes
        return super().extract(row, planned, known)


class CallTimes:
    """Notes what each call of a pool took, in seconds, and the bytes of its answer. Hands all events on."""

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
    """Asks for `rows` through `pool`, which counts in `counters` and tells its events to `times`.

    Raises what `Pool.stream` raises.
    """
    looks: dict[str, Look] = {}
    packing: dict[str, _Packing] = {kind: _Packing(format.compress) for kind in format.kinds}

    async with pool, aclosing(pool.stream(rows, extractor)) as outcomes:
        async for (row,), outcome in outcomes:
            label_hash = row.label_hash or ""
            looks[label_hash] = _look(outcome, extractor.weights.get(label_hash, 0))
            if isinstance(outcome, Harvest):
                counters.harvested += 1
                for kind, file in packing.items():
                    file.add(outcome.lines[kind])
    latency, per_byte = straight_line(times.calls)
    rate = pool.pacer.rate if counters.refused else None
    packed = {kind: file.ratio() for kind, file in packing.items()}
    return Sample(looks, packed, counters, Server(latency, per_byte, rate))


class _Packing:
    """How much smaller lines become in a compressed file."""

    def __init__(self, compression: Compression | None) -> None:
        self._compressor = compressor(compression)
        self._before = self._after = 0

    def add(self, lines: Lines) -> None:
        self._before += lines.size
        self._after += sum(len(self._compressor.compress(chunk)) for chunk in lines.chunks)

    def ratio(self) -> float:
        return (self._after + len(self._compressor.flush())) / self._before if self._before else 1.0


def _look(outcome: Harvest | FailedRow, body: int) -> Look:
    if isinstance(outcome, FailedRow):
        return Look(failed=True)
    lines = {kind: lines.size for kind, lines in outcome.lines.items()}
    return Look(body, lines, outcome.seen, outcome.written, outcome.dropped)


def straight_line(calls: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Seconds for any call, and for each byte of its answer: least squares, neither of them negative."""
    if not calls:
        return 0.0, 0.0
    mean_took, mean_bytes = fmean(took for took, _ in calls), fmean(size for _, size in calls)
    spread = sum((size - mean_bytes) ** 2 for _, size in calls)
    together = sum((took - mean_took) * (size - mean_bytes) for took, size in calls)
    per_byte = max(0.0, together / spread) if spread else 0.0
    per_byte = min(per_byte, mean_took / mean_bytes) if mean_bytes else 0.0
    return mean_took - per_byte * mean_bytes, per_byte
