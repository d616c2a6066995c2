"""`plan`: forecast an export. Writes nothing."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import msgspec
import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.connect import connected
from harvester.cli.flags import CONNECTION, FORMAT, LIMITS, SCREEN, SELECTION, Project, takes
from harvester.cli.imports import find_users_filters
from harvester.cli.look import heading, said, words
from harvester.cli.screen import Screen
from harvester.schema import KINDS
from harvester.settings import Connection, Format, Limits, Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo

DEFAULT_SAMPLE = 100

Sample = Annotated[
    int,
    typer.Option(
        "--sample", metavar="NUMBER", min=0, max=100_000, show_default=False,
        help=f"Label rows to look at; 0: the listing only. [{DEFAULT_SAMPLE}]",
    ),
]  # fmt: skip
Explain = Annotated[bool, typer.Option("--explain", help="What each predicate leaves; lists once for each.")]


@takes(CONNECTION, SELECTION, FORMAT, LIMITS, SCREEN)
def plan(
    project: Project,
    *,
    sample: Sample = DEFAULT_SAMPLE,
    explain: Explain = False,
    connection: Connection,
    selection: Selection,
    format: Format,
    limits: Limits,
    screen: Screen,
) -> None:
    """Forecast an export: rows, requests, records, bytes and time, and which filter runs where."""
    from harvester.forecast.forecast import forecast
    from harvester.job import Job

    console = screen.listen()
    if selection.filters:
        find_users_filters()
    doing = console.status("looking at the project") if screen.live(console) else nullcontext()
    with doing, connected(connection) as session:
        info = session.find_project(project)

        job = Job(info, selection, format, limits)

        async def work() -> Any:
            return await forecast(session, job, sample=sample, explain=explain)

        found = msgspec.to_builtins(anyio.run(work))
    facts = found.pop("preview") | found
    if screen.json:
        on.put_json({"project": {"hash": info.project_hash, "title": info.title}, **rounded(facts)})
    else:
        on.show(plan_table(info, facts))


def rounded(fact: Any, name: str = "") -> Any:
    """Round estimates to whole numbers, times to milliseconds."""
    if isinstance(fact, Mapping):
        return {
            key: rounded(value, name if key in ("value", "low", "high") else key)
            for key, value in fact.items()
        }
    if isinstance(fact, list):
        return [rounded(item, name) for item in fact]
    if isinstance(fact, float) and name in ESTIMATED:
        return round(fact, 3) if name == "seconds" else round(fact)
    return fact


ESTIMATED = frozenset(
    ("requests", "label_bytes", "wire_bytes", "output_total", "seconds", "failed", "left")
) | frozenset(KINDS)


def plan_table(info: "ProjectInfo", facts: Mapping[str, Any]) -> RenderableType:
    """Return the tables: outcomes of rows that are not fetched, filters by place, and the forecast."""
    numbers = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    numbers.add_column("")
    numbers.add_column("", justify="right")
    places = Table.grid(padding=(0, 2))
    places.add_column("", no_wrap=True)
    places.add_column("", overflow="fold")
    for name, fact in facts.items():
        if name in ("prediction", "steps"):
            continue
        if not isinstance(fact, Mapping):
            numbers.add_row(words(name), on.title(said(fact), "bold"))
            continue
        places.add_row(Text(words(name), style="bold"), "" if fact else Text("nothing", style="dim"))
        for key, value in fact.items():
            places.add_row(Text.assemble("  ", words(key)), on.title(said(value)))
    shown: list[RenderableType] = [heading(info), "", numbers, ""]
    shown.append(steps_table(facts["steps"]) if facts.get("steps") else places)
    if facts.get("prediction"):
        shown += ["", prediction_table(facts["prediction"])]
    return Group(*shown)


def steps_table(steps: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return the table of predicates: where each runs, and how much it leaves."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("runs in", "predicate", "", "leaves", "95 % between"):
        table.add_column(
            name, justify="right" if name in ("leaves", "95 % between") else "left", overflow="fold"
        )
    before = None
    for step in steps:
        group = step["where"], step["of"]
        if before not in (None, group):
            table.add_section()
        left, sure = step["left"], step["left"]["low"] == step["left"]["high"]
        table.add_row(
            ""
            if group == before
            else {"server": "the list call", "listing": "the listing"}.get(group[0], "records"),
            words(step["predicate"]),
            "" if step["value"] is None else on.title(said(step["value"])),
            Text(f"{left['value']:,.0f} {step['of']}", style="bold"),
            "" if sure else Text(between(left, count), style="dim"),
        )
        before = group
    return table


def prediction_table(found: Mapping[str, Any]) -> RenderableType:
    """Return the table of the forecast: estimates and their intervals."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("an export will take", no_wrap=True)
    table.add_column("about", justify="right", no_wrap=True, style="bold")
    table.add_column("likely between", justify="right", no_wrap=True, style="dim")
    lines: list[tuple[str, Any, Any]] = [
        ("requests", found["requests"], count),
        ("label rows, as JSON", found["label_bytes"], values.show_bytes),
        ("over the network", found["wire_bytes"], values.show_bytes),
        *((kind, estimate, count) for kind, estimate in found["records"].items()),
        ("on disk", found["output_total"], values.show_bytes),
        ("time", found["seconds"], values.show_duration),
    ]
    if found["failed_in_sample"]:
        lines.append(("failed rows", found["failed"], count))
    for name, estimate, show in lines:
        if estimate is not None:
            table.add_row(name, show(estimate["value"]), between(estimate, show))
    looked = values.show_count(found["sampled"], "label row")
    notes = [f"from {looked} fetched just now; --sample 0 fetches none"]
    notes += [f"the time holds if {assumption}" for assumption in found["assumptions"]]
    return Group(table, *(Text(note, style="dim") for note in notes))


def count(number: float) -> str:
    return f"{number:,.0f}"


def between(estimate: Mapping[str, float], show: Any) -> str:
    low, high = show(estimate["low"]), show(estimate["high"])
    return "exactly" if low == high else f"{low} - {high}"
