"""`verify`: check an export against its manifest, and on request against the server."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harvester.cli import screen as on
from harvester.cli import values
from harvester.cli.connect import connected
from harvester.cli.flags import CONNECTION, SCREEN, takes
from harvester.cli.screen import Screen
from harvester.cli.summary import drift as shown_drift
from harvester.errors import BadInput
from harvester.events import one_line, say
from harvester.settings import Connection

if TYPE_CHECKING:
    from harvester.output.target import Target
    from harvester.output.verify import Report
    from harvester.plan.drift import Drift

SHOWN = 20  # problems, and rows of each kind, on the terminal; --json has all
UNSOUND = 3

Directory = Annotated[str, typer.Argument(metavar="DIR", help="Directory or address of an export.")]
Verified = Annotated[
    str,
    typer.Argument(metavar="DIR", help="Directory or address of an export, of its media, or of a data set."),
]
Server = Annotated[
    bool, typer.Option("--server", help="List again: which rows were edited, added, removed since.")
]


@takes(CONNECTION, SCREEN)
def verify(directory: Verified, *, server: Server = False, connection: Connection, screen: Screen) -> None:
    """Check an export or a data set: all files there, every byte as written, every row. Exit 3 if not."""
    from harvester.datasets.conversion import is_data_set, verify_conversion
    from harvester.output.target import open_target

    console = screen.listen()
    data_set = is_data_set(directory)
    if data_set and server:
        raise BadInput("--server is for an export: a data set has no plan to compare with the server")
    report = verify_conversion(directory) if data_set else _check(open_target(directory))
    drift = _drift(directory, connection) if server else None
    if screen.json:
        facts = {"target": str(directory), "ok": report.ok, "problems": report.problems}
        on.put_summary(facts | ({"drift": drift} if server else {}))
    elif not screen.quiet:
        if report.ok:
            mark = Text.assemble(("✓ sound", "bold green"), "  ", on.title(str(directory), "bold"))
            console.print(mark, soft_wrap=True)
        if drift is not None:
            console.print(shown_drift(drift) or Text("nothing has changed on the server since"))
            for what, names in drift.named.items():
                for name in names[:SHOWN]:
                    console.print(Text.assemble("  ", (f"{what:8}", "dim"), on.title(name)), soft_wrap=True)
    if not report.ok:
        for problem in report.problems[:SHOWN] if not screen.json else ():
            console.print(Text.assemble("  ", on.title(str(problem))), soft_wrap=True)
        found = values.show_count(len(report.problems), "problem")
        said = one_line(f"harvester: {directory}: {found}; {report.advice}")
        console.print(Text(said), soft_wrap=True)
        raise typer.Exit(UNSOUND)


def _check(target: "Target") -> "Report":
    """Check an export with its media, or a folder of media."""
    from harvester.media.checking import has_media, media_problems
    from harvester.media.media_job import MEDIA_FOLDER
    from harvester.output.layout import MANIFEST
    from harvester.output.verify import Report, verify

    if has_media(target) and target.read(MANIFEST) is None:
        return Report(list(media_problems(target)))
    report = verify(target)
    media = target.within(MEDIA_FOLDER)
    if has_media(media):
        report.problems += media_problems(media, f"{MEDIA_FOLDER}/")
    return report


def _drift(directory: str, connection: Connection) -> "Drift":
    """Return what has changed on the server since the last listing, of the export or of a sync."""
    from harvester.output import planfile
    from harvester.output.generations import last_listing
    from harvester.output.listing_file import order_of
    from harvester.output.target import open_target
    from harvester.plan.drift import compared
    from harvester.plan.listing_filter import ListingFilter
    from harvester.plan.planned import plan_lines

    target = open_target(directory)
    folder, header = last_listing(target)
    if header is None:
        raise BadInput(one_line(f"{directory} has no plan that could be compared with the server"))
    with connected(connection) as session:
        project = session.find_project(header.project.hash)
        order = order_of(header)
        decide = ListingFilter(header.selection)
        with session.listing(project, header.selection, header.format) as listing:
            listed = plan_lines(listing, header.selection, header.format, order=order, decide=decide)
            with compared(planfile.lines(folder, header), listed, order) as comparison:
                decide.report(say)
                return comparison.drift()
