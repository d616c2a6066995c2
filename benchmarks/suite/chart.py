"""The figures as a picture: what a row costs, how fast it goes, how the limit was followed, memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.suite.measure import RequestSample
from benchmarks.suite.results import Figure, RunResult, ScenarioResult, SuiteReport
from benchmarks.suite.scenarios import is_ours
from benchmarks.suite.table import machine_line, milliseconds, short
from harvester.errors import BadInput, how_to_install

_OURS, _PEER, _INK, _FAINT, _GRID = "#0f766e", "#b8bec7", "#1f2933", "#6b7280", "#e5e7eb"
_LIMIT, _REFUSED = "#9ca3af", "#dc2626"
_WINDOW = 1.0  # seconds over which requests are counted
# Inches: the picture and the bars of a panel across; a row of panels, the titles in it, the last line down.
_WIDTH, _PANEL = 13.0, 4.05
_HEIGHT, _HEAD, _FOOT = 3.5, 0.85, 0.35
_LINES = ("limit", "retry-after", "capacity")
QUICK = "quick run: a few rows each, which shows that it runs and not how fast"
_MEMORY = ("memory", "listing", "giant")

Panel = Callable[[Any], None]


def draw(report: SuiteReport, path: Path) -> None:
    """Write a PNG or an SVG, by the suffix of `path`. Raises BadInput where matplotlib is missing."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise BadInput(f"matplotlib is missing: {how_to_install('charts')}") from error
    from matplotlib.figure import Figure as Picture

    panels = _panels(report)
    rows = max(1, (len(panels) + 1) // 2)
    style: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",  # text stays text
        "text.color": _INK,
        "axes.labelcolor": _FAINT,
        "xtick.color": _FAINT,
        "ytick.color": _INK,
        "axes.edgecolor": _GRID,
    }
    with matplotlib.rc_context(style):
        height = _HEIGHT * rows + _FOOT
        picture = Picture(figsize=(_WIDTH, height), dpi=144)
        # Inches, as shares of the picture: every panel is as large, however many there are.
        picture.subplots_adjust(
            left=2.1 / _WIDTH,
            right=1 - 0.4 / _WIDTH,
            top=1 - _HEAD / height,
            bottom=(_FOOT + 0.35) / height,
            wspace=2.4 / _PANEL,
            hspace=(_HEAD + 0.35) / (_HEIGHT - _HEAD - 0.35),
        )
        axes = picture.subplots(rows, 2, squeeze=False).flatten()
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes, panels, strict=False):
            panel(axis)
        about = str(machine_line(report.machine))
        picture.text(0.35 / _WIDTH, 0.2 / height, about, color=_FAINT, fontsize=8)
        if report.quick:
            picture.text(1 - 0.4 / _WIDTH, 0.2 / height, QUICK, color=_REFUSED, fontsize=8, ha="right")
        picture.savefig(path, facecolor="white")


def _panels(report: SuiteReport) -> list[Panel]:
    by_name = {scenario.name: scenario for scenario in report.scenarios}
    panels: list[Panel] = []
    for name in ("singles", "bundles", "latency"):
        if (found := by_name.get(name)) is not None:
            panels.append(_speed(found) if found.latency else _cost(found))
    panels += [_follow(by_name[name]) for name in _LINES if name in by_name]
    sized = [by_name[name] for name in _MEMORY if name in by_name]
    if sized:
        panels.append(_peaks(sized))
    panels += [_speed(by_name[name]) for name in ("processes", "filters") if name in by_name]
    panels += [_made(by_name[name], *how) for name, how in _DATA_SETS.items() if name in by_name]
    return panels


def _cost(scenario: ScenarioResult) -> Panel:
    """Client CPU a row, and how many times ours."""
    base = scenario.ours.cpu_ms_per_row

    def said(value: float) -> str:
        times = value / base.median if base and base.median else 1.0
        return milliseconds(value) + (f"   {times:,.0f}×" if times >= 1.5 else "")

    bars = [(run.name, run.cpu_ms_per_row, is_ours(run.tool)) for run in scenario.runs]
    return lambda axis: _bars(axis, "Client CPU a row", scenario.title, bars, said)


def _speed(scenario: ScenarioResult) -> Panel:
    alone = all(is_ours(run.tool) for run in scenario.runs)
    bars = [
        (run.name.partition(", ")[2] if alone else run.name, run.rows_per_s, is_ours(run.tool))
        for run in scenario.runs
    ]
    return lambda axis: _bars(axis, "Rows a second", scenario.title, bars, short)


def _made(scenario: ScenarioResult, what: str, of: Callable[[RunResult], Figure | None], unit: str) -> Panel:
    made, _, about = scenario.title.partition(": ")
    bars = [(run.name, of(run), is_ours(run.tool)) for run in scenario.runs if run.tool != "zstd"]
    return lambda axis: _bars(axis, f"{made}: {what}", about, bars, lambda value: f"{short(value)} {unit}")


def _cpu_seconds(run: RunResult) -> Figure | None:
    found = run.cpu_ms_per_row
    return found and Figure(*(value * run.rows / 1000 for value in (found.median, found.low, found.high)))


