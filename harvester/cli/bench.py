"""`bench`: measure how fast a project's server answers, and what that means for an export."""

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
from harvester.cli.flags import CONNECTION, SCREEN, SELECTION, Project, takes
from harvester.cli.screen import Screen
from harvester.errors import BadInput
from harvester.settings import Connection, Selection

if TYPE_CHECKING:
    from harvester.bench import ProjectReport

FEWEST_CALLS = 20  # a comparison needs at least that many

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Directory for bench.json.")
]
MaxCalls = Annotated[int, typer.Option("--max-calls", metavar="NUMBER", help="Calls of the API, at most.")]


@takes(CONNECTION, SELECTION, SCREEN)
def bench(
    *,
    project: Project,
    output: Output = None,
    max_calls: MaxCalls = 200,
    connection: Connection,
    selection: Selection,
    screen: Screen,
) -> None:
    """Measure how fast a project's label rows come, singly and in bundles. Read-only."""
    console = screen.listen()
    if max_calls < FEWEST_CALLS:
        raise BadInput(f"{max_calls} calls compare nothing: --max-calls is at least {FEWEST_CALLS}")
    found = _measure_project(project, connection, selection, max_calls, console, screen)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(found), indent=1)
        (output / "bench.json").write_bytes(text + b"\n")
    on.put_json(found) if screen.json else on.show(project_table(found, selection))


def _measure_project(
    wanted: str,
    connection: Connection,
    selection: Selection,
    max_calls: int,
    console: Console,
    screen: Screen,
) -> "ProjectReport":
    def progress(size: int) -> None:
        if not screen.quiet:
            console.print(f"{values.show_count(size, 'row')} a request")

    with connected(connection) as session:
        from harvester.bench import measure_project  # imports the SDK: only after the key is checked

        info = session.find_project(wanted)
        return anyio.run(measure_project, session, info, selection, max_calls, progress)


def project_table(found: "ProjectReport", selection: Selection) -> RenderableType:
    """Return the table of bundle sizes, and the command that follows from it."""
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
