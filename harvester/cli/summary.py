"""The summary at the end of an export: values in, text out."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import values
from harvester.cli.screen import joined, title
from harvester.errors import HarvesterError
from harvester.events import one_line
from harvester.schema import KINDS

if TYPE_CHECKING:
    from harvester.output.target import Target
    from harvester.plan.drift import Drift
    from harvester.summary import Summary

# The summary's name for each kind of file.
FILES: dict[str, str] = dict.fromkeys(KINDS, "files") | {
    "notes": "notes",
    "failed": "failed rows",
    "listing": "all listed rows",
}


def summary(done: "Summary", filters: Sequence[str] = ()) -> RenderableType:
    """Return the block: outcome, predicates that left nothing, counts, records, drift, requests, files.

    `filters` are the user's own, which a sync must be given again.
    """
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("rows", rows(done.counts))
    for kind, counts in done.records.items():
        facts.add_row(kind, records(counts))
    if done.notes:
        facts.add_row("noted", notes(done.notes))
    if done.drift is not None and (changed := drift(done.drift)):
        facts.add_row("since then", changed)
    if not done.already_complete:
        facts.add_row("requests", requests(done.run))
        facts.add_row("speed", speed(done.run))
    elif done.target != "-":
        sync = ["harvester", "sync", done.target, *(word for path in filters for word in ("--filter", path))]
        facts.add_row("to keep it fresh", title(shlex.join(sync)))
    if done.target != "-":
        from harvester.output.target import open_target

        with suppress(HarvesterError):  # the export is complete, even if its store cannot be reached now
            for kind, shown in files(open_target(done.target)).items():
                facts.add_row(FILES[kind], shown)
    nothing = [Text(one_line(each.message), style="yellow") for each in done.nothing_left]
    return Group(head(done), *nothing, facts)


def head(done: "Summary") -> Text:
    """``✓ complete  Street scenes``."""
    failed = done.counts["failed"]
    mark, style = ("✗", "bold yellow") if failed else ("✓", "bold green")
    word = "complete, but for " + values.show_count(failed, "failed row") if failed else "complete"
    if done.already_complete:
        word = "already " + word
    elif done.resumed:
        word += ", resumed"
    return Text.assemble((f"{mark} {word}", style), "  ", title(done.project, "bold"))


def rows(counts: dict[str, int]) -> Text:
    """``2,000 listed = 1,900 harvested + 80 unlabelled + 20 filtered + 0 failed``."""
    ends = ("harvested", "unlabelled", "filtered", "failed")
    text = Text(f"{counts.get('listed', 0):,} listed = ")
    for i, name in enumerate(ends):
        number = counts.get(name, 0)
        style = "yellow" if name == "failed" and number else "" if number else "dim"
        text.append(" + " if i else "").append(f"{number:,} {name}", style=style)
    return text


def records(counts: dict[str, Any]) -> Text:
    """``38,000 written of 40,100 (2,100 dropped by shape)``."""
    written, seen = counts.get("written", 0), counts.get("seen", 0)
    text = Text(f"{written:,} written")
    dropped = ", ".join(
        f"{number:,} by {name}" for name, number in counts.get("dropped", {}).items() if number
    )
    if dropped:
        text.append(f" of {seen:,} (dropped {dropped})", style="dim")
    return text


def notes(counts: Mapping[str, int]) -> Text:
    """``3 stale, 1 listed twice``: notes on label rows that were harvested."""
    said = ", ".join(f"{number:,} {note.replace('_', ' ')}" for note, number in counts.items())
    return Text(said, style="yellow")


def drift(found: "Drift") -> Text | None:
    """``3 edited, 1 added on the server``; None if nothing changed."""
    changes = [
        f"{number:,} {what}"
        for number, what in ((found.edited, "edited"), (found.added, "added"), (found.removed, "removed"))
        if number
    ]
    return Text(", ".join(changes) + " on the server", style="yellow") if changes else None


def requests(run: Mapping[str, Any]) -> Text:
    """``107 · 0 refused · 0 retried``."""
    text = Text(f"{run['requests']:,}")
    for name, shown in (("refused", "refused"), ("retries", "retried")):
        text.append(f" · {run[name]:,} {shown}", style="" if run[name] else "dim")
    return text


def speed(run: Mapping[str, Any]) -> Text:
    """``2.2 s · 2,017 rows/s · 17.5 MB/s of labels · 8.0 MB received``, of this run only."""
    seconds = max(run["seconds"], 0.001)
    return joined(
        [
            values.show_duration(seconds),
            f"{run['harvested'] / seconds:,.0f} rows/s",
            f"{run['body_bytes'] / seconds / 1e6:.1f} MB/s of labels",
            f"{values.show_bytes(run['wire_bytes'])} received",
        ]
    )


def files(target: "Target") -> dict[str, Text]:
    """Return the files of `target` by kind: first and last name, number, size."""
    from harvester.output.layout import LISTING, parse_part

    shown, there = {}, target.names()
    for kind in FILES:
        found = [
            (name, size)
            for name, size in there
            if (name == LISTING if kind == "listing" else (part := parse_part(name)) and part.kind == kind)
        ]
        if not found:
            continue
        names = f"{target.name}/{found[0][0]}" + (f" … {found[-1][0]}" if len(found) > 1 else "")
        size = values.show_bytes(sum(size for _, size in found))
        shown[kind] = Text.assemble(
            title(names), (f"  {values.show_count(len(found), 'file')}, {size}", "dim")
        )
    return shown
