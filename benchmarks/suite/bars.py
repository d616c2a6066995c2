"""The bars that an export is held to, each with what was measured. Pure."""

import math
from collections.abc import Callable, Mapping

import msgspec

from benchmarks.suite.results import Figure, RunResult, ScenarioResult


class Bar(msgspec.Struct, frozen=True):
    """One promise: `value` is to be at most, or at least, `bar`."""

    what: str
    value: float
    bar: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def bars(scenarios: list[ScenarioResult]) -> list[Bar]:
    """The bars of the scenarios that ran."""
    by_name = {scenario.name: scenario for scenario in scenarios}
    return [bar for name, of in _BARS.items() if name in by_name for bar in of(by_name[name])]


def _singles(found: ScenarioResult) -> list[Bar]:
    return [
        Bar("client CPU a row, one row a request", _cpu(found.ours), 1.5, "ms"),
        *_below(found, "threads", 20),
    ]


def _bundles(found: ScenarioResult) -> list[Bar]:
    return [
        Bar("client CPU a row, a hundred rows a request", _cpu(found.ours), 0.15, "ms"),
        *_below(found, "threads_of_chunks", 10),
        *_below(found, "platform_export", 40),
    ]


def _latency(found: ScenarioResult) -> list[Bar]:
    possible = min(64 / found.latency, found.served or math.inf)
    share = _median(found.ours.rows_per_s) / possible * 100
    what = f"of the {possible:.0f} rows/s that the server has for 64 in flight at 150 ms"
    return [Bar(what, share, 95, "%", at_least=True)]


def _limit(found: ScenarioResult) -> list[Bar]:
    used, refused = found.ours.limit_used or 0.0, found.ours.refused_share or 0.0
    told = {"limit": "limit", "retry-after": "limit with Retry-After", "capacity": "changing limit"}[
        found.name
    ]
    least = 95 if found.capacity else 97
    return [
        Bar(f"{told} used", used * 100, least, "%", at_least=True),
        Bar(f"{told}, requests refused", refused * 100, 1, "%"),
    ]


def _memory(found: ScenarioResult) -> list[Bar]:
    few, many = (_median(run.peak_mb) for run in found.runs)
    return [Bar("peak memory, growth from 10,000 to 300,000 rows", many - few, 60, "MB")]


def _listing(found: ScenarioResult) -> list[Bar]:
    return [Bar("peak memory, a million rows listed", _median(found.ours.peak_mb), 700, "MB")]


def _giant(found: ScenarioResult) -> list[Bar]:
    return [Bar("peak memory, one row of 200 MB", _median(found.ours.peak_mb), 1.5 * 200 + 150, "MB")]


def _processes(found: ScenarioResult) -> list[Bar]:
    one, two = (_median(run.seconds) for run in found.runs)
    return [
        Bar("speed of two processes against one", one / two if two else 0.0, 1, "x", at_least=True),
        Bar("two processes write the same bytes", float(bool(found.same_bytes)), 1, "", at_least=True),
    ]


def _coco(found: ScenarioResult) -> list[Bar]:
    few, many = (run for run in found.runs if run.tool == "convert")
    growth = _median(many.peak_mb) - _median(few.peak_mb)
    peer = _peer(found, "platform_coco")
    below = []
    if peer is not None and peer.records and few.records and many.records and many.records > few.records:
        # What start-up takes varies by more than 1,000 images do: ours is what further images take.
        own = (_cpu(many) * many.rows - _cpu(few) * few.rows) / (many.records - few.records)
        ratio = _median(peer.own_cpu_ms_per_row) * peer.rows / peer.records / (own or 1.0)
        below = [Bar(f"CPU an annotation, less start-up, below {peer.name}", ratio, 10, "x", at_least=True)]
    return [*below, Bar("peak memory of COCO, growth from 1,000 to 10,000 images", growth, 30, "MB")]


def _bitmasks(found: ScenarioResult) -> list[Bar]:
    return [Bar("CPU a bitmask of 1920 x 1080", _median(found.ours.own_cpu_us_per_record) / 1000, 2, "ms")]


def _parquet(found: ScenarioResult) -> list[Bar]:
    few, many = (run for run in found.runs if run.tool == "convert")
    copy, zstd = _peer(found, "copy"), _peer(found, "zstd")
    against = []
    if copy is not None:
        times = _median(few.own_cpu_us_per_record) / (_median(copy.own_cpu_us_per_record) or 1.0)
        against.append(Bar(f"Parquet, CPU an object against {copy.name}", times, 1.5, "x"))
    if zstd is not None:
        against.append(
            Bar(
                "Parquet, size against NDJSON.zst", (few.written_mb or 0) / (zstd.written_mb or 1.0), 1.2, "x"
            )
        )
    return [
        *against,
        Bar("Parquet, peak memory", _median(few.peak_mb), 200, "MB"),
        Bar("Parquet, peak memory at ten times the input", _median(many.peak_mb), 200, "MB"),
    ]


def _compaction(found: ScenarioResult) -> list[Bar]:
    after, new = (_peer(found, tool) for tool in ("read_compacted", "read_new"))
    times = _cpu(after) / (_cpu(new) or 1.0) if after and new else 0.0
    return [Bar("live reading after compaction against a new export", times, 1.1, "x")]


def _media(found: ScenarioResult) -> list[Bar]:
    ours, peer, bytes_only = found.ours, _peer(found, "aria2c"), _peer(found, "urllib3")
    against = []
    if peer is not None:
        speed = _median(ours.mb_per_s) / (_median(peer.mb_per_s) or 1.0)
        against.append(Bar(f"media, speed against {peer.name}", speed, 0.9, "x", at_least=True))
    if bytes_only is not None:
        beyond = _median(ours.own_cpu_ms_per_row) - _median(bytes_only.own_cpu_ms_per_row)
        against.append(Bar("media, CPU a file beyond that of urllib3", beyond, 3, "ms"))
    return [*against, Bar("media, peak memory", _median(ours.peak_mb), 200, "MB")]


_BARS: Mapping[str, Callable[[ScenarioResult], list[Bar]]] = {
    "singles": _singles,
    "bundles": _bundles,
    "latency": _latency,
    "limit": _limit,
    "retry-after": _limit,
    "capacity": _limit,
    "memory": _memory,
    "listing": _listing,
    "giant": _giant,
    "processes": _processes,
    "coco": _coco,
    "bitmasks": _bitmasks,
    "parquet": _parquet,
    "compaction": _compaction,
    "media": _media,
}


def _below(found: ScenarioResult, tool: str, times: float) -> list[Bar]:
    peer = _peer(found, tool)
    if peer is None:
        return []
    ratio = _cpu(peer) / (_cpu(found.ours) or 1.0)
    return [Bar(f"CPU a row below {peer.name}", ratio, times, "x", at_least=True)]


def _peer(found: ScenarioResult, tool: str) -> RunResult | None:
    """Return a tool's run, None if it failed or has not run."""
    return next((run for run in found.runs if run.tool == tool and run.cpu_ms_per_row), None)


def _cpu(run: RunResult) -> float:
    return _median(run.cpu_ms_per_row)


def _median(figure: Figure | None) -> float:
    return figure.median if figure else 0.0
