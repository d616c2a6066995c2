"""The verb that harvester exists for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.text import Text

from harvester import events
from harvester.cli import screen as on
from harvester.cli.connect import connected
from harvester.cli.flags import CONNECTION, FORMAT, LIMITS, SCREEN, SELECTION, takes
from harvester.cli.interrupt import interruptible
from harvester.cli.look import Project
from harvester.cli.progress import progress
from harvester.cli.screen import Screen
from harvester.cli.summary import summary
from harvester.errors import BadInput
from harvester.events import Counters
from harvester.settings import Connection, Format, Limits, Selection

if TYPE_CHECKING:
    from harvester.export import Summary

Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Directory for the export, or - for standard output.",
        show_default=False,
    ),
]  # fmt: skip


@takes(CONNECTION, SELECTION, FORMAT, LIMITS, SCREEN)
def export(
    project: Project,
    *,
    output: Output,
    connection: Connection,
    selection: Selection,
    format: Format,
    limits: Limits,
    screen: Screen,
) -> None:
    """Export a project's labels to newline-delimited JSON. Run it again to go on where it stopped."""
    if output == "-" and screen.json:
        raise BadInput("--json and -o - both want standard output: write to a directory, or leave --json out")
    console = screen.listen()
    done = run(project, output, connection, selection, format, limits, screen, console)
    if screen.json:
        on.put_json({"target": done.target, "counts": done.counts, "records": done.records, "run": done.run})
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def run(
    project: str,
    output: str,
    connection: Connection,
    selection: Selection,
    format: Format,
    limits: Limits,
    screen: Screen,
    console: Console,
) -> "Summary":
    """Export, with progress and summary on `console`.

    Raises:
        Interrupted: by SIGINT or SIGTERM.
        Stop: as `harvester.export.export` does.
    """
    from harvester.export import export as harvest

    counters = Counters()

    def announce() -> None:
        console.print(Text("interrupted: keeping what is done; again to stop at once", style="yellow"))

    def on_event(event: str, fields: dict[str, Any]) -> None:
        events.say(event, fields)

    async def work() -> "Summary":
        began = anyio.current_time()
        async with interruptible(announce):
            with connected(connection) as session:
                # A thread, so that signals are heard; left behind if one comes.
                info = await anyio.to_thread.run_sync(session.find_project, project, abandon_on_cancel=True)
                async with progress(screen, console, counters):
                    target = "-" if output == "-" else Path(output)
                    done: Summary = await harvest(
                        session, info, selection, format, limits, target, counters=counters, on_event=on_event
                    )
        if not screen.quiet:
            seconds = anyio.current_time() - began
            console.print(summary(done, info.title, counters, seconds), soft_wrap=not console.is_terminal)
        return done

    return anyio.run(work)
