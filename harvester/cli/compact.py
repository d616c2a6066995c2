"""The verb that merges an export and its syncs into one base."""

from typing import TYPE_CHECKING

import anyio
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import summary as shown
from harvester.cli import values
from harvester.cli.flags import SCREEN, takes
from harvester.cli.interrupt import interruptible
from harvester.cli.progress import progress
from harvester.cli.screen import Screen
from harvester.cli.sync import Target
from harvester.events import Counters

if TYPE_CHECKING:
    from harvester.compaction import CompactSummary


@takes(SCREEN)
def compact(target: Target, *, screen: Screen) -> None:
    """Make one base of an export and its syncs, with the files of a new export. Asks no server."""
    from harvester.compact import compact_async

    console = screen.listen()
    counters = Counters()

    def announce() -> None:
        console.print(Text("interrupted: the export stays as it was; again to stop at once", style="yellow"))

    async def work() -> "CompactSummary":
        async with interruptible(announce) as stopping, progress(screen, console, counters, verb="compact"):
            return await compact_async(target, stopping=stopping, counters=counters)

    done = anyio.run(work)
    if not screen.quiet:
        on.tell(summary(done), console)
    if screen.json:
        on.put_summary(done)


def summary(done: "CompactSummary") -> RenderableType:
    """A short block: what was replaced, what the export holds, sizes."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("rows", shown.rows(done.counts))
    for kind, counts in done.records.items():
        facts.add_row(kind, shown.records(counts))
    if done.notes:
        facts.add_row("noted", shown.notes(done.notes))
    if not done.is_unchanged:
        before, after = map(values.show_bytes, (done.bytes_before, done.bytes_after))
        facts.add_row("size", f"{after}, before {before}")
        facts.add_row("time", values.show_duration(done.seconds))
    return Group(head(done), facts)


def head(done: "CompactSummary") -> Text:
    """``✓ compacted  Street scenes  31 generations are one (generation 31)``."""
    what = f"{done.replaced:,} generations are one (generation {done.generation})"
    if done.replaced == 1:
        what = f"rows are in order (generation {done.generation})"
    if done.is_unchanged:
        what = "nothing to compact: there was no sync since"
    return Text.assemble(
        ("✓ compacted", "bold green"), "  ", on.title(done.project, "bold"), "  ", Text(what)
    )
