"""``python -m benchmarks.suite``, or ``make bench``: measures the scenarios and shows the figures."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from benchmarks.suite.bars import bars
from benchmarks.suite.chart import draw_all
from benchmarks.suite.machine import machine
from benchmarks.suite.results import SuiteReport
from benchmarks.suite.running import run_scenario, startup
from benchmarks.suite.scenarios import SCENARIOS, Scenario
from benchmarks.suite.table import report_table
from harvester.cli import screen as on
from harvester.errors import BadInput, CannotFinishNow, HarvesterError, Stop
from harvester.events import one_line

REPEATS = 3

Names = Annotated[
    list[str] | None,
    typer.Option("--scenario", metavar="NAME", help="Only this scenario. May be repeated. [all]"),
]
Quick = Annotated[bool, typer.Option("--quick", help="A few rows each: to see that it runs, not how fast.")]
Repeat = Annotated[
    int, typer.Option("--repeat", metavar="NUMBER", min=1, help="Times that each command runs.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Directory for bench.json and pictures.")
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output, for machines.")]


def suite(
    scenario: Names = None,
    quick: Quick = False,
    repeat: Repeat = REPEATS,
    output: Output = None,
    json: Json = False,
) -> None:
    """Measure exports and what is made of them, side by side with the SDK and other tools."""
    try:
        report = measure_all(scenario or [], quick, 1 if quick else repeat, on.stderr())
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            text = msgspec.json.format(msgspec.json.encode(report), indent=1)
            (output / "bench.json").write_bytes(text + b"\n")
            draw_all(report, output)
    except HarvesterError as error:
        print(f"bench: {one_line(error.message)}", file=sys.stderr)
        raise typer.Exit(error.exit_code if isinstance(error, Stop) else CannotFinishNow.exit_code) from None
    if json:
        on.put_json(report)
    else:
        on.show(report_table(report, bars(report.scenarios)))


def measure_all(names: list[str], quick: bool, repeats: int, console: Console) -> SuiteReport:
    """Measure the scenarios called `names`, or all. Raises BadInput for an unknown name."""
    chosen = _chosen(names, quick)
    with console.status("") as status:

        def progress(scenario: str, run: str, repeat: int, repeats: int) -> None:
            said = f"{scenario}: {run}" + (f" ({repeat + 1} of {repeats})" if repeats > 1 else "")
            if console.is_terminal:
                status.update(Text(said))
            else:
                console.print(said)

        before = machine()
        idle = startup(chosen, repeats, progress)
        return SuiteReport(
            command=shlex.join(_command(names, quick, repeats)),
            quick=quick,
            machine=before,
            startup_cpu_seconds=idle,
            scenarios=[run_scenario(one, repeats, idle, progress) for one in chosen],
        )


def _chosen(names: list[str], quick: bool) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"unknown scenario {unknown[0]!r}: one of {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)] or list(SCENARIOS)
    return [scenario.quick() for scenario in chosen] if quick else chosen


def _command(names: list[str], quick: bool, repeats: int) -> list[str]:
    flags = [part for name in names for part in ("--scenario", name)]
    flags += ["--quick"] if quick else []
    flags += ["--repeat", str(repeats)] if repeats != REPEATS and not quick else []
    return ["python", "-m", "benchmarks.suite", *flags]


if __name__ == "__main__":
    typer.run(suite)
