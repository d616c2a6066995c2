"""What a target holds: the project, selection and format. They may not change between runs."""

from collections.abc import Iterator

import msgspec

from harvester.errors import TargetRefused
from harvester.events import one_line
from harvester.output.canonical import canonical
from harvester.output.layout import (
    MANIFEST,
    OF_OTHERS,
    ONTOLOGY,
    PLAN_ROWS,
    PLAN_ROWS_SETTLED,
    STATE,
    parse_part,
)
from harvester.output.target import Target
from harvester.settings import Format, Selection


class Project(msgspec.Struct, frozen=True):
    """The project of an export."""

    hash: str
    title: str


class ExportSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The project, selection and format of an export. A target accepts only runs with the same."""

    project: Project
    selection: Selection
    format: Format

    @classmethod
    def of(cls, project_hash: str, title: str, selection: Selection, format: Format) -> "ExportSpec":
        """The spec of an export of the project with that hash and title."""
        return cls(project=Project(project_hash, title), selection=selection, format=format)


def check_spec(target: str, held: ExportSpec, wanted: ExportSpec) -> None:
    """Raise TargetRefused, naming the first difference, if `wanted` is not what the target holds."""
    holds = f"{one_line(target)} holds an export of project {_show(held.project.title)}"
    difference = None
    if held.project.hash != wanted.project.hash:
        difference = f" ({held.project.hash}), not of {_show(wanted.project.title)} ({wanted.project.hash})"
    elif setting := next(_differences(held, wanted), None):
        difference = " with {0}={1}, not {0}={2}".format(*setting)
    if difference:
        raise TargetRefused(f"{holds}{difference}; choose another directory")


def differs(held: ExportSpec, wanted: ExportSpec) -> bool:
    """Return whether the selection or the format differs."""
    return next(_differences(held, wanted), None) is not None


def check_unclaimed(target: Target) -> None:
    """Refuse a target that has output files but no plan: they are not of this export, and would be
    overwritten.

    An exception is the ontology of a run that was killed before it wrote the plan's header: then the file of
    the plan's rows exists.
    """
    begun = any(name in (PLAN_ROWS, PLAN_ROWS_SETTLED) for name, _ in target.names(STATE))
    for name, _ in target.names():
        if parse_part(name) or name in (MANIFEST, *OF_OTHERS) or (name == ONTOLOGY and not begun):
            raise TargetRefused(
                f"{one_line(target.name)} holds {name} but no plan that it belongs to; "
                "choose another directory"
            )


def _differences(held: ExportSpec, wanted: ExportSpec) -> Iterator[tuple[str, str, str]]:
    for ours, theirs in ((held.selection, wanted.selection), (held.format, wanted.format)):
        for field in ours.__struct_fields__:
            if canonical(getattr(ours, field)) != canonical(getattr(theirs, field)):
                yield field, _show(getattr(ours, field)), _show(getattr(theirs, field))


def _show(value: object) -> str:
    if value is None or value == ():
        return "(none)"
    if isinstance(value, tuple):
        return one_line(",".join(map(str, value)), limit=200)
    return one_line(str(value), limit=200)
