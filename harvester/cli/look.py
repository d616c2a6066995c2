"""`projects` and `status`: verbs that only read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.connect import connected
from harvester.cli.flags import CONNECTION, SCREEN, SELECTION, Project, takes
from harvester.cli.screen import Screen
from harvester.settings import Connection, Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo

BAR = 24  # cells; with it the status table fits 80 columns
SHORTEST_BAR = 6  # cells; a shorter one shows nothing


@takes(CONNECTION, SCREEN)
def projects(*, connection: Connection, screen: Screen) -> None:
    """List the projects that the key may read."""
    screen.listen()
    with connected(connection) as session:
        found = sorted(session.projects(), key=lambda info: info.last_edited_at, reverse=True)
    if screen.json:
        on.put_json(
            [{"title": p.title, "hash": p.project_hash, "last_edited_at": p.last_edited_at} for p in found]
        )
    else:
        on.show(projects_table(found))


@takes(CONNECTION, SELECTION, SCREEN)
def status(project: Project, *, connection: Connection, selection: Selection, screen: Screen) -> None:
    """Count a project's label rows by task status, label status, workflow stage and data type."""
    from harvester.plan.status import status as count

    screen.listen()
    with connected(connection) as session:
        info = session.find_project(project)
        counts = msgspec.to_builtins(count(session, info, selection))
    if screen.json:
        on.put_json({"project": {"hash": info.project_hash, "title": info.title}, **counts})
    else:
        on.show(status_table(info, counts))


def heading(info: "ProjectInfo") -> Text:
    return Text.assemble(on.title(info.title, "bold"), "  ", on.title(info.project_hash, "dim"))


def projects_table(found: list["ProjectInfo"]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("project", overflow="ellipsis", no_wrap=True)
    table.add_column("hash", no_wrap=True)
    table.add_column("last edited", no_wrap=True, style="dim")
    for info in found:
        table.add_row(
            on.title(info.title, "bold"), on.title(info.project_hash), on.title(info.last_edited_at[:10])
        )
    return table


def status_table(info: "ProjectInfo", counts: Mapping[str, Any]) -> RenderableType:
    """Return the table of a status: a section for each property, and for each value rows, share and a bar."""
    size = f"{values.show_count(counts['rows'], 'label row')}, {counts['labelled']:,} of them with labels"
    return Group(heading(info), Text(size, style="dim"), _Counts(counts))


class _Counts:
    """Return the table of a status. If it is too wide, bars go, then names are cut, never numbers."""

    def __init__(self, counts: Mapping[str, Any]) -> None:
        self._total = counts["rows"]
        self._sections = {
            words(name.removeprefix("by_")): [(on.title(value), number) for value, number in numbers.items()]
            for name, numbers in counts.items()
            if isinstance(numbers, Mapping)
        }

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._table(options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table(options.max_width)

    def _table(self, width: int) -> Table:
        between, share, number = 3, len("100.0%"), max(len("rows"), len(f"{self._total:,}"))
        names = max(
            (2 + name.cell_len for section in self._sections.values() for name, _ in section), default=0
        )
        left = width - (2 + between + number + between + share)
        bar = min(BAR, left - names - between)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("", no_wrap=True, overflow="ellipsis", max_width=max(1, left))
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("share", justify="right", no_wrap=True, style="dim")
        if bar >= SHORTEST_BAR:
            table.add_column("", no_wrap=True, min_width=bar, style="cyan")
        for question, numbers in self._sections.items():
            table.add_row(Text(question, style="bold"))
            for name, rows in numbers:
                part = f"{rows / self._total:.1%}" if self._total else ""
                cells: list[RenderableType] = [Text.assemble("  ", name), f"{rows:,}", part]
                if bar >= SHORTEST_BAR:
                    cells.append(on.fraction_bar(rows, self._total, bar))
                table.add_row(*cells)
            table.add_section()
        return table


def words(name: str) -> str:
    return name.replace("_", " ")


def said(value: object) -> str:
    """Return a value in words for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(said(item) for item in value) or "nothing"
    return str(value)