_AN_OBJECT = ("CPU an object, less start-up", lambda run: run.own_cpu_us_per_record, "µs")
# Scenarios of what is made of exports, in a picture of their own: title, figure and unit of their panels.
_DATA_SETS: Mapping[str, tuple[str, Callable[[RunResult], Figure | None], str]] = {
    "coco": _AN_OBJECT,
    "bitmasks": _AN_OBJECT,
    "yolo": _AN_OBJECT,
    "masks": _AN_OBJECT,
    "parquet": _AN_OBJECT,
    "compaction": ("CPU of the whole process", _cpu_seconds, "s"),
    "media": ("MB a second", lambda run: run.mb_per_s, "MB/s"),
}


def draw_all(report: SuiteReport, directory: Path) -> None:
    """Write ``bench.png`` of the exports, ``datasets.png`` of what is made of them. Raises as `draw` does."""
    for name, wanted in (("bench.png", False), ("datasets.png", True)):
        scenarios = [one for one in report.scenarios if (one.name in _DATA_SETS) is wanted]
        if scenarios:
            draw(msgspec.structs.replace(report, scenarios=scenarios), directory / name)


def _peaks(scenarios: list[ScenarioResult]) -> Panel:
    bars = [
        (_sized(scenario, run), run.peak_mb, is_ours(run.tool))
        for scenario in scenarios
        for run in scenario.runs
    ]
    return lambda axis: _bars(
        axis, "Peak memory", "Of the whole process", bars, lambda value: f"{value:,.0f} MB"
    )


def _sized(scenario: ScenarioResult, run: RunResult) -> str:
    what = {"listing": "1,000,000 rows listed", "giant": "one row of 200 MB"}.get(scenario.name)
    return f"{run.name.partition(',')[0]}, {what}" if what else run.name


def _bars(
    axis: Any,
    title: str,
    about: str,
    bars: list[tuple[str, Figure | None, bool]],
    said: Callable[[float], str],
) -> None:
    """Horizontal bars with their values, the first on top."""
    shown = [(name, figure, ours) for name, figure, ours in bars if figure]
    values = [figure.median for _, figure, _ in shown]
    places = range(len(shown))
    axis.barh(places, values, height=0.62, color=[_OURS if ours else _PEER for *_, ours in shown])
    _head(axis, title, about)
    axis.set_yticks(places, [name.replace(", ", "\n") if len(shown) < 6 else name for name, *_ in shown])
    axis.invert_yaxis()
    axis.set_ylim(max(2.6, len(shown) - 0.4), -0.6)
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    if values:
        axis.set_xlim(0, max(values) * 1.35)
    for place, (_, figure, ours) in zip(places, shown, strict=True):
        axis.annotate(
            said(figure.median),
            (figure.median, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=_OURS if ours else _INK,
            fontweight="bold" if ours else "normal",
        )


def _follow(scenario: ScenarioResult) -> Panel:
    """Requests a second against the server's limit, all along."""
    samples = scenario.ours.samples

    def panel(axis: Any) -> None:
        used, refused = scenario.ours.limit_used or 0.0, scenario.ours.refused_share or 0.0
        _head(axis, f"{used:.1%} of the limit used, {refused:.2%} refused", scenario.title)
        if len(samples) < 2 or scenario.rate is None:
            return
        end = samples[-1].at
        times = [0.0, *(at for at, _ in scenario.capacity if at < end), end]
        shares = [1.0, *(share for at, share in scenario.capacity if at < end)]
        limits = [scenario.rate * share for share in [*shares, shares[-1]]]
        axis.step(times, limits, where="post", color=_LIMIT, linewidth=1.2, linestyle=(0, (4, 2)))
        axis.plot(*_per_second(samples, lambda s: s.asked - s.refused), color=_OURS, linewidth=1.8)
        axis.plot(*_per_second(samples, lambda s: s.refused), color=_REFUSED, linewidth=1.4)
        axis.set_ylim(0, scenario.rate * 1.5)
        axis.set_xlim(0, end)
        axis.set_xlabel("seconds")
        axis.tick_params(length=0, labelcolor=_FAINT)
        axis.grid(axis="y", color=_GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        handles = axis.get_lines()
        axis.legend(
            handles, ("limit", "admitted a second", "refused a second"),
            loc="upper right", ncols=3, facecolor="white", edgecolor="white", framealpha=1,
            labelcolor=_FAINT, fontsize=8,
        )  # fmt: skip

    return panel


def _per_second(
    samples: list[RequestSample], count: Callable[[RequestSample], int]
) -> tuple[list[float], list[float]]:
    """A rate over the last second at each sample."""
    times, rates, since = [], [], 0
    for place, sample in enumerate(samples):
        while sample.at - samples[since].at > _WINDOW:
            since += 1
        took = sample.at - samples[since].at
        if place and took:
            times.append(sample.at)
            rates.append((count(sample) - count(samples[since])) / took)
    return times, rates


def _head(axis: Any, title: str, about: str) -> None:
    axis.set_title(about, loc="left", fontsize=9, color=_FAINT, pad=10)
    axis.annotate(
        title, (0, 1), xycoords="axes fraction", xytext=(0, 24), textcoords="offset points",
        fontsize=12, fontweight="bold", color=_INK, annotation_clip=False,
    )  # fmt: skip
