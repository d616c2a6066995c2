"""`demo`: the main job on a simulated project: a status, an export, a record."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.connect import connected
from harvester.cli.export import run
from harvester.cli.look import status_table
from harvester.cli.screen import Screen
from harvester.errors import BadInput, how_to_install
from harvester.settings import Connection, Format, Limits, Selection

if TYPE_CHECKING:
    from harvester.simulator import Simulator

RECORD_LINES = 24  # lines of the record that is shown

Rows = Annotated[int, typer.Option("--rows", metavar="NUMBER", min=1, help="Data units of the project.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Directory for the export.")]


def demo(*, rows: Rows = 5000, output: Output = Path("demo-out")) -> None:
    """Export a simulated project over TLS, and show what comes out."""
    try:
        from harvester.simulator import Simulator, WorldSpec
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is missing: {how_to_install('simulator')}") from error
    console = Screen().listen()
    with Simulator(WorldSpec(rows=rows)) as simulator:
        _clear(output, simulator.project_hash)
        _say(console, f"A simulated project of {values.show_count(rows, 'data unit')}", simulator.url)
        connection = Connection(
            domain=simulator.url, ssh_key_file=simulator.ssh_key_file, ca_bundle=simulator.ca_file
        )
        _show_status(connection, simulator)
        _say(console, "Its export", f"harvester export {simulator.project_hash} -o {output}")
        done = run(
            simulator.project_hash,
            str(output),
            connection,
            Selection(),
            Format(),
            Limits(),
            Screen(),
            console,
        )
    _show_record(console, output)
    _say(console, "Now your own", "a key of yours, and the title or hash of a project that it may read")
    command = "harvester export 'My project' -o out --ssh-key-file ~/.ssh/encord"
    console.print(Text(f"  {command}\n", style="cyan"), soft_wrap=True)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def _clear(output: Path, project_hash: str) -> None:
    """Delete the export of an earlier demo. Raises BadInput if `output` holds anything else."""
    from harvester.output.generations import base_folder, drop_export
    from harvester.output.planfile import read_header
    from harvester.output.target import open_target

    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    target = open_target(output)
    header = read_header(base_folder(target)) if output.is_dir() else None
    if header is None or header.project.hash != project_hash:
        raise BadInput(f"{output} is there and no earlier demo's: name another directory with --output")
    with target.lock():
        drop_export(target)


def _show_status(connection: Connection, simulator: "Simulator") -> None:
    from harvester.plan.status import status

    with connected(connection) as session:
        project = session.find_project(simulator.project_hash)
        counts = msgspec.to_builtins(status(session, project, Selection()))
    on.show(status_table(project, counts))


def _show_record(console: Console, output: Path) -> None:
    """Show the first record, one field a line, cut to `RECORD_LINES`."""
    from harvester.output.layout import parse_part
    from harvester.output.target import open_target

    target = open_target(output)
    names = (name for name, _ in target.names() if (part := parse_part(name)) and part.kind == "objects")
    first = min(names, default=None)
    if first is None:
        return
    with target.open(first) as file:
        record = msgspec.json.format(file.readline(), indent=2).decode()
    lines = record.splitlines()
    if len(lines) > RECORD_LINES:
        lines = [*lines[:RECORD_LINES], f"  … {len(lines) - RECORD_LINES} lines more"]
    _say(console, "The first record", str(output / first))
    shown = Syntax("\n".join(lines), "json", background_color="default", word_wrap=False)
    console.print(shown if console.is_terminal else Text("\n".join(lines)), soft_wrap=not console.is_terminal)


def _say(console: Console, what: str, about: str) -> None:
    console.print(Text.assemble("\n", (what, "bold"), "  ", (about, "dim"), "\n"), soft_wrap=True)
