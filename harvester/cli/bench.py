"""The verb that measures: an export against a simulator, beside the SDK used by hand; or a real project."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import msgspec
import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.connect import connected
from harvester.cli.flags import CONNECTION, SCREEN, SELECTION, takes
from harvester.cli.screen import Screen
from harvester.errors import BadInput
from harvester.settings import Connection, Selection

if TYPE_CHECKING:
    from harvester.bench.project import ProjectReport
    from harvester.bench.results import Report
    from harvester.bench.scenarios import Scenario

REPEATS = 3
FEWEST_CALLS = 20  # of a real project: fewer compare nothing

Names = Annotated[
    list[str] | None,
    typer.Option("--scenario", metavar="NAME", help="Only this scenario. May be repeated. [all]"),
]
Quick = Annotated[bool, typer.Option("--quick", help="A few rows each: to see that it runs, not how fast.")]
Repeat = Annotated[
    int, typer.Option("--repeat", metavar="NUMBER", min=1, help="Times that each command runs.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Directory for bench.json and bench.png.")
]
Project = Annotated[
    str | None,
    typer.Option(
        "--project", metavar="PROJECT", help="Measure this project, read-only, not a simulated one."
    ),
]
MaxCalls = Annotated[
    int, typer.Option("--max-calls", metavar="NUMBER", help="With --project: calls of the API, at most.")
]


@takes(CONNECTION, SELECTION, SCREEN)
def bench(
    *,
    scenario: Names = None,
    quick: Quick = False,
    repeat: Repeat = REPEATS,
    output: Output = None,
    project: Project = None,
    max_calls: MaxCalls = 200,
    connection: Connection,
    selection: Selection,
    screen: Screen,
) -> None:
    """Measure exports against a simulator, side by side with the SDK used by hand; or a project."""
    console = screen.listen()
    if project is not None:
        if scenario or quick:
            raise BadInput("--scenario and --quick are for simulated projects, not for --project")
        if max_calls < FEWEST_CALLS:
            raise BadInput(f"{max_calls} calls compare nothing: --max-calls is at least {FEWEST_CALLS}")
        found = _measure_project(project, connection, selection, max_calls, console, screen)
        _keep(output, found)
        on.put_json(found) if screen.json else on.show(project_table(found, selection))
        return
    report = _run(scenario or [], quick, 1 if quick else repeat, console, screen)
    _keep(output, report)
    if output is not None:
        from harvester.bench.chart import draw

        draw(report, output / "bench.png")
    if screen.json:
        on.put_json(report)
    else:
        from harvester.bench.bars import bars
        from harvester.bench.table import report_table

        on.show(report_table(report, bars(report.scenarios)))


def _run(names: list[str], quick: bool, repeats: int, console: Console, screen: Screen) -> "Report":
    try:
        from harvester.bench.running import run_scenario, startup
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is missing: pip install 'harvester[simulator]'") from error
    from harvester.bench.machine import machine
    from harvester.bench.results import Report

    chosen = _chosen(names, quick)
    with console.status("") as status:

        def progress(scenario: str, run: str, repeat: int, repeats: int) -> None:
            said = f"{scenario}: {run}" + (f" ({repeat + 1} of {repeats})" if repeats > 1 else "")
            if screen.live(console):
                status.update(Text(said))
            elif not screen.quiet:
                console.print(said)

        before = machine()
        idle = startup(chosen, repeats, progress)
        return Report(
            command=shlex.join(_command(names, quick, repeats)),
            quick=quick,
            machine=before,
            startup_cpu_seconds=idle,
            scenarios=[run_scenario(one, repeats, idle, progress) for one in chosen],
        )


def _chosen(names: list[str], quick: bool) -> list["Scenario"]:
    from harvester.bench.scenarios import SCENARIOS

    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"unknown scenario {unknown[0]!r}: one of {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)] or list(SCENARIOS)
    return [scenario.quick() for scenario in chosen] if quick else chosen


def _command(names: list[str], quick: bool, repeats: int) -> list[str]:
    flags = [part for name in names for part in ("--scenario", name)]
    flags += ["--quick"] if quick else []
    flags += ["--repeat", str(repeats)] if repeats != REPEATS and not quick else []
    return ["harvester", "bench", *flags]


def _measure_project(
    wanted: str,
    connection: Connection,
    selection: Selection,
    max_calls: int,
    console: Console,
    screen: Screen,
) -> "ProjectReport":
    from harvester.bench.project import measure_project

    def progress(size: int) -> None:
        if not screen.quiet:
            console.print(f"{values.show_count(size, 'row')} a request")

    with connected(connection) as session:
        info = session.find_project(wanted)
        return anyio.run(measure_project, session, info, selection, max_calls, progress)


def _keep(output: Path | None, found: "Report | ProjectReport") -> None:
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(found), indent=1)
        (output / "bench.json").write_bytes(text + b"\n")


def project_table(found: "ProjectReport", selection: Selection) -> RenderableType:
    """What each size of bundle gave, and the command that follows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(
        ("rows a request", "calls", "rows/s", "MB/s", "a call", "refused", "failed rows", "")
    ):
        table.add_column(column, justify="right" if place < 7 else "left", no_wrap=True)
    best = max(trial.rows_per_s for trial in found.trials)
    for trial in found.trials:
        fastest = trial.bundle_size == found.fastest
        note = "more than the server takes" if trial.cut_short else ""
        table.add_row(
            Text(f"{trial.bundle_size}", style="bold green" if fastest else ""),
            f"{trial.calls:,}",
            Text(f"{trial.rows_per_s:,.1f}", style="bold green" if fastest else ""),
            f"{trial.mb_per_s:,.2f}",
            f"{trial.call_seconds * 1000:,.0f} ms",
            f"{trial.refused:,}",
            f"{trial.failed:,}",
            Text(note or on.fraction_bar(round(trial.rows_per_s * 100), round(best * 100), 20), style="cyan"),
        )
    labelled = values.show_count(found.labelled, "row")
    size = f"{labelled} with labels, {found.row_kb:,.1f} kB each; {found.calls:,} calls were made"
    whole = f"All {labelled}: about {values.show_duration(found.whole_seconds)}, at 8 requests in flight."
    more = f"--bundle-size {found.fastest}" if found.fastest == 1 else ""
    advice = f"harvester export {found.project_hash} -o out {more}".rstrip()
    said = (
        "Single rows are as fast as bundles here:"
        if found.fastest == 1
        else "Bundles pay; harvester sizes them itself:"
    )
    return Group(
        Text.assemble(on.title(found.title, "bold"), "  ", on.title(found.project_hash, "dim")),
        Text(size, style="dim"),
        table,
        Text(whole),
        Text.assemble(said, "  ", (advice, "cyan")),
    )
