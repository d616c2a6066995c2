"""The verb that converts an export into a data set."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from anyio.from_thread import check_cancelled
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.flags import CONVERT, RECORDS, SCREEN, takes
from harvester.cli.imports import find_users_filters
from harvester.cli.interrupt import interruptible
from harvester.cli.progress import progress
from harvester.cli.screen import Screen
from harvester.dataset_options import LEFT_OUT, ConvertOptions
from harvester.errors import CannotFinishNow
from harvester.events import Counters
from harvester.settings import Selection

if TYPE_CHECKING:
    from harvester.datasets.conversion import Conversion

Export = Annotated[str, typer.Argument(metavar="TARGET", help="Directory or address of a finished export.")]
DataSet = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Directory for the data set, or the address of an object store.",
        show_default=False,
    ),
]


@takes(CONVERT, RECORDS, SCREEN)
def convert(
    target: Export, *, output: DataSet, options: ConvertOptions, selection: Selection, screen: Screen
) -> None:
    """Convert an export into a data set: Parquet, COCO, YOLO or masks. Asks the server nothing."""
    console = screen.listen()
    if selection.filters:
        find_users_filters()
    done = _run(target, output, options, selection, screen, console)
    if screen.json:
        on.put_summary({"target": output, **_as_json(done)})
    elif not screen.quiet:
        on.tell(_summary(output, done), console)


def _run(
    target: str, output: str, options: ConvertOptions, selection: Selection, screen: Screen, console: Console
) -> "Conversion":
    """Convert in a thread, with progress on `console`.

    Raises:
        Interrupted: by SIGINT or SIGTERM. What was there before is still there.
        Stop: as `harvester.datasets.convert.convert_export` does.
    """
    from harvester.datasets.convert import convert_export

    counters = Counters()
    work = partial(
        convert_export, target, output, options, selection, counters=counters, keep_on=check_cancelled
    )

    def announce() -> None:
        console.print(Text("interrupted", style="yellow"))

    async def run() -> "Conversion":
        async with interruptible(announce) as stopping:
            async with (
                progress(screen, console, counters, verb="convert"),
                anyio.create_task_group() as tasks,
            ):

                async def stop() -> None:
                    await stopping.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(stop)
                done = await anyio.to_thread.run_sync(work)
                tasks.cancel_scope.cancel()
                return done
            raise CannotFinishNow("interrupted")

    return anyio.run(run)


def _as_json(done: "Conversion") -> dict[str, object]:
    facts = {name: getattr(done, name) for name in done.__struct_fields__ if name != "files"}
    return facts | {"files": done.files.number, "bytes": done.files.bytes}


def _summary(output: str, done: "Conversion") -> RenderableType:
    """A short block: records by kind with what was left out, remarks, the format's own tables, files."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for kind, counts in done.records.items():
        all_of = f" of {counts.read:,}" if counts.left_out else ""
        facts.add_row(kind, Text.assemble(f"{counts.written:,} written{all_of}", _left_out(counts.left_out)))
    for table, lines in done.tables.items():
        facts.add_row(_words(table), _table(lines))
    if done.not_exported:
        facts.add_row("not exported", Text(", ".join(done.not_exported), style="yellow"))
    if done.remarks:
        said = ", ".join(f"{number:,} {_words(why)}" for why, number in done.remarks.items())
        facts.add_row("noted", Text(said, style="yellow"))
    size = values.show_bytes(done.files.bytes)
    facts.add_row("files", f"{values.show_count(done.files.number, 'file')}, {size}")
    mark = Text.assemble((f"✓ {done.to}", "bold green"), "  ", on.title(output, "bold"))
    return Group(mark, facts)


def _table(lines: Mapping[str, Mapping[str, int]]) -> RenderableType:
    """Show each line of a format's own table: what became of its records, and what was left out."""
    table = Table.grid(padding=(0, 2))
    for line, cells in lines.items():
        written = [f"{number:,} {_words(name)}" for name, number in cells.items() if not _why(name)]
        left_out = {why: number for name, number in cells.items() if (why := _why(name))}
        table.add_row(on.title(line), Text.assemble(", ".join(written) or "none", _left_out(left_out)))
    return table


def _left_out(reasons: Mapping[str, int]) -> tuple[str, str]:
    """Say in brackets how many were left out for which reason."""
    said = ", ".join(f"{number:,} by {_words(why)}" for why, number in reasons.items())
    return (f" (left out {said})", "dim") if said else ("", "")


def _why(column: str) -> str:
    """Return the reason that a column counts what was left out for, or nothing."""
    return column.removeprefix(LEFT_OUT) if column.startswith(LEFT_OUT) else ""


def _words(name: str) -> str:
    return name.replace("_", " ")
