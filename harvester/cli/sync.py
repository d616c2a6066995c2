"""`sync`: bring an export up to date."""

from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import summary as shown
from harvester.cli import values
from harvester.cli.connect import unlocked
from harvester.cli.failed import RowsFailed
from harvester.cli.flags import CONNECTION, LIMITS, SCREEN, takes
from harvester.cli.imports import find_users_filters
from harvester.cli.interrupt import interruptible
from harvester.cli.progress import progress
from harvester.cli.screen import Screen
from harvester.errors import BadInput
from harvester.events import Counters, one_line
from harvester.settings import Connection, Limits

if TYPE_CHECKING:
    from harvester.sync import SyncSummary

Target = Annotated[str, typer.Argument(metavar="DIR", help="Directory of a finished export.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="FUNCTION", show_default=False,
        help="The function package.module:callable that the export was made with, to run it again. *",
    ),
]  # fmt: skip
KeepNames = Annotated[
    bool, typer.Option("--keep-names", help="Leave rows as they are where only the ontology has changed.")
]
Refetch = Annotated[
    bool, typer.Option("--refetch", help="Fetch all rows again, or those of --label-hash, changed or not.")
]
LabelHashes = Annotated[
    list[str] | None,
    typer.Option(
        "--label-hash", metavar="HASH", show_default=False,
        help="With --refetch: fetch this label row again, and no other that looks unchanged. *",
    ),
]  # fmt: skip


@takes(CONNECTION, LIMITS, SCREEN)
def sync(
    context: typer.Context,
    target: Target,
    *,
    filters: Filters = None,
    keep_names: KeepNames = False,
    refetch: Refetch = False,
    label_hashes: LabelHashes = None,
    connection: Connection,
    limits: Limits,
    screen: Screen,
) -> None:
    """Bring an export up to date: fetch what was added or edited since, and write what changed."""
    from harvester.api import sync_async

    console = screen.listen()
    if label_hashes and not refetch:
        source = context.get_parameter_source("label_hashes")
        if source and source.name == "COMMANDLINE":
            raise BadInput("--label-hash names rows to fetch again: give --refetch, too")
        label_hashes = None  # from the environment, and possibly meant for other verbs
    if filters:
        find_users_filters()
    connection = unlocked(connection)
    counters = Counters()

    def announce() -> None:
        console.print(Text("interrupted: keeping what is done; again to stop at once", style="yellow"))

    async def work() -> "SyncSummary":
        async with interruptible(announce) as stopping, progress(screen, console, counters):
            return await sync_async(
                target, filters=filters or (), keep_names=keep_names,
                refetch=tuple(label_hashes or ()) or refetch,
                connection=connection, limits=limits, stopping=stopping, counters=counters,
            )  # fmt: skip

    done = anyio.run(work)
    if not screen.quiet:
        on.tell(summary(done), console)
    if screen.json:
        on.put_summary(done)
    if done.exit_code:
        raise RowsFailed(done.counts["failed"], done.target, synced=True)


def summary(done: "SyncSummary") -> RenderableType:
    """Return the block: changes, content of the export now, requests."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("rows", shown.rows(done.counts))
    for kind, counts in done.records.items():
        facts.add_row(kind, shown.records(counts))
    if done.notes:
        facts.add_row("noted", shown.notes(done.notes))
    if done.ontology is not None:
        facts.add_row("ontology", Text(one_line(str(done.ontology)), style="yellow"))
    elif done.kept_names:
        facts.add_row("ontology", "names are kept that an earlier one gave")
    if done.drift is not None and (changed := shown.drift(done.drift)):
        facts.add_row("since then", changed)
    if done.run["requests"]:  # for label rows; those of the listing are not counted
        facts.add_row("requests", shown.requests(done.run))
    facts.add_row("time", values.show_duration(done.run["seconds"]))
    return Group(head(done), facts)


def head(done: "SyncSummary") -> Text:
    """``✓ up to date, resumed  Street scenes  3 added, 12 edited (generation 2)``."""
    failed = done.counts["failed"]
    mark, style = ("✗", "bold yellow") if failed else ("✓", "bold green")
    word = "up to date" + (", but for " + values.show_count(failed, "failed row") if failed else "")
    changes = ", ".join(f"{number:,} {what}" for what, number in done.changes.items() if number)
    changes = f"{changes or 'no label row changed'} (generation {done.generation})"
    if done.is_unchanged:
        changes = "nothing has changed"
    word += ", resumed" if done.resumed else ""
    return Text.assemble((f"{mark} {word}", style), "  ", on.title(done.project, "bold"), "  ", changes)
