"""`report`: the content of an export, on one page."""

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
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE",
        help="The page; - for standard output. [report.html; none with --json]",
    ),
]  # fmt: skip


@takes(SCREEN)
def report(directory: Directory, *, output: Page = None, screen: Screen) -> None:
    """Show what an export holds, on one HTML page that needs no network; with --json as numbers."""
    from harvester.output.target import open_target
    from harvester.report.measure import measure

    console = screen.listen()
    if output == "-" and screen.json:
        raise BadInput("--json and -o - both want standard output: write to a file, or leave --json out")
    if output is None and not screen.json:
        output = "report.html"
    if output is not None and Path(output).is_dir():
        raise BadInput(one_line(f"{output} is a directory: name a file"))
    if output is not None and Path(output).is_symlink():
        raise BadInput(one_line(f"{output} is a symbolic link: name a file"))
    if output not in (None, "-"):
        try:
            Path(output).absolute()
        except FileNotFoundError:
            raise BadInput(one_line(f"{output}: the working directory is deleted")) from None
    numbers = measure(open_target(directory))
    if output is not None:
        _write(numbers, output)
        if output != "-" and not screen.quiet:
            mark = Text.assemble(("✓ written", "bold green"), "  ", on.title(output, "bold"))
            console.print(mark, soft_wrap=True)
    if screen.json:
        on.put_json(numbers)


def _write(numbers: "Numbers", output: str) -> None:
    from harvester.output.stdout import send, standard_output
    from harvester.output.target import LocalTarget
    from harvester.report.page import write_page

    page = write_page(numbers).encode()
    if output == "-":
        send(standard_output(), page)
        return
    # Written in one step, and readable by its owner only: it names authors and data.
    path = Path(output)
    LocalTarget(path.parent).put(path.name, page)
