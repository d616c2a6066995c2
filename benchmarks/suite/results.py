"""What came of it: medians and spreads, and the figures that follow from them. Pure."""

import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from benchmarks.suite.measure import Measured, RequestSample
from benchmarks.suite.scenarios import Scenario, ToolRun, is_ours
from harvester.simulator import Faults

_LONG_ENOUGH = 5.0  # seconds; sooner, a burst counts for more than the rate


class Figure(msgspec.Struct, frozen=True):
    """The median of repeated measurements, and how far apart they lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(statistics.median(values), min(values), max(values))

    @property
    def spread(self) -> float:
        """Half of the way from the lowest to the highest, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one command over all its repeats.

    Attributes:
        rows: label rows that the project has; `fetched` of them came.
        mb_per_s: of label JSON, uncompressed; of what is not an export, of files written.
        cpu_ms_per_row: of the whole process; `own_cpu_ms_per_row` without what the same takes for one row.
        requests, refused: in one run, the median.
        limit_used: share of the server's rate limit, from the first to the last label row request.
        samples: of the last repeat.
        failed: why the command did not do its work; all figures are None then.
    """

    name: str
    tool: str
    arguments: tuple[str, ...]
    rows: int
    repeats: int = 0
    fetched: int | None = None
    records: int | None = None
    seconds: Figure | None = None
    rows_per_s: Figure | None = None
    records_per_s: Figure | None = None
    mb_per_s: Figure | None = None
    cpu_ms_per_row: Figure | None = None
    own_cpu_ms_per_row: Figure | None = None
    own_cpu_us_per_record: Figure | None = None
    peak_mb: Figure | None = None
    written_mb: float | None = None
    requests: float | None = None
    refused: float | None = None
    refused_share: float | None = None
    limit_used: float | None = None
    samples: list[RequestSample] = []
    failed: str | None = None


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one scenario.

    Attributes:
        served: rows a second that the simulator has for connections that do nothing with them; None where
            that was not asked.
        same_bytes: whether all wrote the same; None where that is no question.
    """

    name: str
    title: str
    latency: float
    rate: float | None
    capacity: tuple[tuple[float, float], ...]
    runs: list[RunResult]
    served: float | None = None
    same_bytes: bool | None = None

    @property
    def ours(self) -> RunResult:
        return next(run for run in self.runs if is_ours(run.tool))


class SuiteReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run of the suite found.

    `startup_cpu_seconds`: what one row takes, by `ToolRun.work`.
    """

    command: str
    quick: bool
    machine: dict[str, Any]
    startup_cpu_seconds: dict[str, Figure]
    scenarios: list[ScenarioResult]


def summed_up(
    scenario: Scenario,
    measured: dict[ToolRun, list[Measured]],
    failed: dict[ToolRun, str],
    startup: dict[str, Figure],
    served: float | None = None,
) -> ScenarioResult:
    """The figures of a scenario, from its measurements; a run without one stands in `failed`."""
    # The peers do not know how much JSON they got: as much a row as ours did.
    told = [m for many in measured.values() for m in many if m.json_bytes and m.rows]
    row_bytes = statistics.median(m.json_bytes / m.rows for m in told if m.json_bytes) if told else 0.0
    digests = {m.digest for many in measured.values() for m in many if m.digest}
    return ScenarioResult(
        name=scenario.name,
        title=scenario.title,
        latency=scenario.faults.latency,
        rate=scenario.faults.rate,
        capacity=scenario.faults.capacity,
        runs=[
            _result(run, measured[run], startup.get(run.work), row_bytes, scenario)
            if run in measured
            else _head(run, failed=failed[run])
            for run in scenario.runs
        ],
        served=served,
        same_bytes=len(digests) == 1 if scenario.same_bytes else None,
    )


def _head(run: ToolRun, **more: Any) -> RunResult:
    return RunResult(name=run.name, tool=run.tool, arguments=run.arguments, rows=run.rows, **more)


def _result(
    run: ToolRun, repeats: list[Measured], startup: Figure | None, row_bytes: float, scenario: Scenario
) -> RunResult:
    def figure(value: Callable[[Measured], float]) -> Figure:
        return Figure.of([value(one) for one in repeats])

    idle = startup.median if startup else 0.0
    asked = statistics.median(one.requests for one in repeats)
    refused = statistics.median(one.refused for one in repeats)
    used = [used for one in repeats if (used := limit_used(one.samples, scenario.faults)) is not None]
    return _head(
        run,
        repeats=len(repeats),
        fetched=repeats[-1].rows,
        records=repeats[-1].records,
        seconds=figure(lambda one: one.seconds),
        rows_per_s=figure(lambda one: run.rows / one.seconds),
        records_per_s=figure(lambda one: one.records / one.seconds),
        mb_per_s=figure(
            lambda one: (one.json_bytes or one.written_bytes or row_bytes * one.rows) / one.seconds / 1e6
        ),
        cpu_ms_per_row=figure(lambda one: one.cpu_seconds / run.rows * 1000),
        own_cpu_ms_per_row=figure(lambda one: max(0.0, one.cpu_seconds - idle) / run.rows * 1000),
        own_cpu_us_per_record=figure(
            lambda one: max(0.0, one.cpu_seconds - idle) / (one.records or run.rows) * 1e6
        ),
        peak_mb=figure(lambda one: one.peak_bytes / 1e6),
        written_mb=(repeats[-1].written_bytes or 0) / 1e6 or None,
        requests=asked,
        refused=refused,
        refused_share=refused / asked if asked else 0.0,
        limit_used=statistics.median(used) if used else None,
        samples=repeats[-1].samples,
    )


def limit_used(samples: list[RequestSample], faults: Faults) -> float | None:
    """Requests that were admitted, as a share of what the rate allows, while there was something to ask.

    None where that was not for long enough to say.
    """
    begun = [sample for sample in samples if sample.asked]
    if not begun or faults.rate is None:
        return None
    last = next(sample for sample in begun if sample.asked == begun[-1].asked)
    first = begun[0]
    if last.at - first.at < _LONG_ENOUGH:
        return None
    allowed = sum(
        faults.rate * _share(faults, (a.at + b.at) / 2) * (b.at - a.at)
        for a, b in pairwise(begun)
        if b.at <= last.at
    )
    admitted = last.asked - last.refused - (first.asked - first.refused)
    return admitted / allowed


def _share(faults: Faults, at: float) -> float:
    return next((share for since, share in reversed(faults.capacity) if since <= at), 1.0)
