"""The verb that shows what an export holds, on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli.flags import SCREEN, takes
from harvester.cli.screen import Screen
from harvester.cli.verify import Directory
from harvester.errors import BadInput
from harvester.events import one_line

if TYPE_CHECKING:
    from harvester.report.numbers import Numbers

Page = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="The page. [report.html; none with --json]"),
]


@takes(SCREEN)
def report(directory: Directory, *, output: Page = None, screen: Screen) -> None:
    """Show what an export holds, on one HTML page that needs no network; with --json as numbers."""
    from harvester.output.target import open_target
    from harvester.report.measure import measure

    console = screen.listen()
    if output is None and not screen.json:
        output = Path("report.html")
    if output is not None and output.is_dir():
        raise BadInput(one_line(f"{output} is a directory: name a file"))
    numbers = measure(open_target(directory))
    if output is not None:
        _write(numbers, output)
        if not screen.quiet:
            mark = Text.assemble(("✓ written", "bold green"), "  ", on.title(str(output), "bold"))
            console.print(mark, soft_wrap=True)
    if screen.json:
        on.put_json(numbers)


def _write(numbers: "Numbers", output: Path) -> None:
    from harvester.output.target import LocalTarget
    from harvester.report.page import write_page

    page = write_page(numbers)
    # Whole or not at all, and for its owner's eyes: it names authors and data.
    LocalTarget(output.parent).put(output.name, page.encode())
