"""The figures as tables for a terminal."""

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.suite.bars import Bar
from benchmarks.suite.results import Figure, RunResult, ScenarioResult, SuiteReport
from benchmarks.suite.scenarios import is_ours

_COLUMNS = (
    "",
    "rows",
    "rows/s",
    "MB/s",
    "CPU a row",
    "± ",
    "own",
    "a record",
    "×",
    "peak",
    "requests",
    "refused",
    "limit",
)


def report_table(report: SuiteReport, found: list[Bar]) -> RenderableType:
    """Every scenario with its runs, then the bars, then what it was measured on."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    for scenario in report.scenarios:
        table.add_row(Text(scenario.title, style="bold"))
        for run in scenario.runs:
            table.add_row(*_cells(run, scenario))
        table.add_section()
    parts: list[RenderableType] = [table, _legend(report)]
    if not report.quick:
        parts += ["", bars_table(found)]
    return Group(*parts, "", machine_line(report.machine))


def _cells(run: RunResult, scenario: ScenarioResult) -> list[Text | str]:
    ours = is_ours(run.tool)
    name = Text(f"  {run.name}", style="green" if ours else "")
    if run.failed is not None:
        return [name, f"{run.rows:,}", Text("failed", style="red")]
    cpu, base = _median(run.cpu_ms_per_row), _median(scenario.ours.cpu_ms_per_row)
    refused = f"{run.refused:,.0f}" if run.refused else "-"
    spread = f"{run.cpu_ms_per_row.spread:.0%}" if run.cpu_ms_per_row and run.repeats > 1 else ""
    return [
        name,
        f"{run.rows:,}",
        short(_median(run.rows_per_s)),
        short(_median(run.mb_per_s)),
        Text(milliseconds(cpu), style="bold green" if ours else "bold"),
        Text(spread, style="dim"),
        Text(milliseconds(_median(run.own_cpu_ms_per_row)), style="dim"),
        Text(f"{_median(run.own_cpu_us_per_record):,.1f} µs", style="dim"),
        "" if ours else short(cpu / base) if base else "",
        f"{_median(run.peak_mb):,.0f} MB",
        f"{run.requests or 0:,.0f}",
        Text(refused, style="yellow" if run.refused else "dim"),
        "" if run.limit_used is None else f"{run.limit_used:.1%}",
    ]


def _legend(report: SuiteReport) -> RenderableType:
    lines = [
        "Medians. CPU a row: user and system time of the whole process; own: less that for a single row,",
        "also for a record; ×: times the first of ours. MB/s: label JSON, uncompressed, or files written.",
        "limit: share of the server's rate limit used.",
    ]
    served = [
        f"{scenario.name}: the simulator serves {scenario.served:,.0f} rows/s to bare connections."
        for scenario in report.scenarios
        if scenario.served is not None
    ]
    failed = [
        f"{run.name} failed in {scenario.name}: {run.failed}"
        for scenario in report.scenarios
        for run in scenario.runs
        if run.failed is not None
    ]
    return Text("\n".join(lines + served + failed), style="dim")


def bars_table(found: list[Bar]) -> RenderableType:
    """What was promised, what was measured, and whether it holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("bar")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for bar in found:
        sign = "≥" if bar.at_least else "≤"
        met = Text("met", style="green") if bar.met else Text("missed", style="bold red")
        table.add_row(
            bar.what, _with_unit(bar.value, bar.unit), f"{sign} {_with_unit(bar.bar, bar.unit)}", met
        )
    return table


def machine_line(machine: dict[str, Any]) -> Text:
    """One line: CPU, cores, memory, versions."""
    versions = machine["versions"]
    facts = (
        machine["cpu"],
        f"{machine['cores']} cores",
        f"{machine['memory_bytes'] / 1e9:.0f} GB",
        machine["system"],
        machine["python"],
        f"harvester {versions['harvester']}",
        f"encord {versions['encord']}",
        f"load {machine['load']:.1f}",
    )
    return Text(" · ".join(facts), style="dim")


def milliseconds(value: float) -> str:
    """Three figures, as far as they mean something."""
    return (
        f"{value:,.0f} ms"
        if value >= 100
        else f"{value:.1f} ms"
        if value >= 10
        else f"{value:.2f} ms"
        if value >= 1
        else f"{value:.3f} ms"
    )


def short(value: float) -> str:
    """``7,460``, ``34.2``, ``0.21``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _with_unit(value: float, unit: str) -> str:
    if not unit:
        return "yes" if value else "no"
    return (
        f"{value:,.3f} {unit}"
        if value < 1
        else f"{value:,.2f} {unit}"
        if value < 10
        else f"{value:,.1f} {unit}"
    )


def _median(figure: Figure | None) -> float:
    return figure.median if figure else 0.0
