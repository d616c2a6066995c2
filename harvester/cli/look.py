"""Verbs that look and write nothing: projects, status."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
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
    """One section a question, each value with its number of rows, its share and a bar."""
    total = counts["rows"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True, overflow="ellipsis")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True, style="dim")
    table.add_column("", no_wrap=True, min_width=BAR, style="cyan")
    for name, numbers in counts.items():
        if not isinstance(numbers, Mapping):
            continue
        table.add_row(Text(words(name.removeprefix("by_")), style="bold"))
        for value, number in numbers.items():
            share = f"{number / total:.1%}" if total else ""
            bar = on.fraction_bar(number, total, BAR)
            table.add_row(Text.assemble("  ", on.title(value)), f"{number:,}", share, bar)
        table.add_section()
    size = f"{values.show_count(total, 'label row')}, {counts['labelled']:,} of them with labels"
    return Group(heading(info), Text(size, style="dim"), table)


def words(name: str) -> str:
    return name.replace("_", " ")


def said(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(said(item) for item in value) or "nothing"
    return str(value)
