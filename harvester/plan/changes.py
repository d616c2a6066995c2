"""Finds what has changed between two listings, by merging two streams that are sorted by label row.

Only label rows in the selection count. A data unit without a label has no label row, and a row that is not
in the selection any more counts as removed.
"""

from collections.abc import Container, Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from harvester.labels.ontology_changes import ChangedNode
from harvester.labels.wire import PlanRow
from harvester.plan.order import label_order, side_by_side

What = Literal["added", "edited", "removed", "moved"]
WHATS: tuple[What, ...] = ("added", "edited", "removed", "moved")


_NO_ROW = PlanRow(dataset_hash="", data_title="", label_hash=None, branch_name=None, data_hash="")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the change feed. ``from_…`` is null for a row that was added, ``to_…`` for one removed.

    ``added``, ``edited``: the row's records stand in this generation; ``edited``, ``removed``: those of
    earlier generations are void. ``moved``: its stage or a status is another; its records stand where
    they are.
    """

    kind: Literal["change"] = "change"
    change: What
    label_hash: str
    branch_name: str | None
    data_hash: str
    data_title: str
    dataset_hash: str
    from_stage: str | None
    to_stage: str | None
    from_task_status: str | None
    to_task_status: str | None
    from_label_status: str | None
    to_label_status: str | None
    from_last_edited_at: str | None
    to_last_edited_at: str | None
    generation: int


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync was asked to do besides the usual.

    `keep_names`: do not fetch rows again because the ontology has changed. `refetch`: fetch all rows again
    (True), or those of these label hashes, though nothing says that they have changed.
    """

    keep_names: bool = False
    refetch: bool | tuple[str, ...] = False

    def __str__(self) -> str:
        words = ["--keep-names"] * self.keep_names + ["--refetch"] * bool(self.refetch)
        named = self.refetch if isinstance(self.refetch, tuple) else ()
        return (
            " ".join((*words, *(f"--label-hash {one}" for one in named)))
            or "neither --keep-names nor --refetch"
        )


class OntologyChange(msgspec.Struct, frozen=True, kw_only=True):
    """How the ontology has changed since the live records were made, as far as that shows in them.

    `nodes` are the first of what has changed, `more` counts those beyond. `rows` counts the label rows that
    hold some of it; None where live records cannot tell which rows these are, as `why` says: then it is all
    of them. `kept`: they are not fetched again, as the user has asked for.
    """

    nodes: list[ChangedNode]
    more: int
    rows: int | None
    why: str | None
    kept: bool

    def __str__(self) -> str:
        nodes = "; ".join(map(str, self.nodes)) + (f" and {self.more:,} more" if self.more else "")
        rows = "all rows" if self.rows is None else f"{self.rows:,} row{'s' if self.rows != 1 else ''}"
        fate = "left as they are" if self.kept else "fetched again"
        nodes = f"{nodes}: " if nodes else ""
        return f"{nodes}{rows} {fate}" + (f", as {self.why}" if self.why else "")


class Step(NamedTuple):
    """How one row changed: `wanted` if its label row must be fetched (again), and its lines of the feed.

    There are no lines if only its listing differs, or if it is no row of the export.
    """

    wanted: PlanRow | None
    changes: list[Change]


def _same_row(row: PlanRow) -> tuple[str, str, str, str, str]:
    """Return the identity of a row. Each label hash is listed once, so streams in `label_order` fit it."""
    return (row.label_hash, "", "", "", "") if row.label_hash else label_order(row)


def changes_between(
    before: Iterable[PlanRow],
    now: Iterable[PlanRow],
    *,
    generation: int,
    again: Container[str] = (),
    whole_rows: bool = False,
) -> Iterator[Step]:
    """Yield a step for each row that is listed differently, or that must be fetched again.

    Args:
        before, now: in the order of `label_order`.
        again: the label hashes of rows to fetch again even if they look unchanged.
        whole_rows: whether records contain the listing item, so that each change of it is an edit.
    """
    for old, new in side_by_side(before, now, _same_row):
        was = old if old and old.outcome is None else None
        remains = new if new and new.outcome is None else None
        asked_again = remains is not None and remains.label_hash in again
        whats = list(_whats(was, remains, asked_again, whole_rows))
        if whats or old != new:
            wanted = remains if {"added", "edited"} & set(whats) else None
            yield Step(wanted, [_change(what, was, remains, generation) for what in whats])


def _whats(was: PlanRow | None, remains: PlanRow | None, again: bool, whole_rows: bool) -> Iterator[What]:
    if was is None or remains is None:
        if remains:
            yield "added"
        if was:
            yield "removed"
        return
    moved = _place(was) != _place(remains)
    if again or _content(was) != _content(remains) or (whole_rows and was != remains):
        yield "edited"
    if moved:
        yield "moved"


def _content(row: PlanRow) -> tuple[object, ...]:
    """Return the fields that records show, or whose change means that records have changed."""
    return (
        row.last_edited_at,
        row.branch_name,
        row.data_title,
        row.data_type,
        row.data_hash,
        row.dataset_title,
        row.dataset_hash,
        row.width,
        row.height,
        row.number_of_frames,
        row.listed_twice,
    )


def _place(row: PlanRow) -> tuple[object, ...]:
    return row.stage, row.task_status, row.label_status


def _change(what: What, was: PlanRow | None, now: PlanRow | None, generation: int) -> Change:
    row = now or was
    assert row is not None
    assert row.label_hash is not None
    before, after = was or _NO_ROW, now or _NO_ROW
    return Change(
        change=what,
        label_hash=row.label_hash,
        branch_name=row.branch_name,
        data_hash=row.data_hash,
        data_title=row.data_title,
        dataset_hash=row.dataset_hash,
        from_stage=before.stage,
        to_stage=after.stage,
        from_task_status=before.task_status,
        to_task_status=after.task_status,
        from_label_status=before.label_status,
        to_label_status=after.label_status,
        from_last_edited_at=before.last_edited_at,
        to_last_edited_at=after.last_edited_at,
        generation=generation,
    )
