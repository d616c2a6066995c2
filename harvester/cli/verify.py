"""The verb that checks an export against its own manifest."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.flags import SCREEN, takes
from harvester.cli.screen import Screen
from harvester.errors import Unsound

Target = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of an export.")]

SHOWN = 20  # problems named on the terminal; --json names all


@takes(SCREEN)
def verify(target: Target, *, screen: Screen) -> None:
    """Check an export: every part there, every byte as committed, counts that add up. Exit 3 if not."""
    from harvester.output.target import open_target
    from harvester.output.verify import verify as check

    console = screen.listen()
    report = check(open_target(target))
    if screen.json:
        on.put_json({"target": str(target), "ok": report.ok, **msgspec.to_builtins(report)})
    elif report.ok and not screen.quiet:
        console.print(
            Text.assemble(("✓ sound", "bold green"), "  ", on.title(str(target), "bold")), soft_wrap=True
        )
    if not report.ok:
        for problem in report.problems[:SHOWN]:
            console.print(Text.assemble("  ", on.title(str(problem))), soft_wrap=True)
        found = values.show_count(len(report.problems), "problem")
        raise Unsound(f"{target}: {found}; run its export again to repair it")
