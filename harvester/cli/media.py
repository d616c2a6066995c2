"""The verb that downloads the files that the labels are of."""

from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.connect import unlocked
from harvester.cli.failed import FilesFailed
from harvester.cli.flags import CONNECTION, LIMITS, MEDIA, SCREEN, only, takes
from harvester.cli.interrupt import interruptible
from harvester.cli.media_progress import media_progress
from harvester.cli.screen import Screen
from harvester.media.counters import MediaCounters
from harvester.media.options import MediaOptions
from harvester.settings import Connection, Limits

if TYPE_CHECKING:
    from harvester.media.media_job import MediaSummary

Exported = Annotated[str, typer.Argument(metavar="TARGET", help="Directory or address of a finished export.")]
Destination = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="DIR", show_default=False,
        help="Directory for the files, or s3://, gs://, az://bucket/prefix. [media in TARGET]",
    ),
]  # fmt: skip

# The limits that `media` takes.
_LIMITS = only(
    LIMITS,
    "max_duration",
    concurrency="Downloads in flight, at most: from all hosts together.",
    max_rps="Requests a second to each host, at most: to each store of files, and to the API.",
    max_attempts="Attempts for a file before it counts as failed.",
)


@takes(MEDIA, CONNECTION, _LIMITS, SCREEN)
def media(
    target: Exported,
    *,
    output: Destination = None,
    media: MediaOptions,
    connection: Connection,
    limits: Limits,
    screen: Screen,
) -> None:
    """Bring the files that an export's labels are of: complete, checked, resumable. Run it again to go on."""
    from harvester.media.in_python import media_async
    from harvester.media.media_job import MediaObserver

    console = screen.listen()
    connection = unlocked(connection)
    counters = MediaCounters()

    def announce() -> None:
        console.print(Text("interrupted: keeping what is there; again to stop at once", style="yellow"))

    async def work() -> "MediaSummary":
        async with interruptible(announce) as stopping, media_progress(screen, console, counters):
            return await media_async(
                target, output, options=media, limits=limits, connection=connection,
                observer=MediaObserver(counters, stopping=stopping),
            )  # fmt: skip

    done = anyio.run(work)
    if not screen.quiet:
        on.tell(summary(done), console)
    if screen.json:
        on.put_summary(done)
    if done.exit_code:
        raise FilesFailed(done.counts["failed"], done.folder)


def summary(done: "MediaSummary") -> RenderableType:
    """A short block: files, units without a file, bytes, speed."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    if done.dry_run:
        return foreseen(done)
    facts.add_row("files", files(done))
    if done.without_file:
        listed = ", ".join(f"{number:,} {kind}" for kind, number in done.without_file.items())
        facts.add_row("without a file", listed)
    if removed := done.counts["removed"]:
        facts.add_row(
            "removed", f"{values.show_count(removed, 'file')} of units that left: --prune deletes them"
        )
    facts.add_row("bytes", values.show_bytes(done.bytes))
    facts.add_row("speed", speed(done))
    facts.add_row("in", on.title(done.folder))
    failed = done.counts["failed"]
    mark, style = ("✗", "bold yellow") if failed else ("✓", "bold green")
    word = "complete" + (f", but for {values.show_count(failed, 'file')} that failed" if failed else "")
    return Lines(Text.assemble((f"{mark} {word}", style), "  ", on.title(done.project, "bold")), facts)


def foreseen(done: "MediaSummary") -> Text:
    """``120 files to fetch: 14.2 MB; the size of 3 is not known``."""
    missing, sized = done.counts["files"], done.counts["sized"]
    text = f"{values.show_count(missing, 'file')} to fetch: {values.show_bytes(done.bytes)}"
    return Text(text + (f"; the size of {missing - sized:,} is not known" if missing > sized else ""))


def files(done: "MediaSummary") -> Text:
    """``120 wanted = 118 there + 2 failed``."""
    counts = done.counts
    style = "yellow" if counts["failed"] else "dim"
    text = Text(f"{counts['files']:,} wanted = {counts['fetched']:,} there")
    return text.append(f" + {counts['failed']:,} failed", style=style)


def speed(done: "MediaSummary") -> Text:
    """``2.2 s · 118 files fetched · 17.5 MB/s · 3 retried``, of this run alone."""
    run = done.run
    seconds = max(run["seconds"], 0.001)
    return on.joined(
        [
            values.show_duration(run["seconds"]),
            values.show_count(run["fetched"], "file") + " fetched",
            f"{run['received'] / seconds / 1e6:.1f} MB/s",
            f"{run['refused']:,} refused" if run["refused"] else "",
            f"{run['retries']:,} retried" if run["retries"] else "",
        ]
    )
