"""`export`: the main verb."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.text import Text

from harvester import events
from harvester.cli import screen as on
from harvester.cli.connect import unlocked
from harvester.cli.failed import RowsFailed
from harvester.cli.flags import CONNECTION, FORMAT, LIMITS, SCREEN, SELECTION, Project, takes
from harvester.cli.imports import find_users_filters
from harvester.cli.interrupt import interruptible
from harvester.cli.progress import progress
from harvester.cli.screen import Screen
from harvester.cli.summary import summary
from harvester.errors import BadInput
from harvester.events import Counters
from harvester.settings import Connection, Format, Limits, Selection

if TYPE_CHECKING:
    from harvester.export import Summary

FAILED_ROWS_TOLD = 20  # rows named when they fail; the summary counts all, and files of the export list them

Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="DIR",
        help="Directory for the export, or s3://, gs://, az://bucket/prefix; - for standard output.",
        show_default=False,
    ),
]  # fmt: skip
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Fetch the rows that failed again, and no others.")
]
Settle = Annotated[
    bool, typer.Option("--settle", help="Harvest rows edited since the export began again, once.")
]


@takes(CONNECTION, SELECTION, FORMAT, LIMITS, SCREEN)
def export(
    project: Project,
    *,
    output: Output,
    retry_failed: RetryFailed = False,
    settle: Settle = False,
    connection: Connection,
    selection: Selection,
    format: Format,
    limits: Limits,
    screen: Screen,
) -> None:
    """Export a project's labels to newline-delimited JSON. Run it again to go on where it stopped."""
    if output == "-":
        _check_for_standard_output(screen.json, limits, retry_failed, settle)
    if selection.filters:
        find_users_filters()
    done = run(
        project, output, connection, selection, format, limits, screen, screen.listen(),
        retry_failed=retry_failed, settle=settle,
    )  # fmt: skip
    if screen.json:
        on.put_summary(as_json(done))
    if done.exit_code:
        raise RowsFailed(done.counts["failed"], done.target, synced=done.synced)


def run(
    project: str,
    output: str,
    connection: Connection,
    selection: Selection,
    format: Format,
    limits: Limits,
    screen: Screen,
    console: Console,
    *,
    retry_failed: bool = False,
    settle: bool = False,
) -> "Summary":
    """Export, with progress and summary on `console`.

    Raises:
        Interrupted: by SIGINT or SIGTERM.
        Stop: as `harvester.export.export` does.
    """
    from harvester.api import export_async

    connection = unlocked(connection)
    counters = Counters()

    def announce() -> None:
        console.print(Text("interrupted: keeping what is done; again to stop at once", style="yellow"))

    failed = 0

    def on_event(event: str, fields: Mapping[str, Any]) -> None:
        nonlocal failed
        failed += event == "row.failed"
        if event != "row.failed" or failed <= FAILED_ROWS_TOLD or output == "-":
            events.say(event, fields)
        elif failed == FAILED_ROWS_TOLD + 1:
            events.say("rows.failed", {"more": f"not told one by one, but listed in {output}"})

    async def work() -> "Summary":
        async with interruptible(announce) as stopping, progress(screen, console, counters):
            return await export_async(
                project, output, connection=connection, selection=selection, format=format, limits=limits,
                retry_failed=retry_failed, settle=settle, stopping=stopping, counters=counters,
                on_event=on_event,
            )  # fmt: skip

    done = anyio.run(work)
    if not screen.quiet:
        on.tell(summary(done, selection.filters), console)
    return done


def as_json(done: "Summary") -> dict[str, object]:
    """Return the summary for ``--json``."""
    facts: dict[str, object] = {
        "target": done.target,
        "counts": done.counts,
        "records": done.records,
        "notes": done.notes,
        "drift": done.drift,
        "run": done.run,
    }
    if done.nothing_left:
        facts["nothing_left"] = done.nothing_left
    return facts


def _check_for_standard_output(json: bool, limits: Limits, retry_failed: bool, settle: bool) -> None:
    """Raise BadInput for flags that need an export in files."""
    if json:
        raise BadInput("--json and -o - both want standard output: write to a directory, or leave --json out")
    for flag, given in (
        ("--processes", limits.processes > 1),
        ("--engine dask", limits.engine == "dask"),
        ("--retry-failed", retry_failed),
        ("--settle", settle),
    ):
        if given:
            raise BadInput(f"{flag} needs a directory to export to, not standard output")
