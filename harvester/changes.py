"""What has changed between two listings: a merge of two streams that are sorted by label row.

Only label rows that the selection takes count: a data unit without a label has none, and a row that
leaves the selection is removed as far as an export is concerned.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from harvester.labels.wire import PlanRow
from harvester.plan import side_by_side

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


class Step(NamedTuple):
    """What became of one row: `wanted` if its label row must be asked for (again), and the feed's lines."""

    wanted: PlanRow | None
    changes: list[Change]


def label_order(row: PlanRow) -> tuple[str, str, str, str, str]:
    """What both listings are sorted by: label hash first. The places of one label row are in a plan's order.

    Dataset, title, branch and data tell rows without a label apart.
    """
    return (row.label_hash or "", row.dataset_hash, row.data_title, row.branch_name or "", row.data_hash)


def _same_row(row: PlanRow) -> tuple[str, str, str, str, str]:
    """What says that two rows are the same. A listing has each label hash once, so `label_order` fits it."""
    return (row.label_hash, "", "", "", "") if row.label_hash else label_order(row)


def changes_between(
    before: Iterable[PlanRow],
    now: Iterable[PlanRow],
    *,
    generation: int,
    failed: Iterable[str] = (),
    whole_rows: bool = False,
) -> Iterator[Step]:
    """A step for each label row that is not as it was; those that are have none.

    Args:
        before, now: in the order of `label_order`.
        failed: sorted; the label hashes of rows that could not be had before: they are asked for again.
        whole_rows: whether the records hold the listing itself, so that each change of it edits them.
    """
    failures = _Sorted(failed)
    for old, new in _pairs(before, now):
        again = new is not None and bool(new.label_hash) and new.label_hash in failures
        was = old if old and old.outcome is None else None
        remains = new if new and new.outcome is None else None
        whats = list(_whats(was, remains, again, whole_rows))
        if whats:
            wanted = remains if {"added", "edited"} & set(whats) else None
            yield Step(wanted, [_change(what, was, remains, generation) for what in whats])


def _pairs(
    before: Iterable[PlanRow], now: Iterable[PlanRow]
) -> Iterator[tuple[PlanRow | None, PlanRow | None]]:
    for old, new in side_by_side(before, now, _same_row):
        if old is not None and new is not None and old.branch_name != new.branch_name:
            yield old, None  # records are known by label hash and branch
            yield None, new
        else:
            yield old, new


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
    """What shows in a row's records, or says that they have changed."""
    return (
        row.last_edited_at,
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


class _Sorted:
    """A sorted stream that is asked for texts in ascending order."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = iter(texts)
        self._next = next(self._texts, None)

    def __contains__(self, text: object) -> bool:
        assert isinstance(text, str)
        while self._next is not None and self._next < text:
            self._next = next(self._texts, None)
        return self._next == text
