"""A label row that is listed more than once comes once."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.labels.wire import PlanRow
from harvester.plan.changes import changes_between
from harvester.plan.drift import compared
from harvester.plan.order import Order, label_order, plan_order, rows_of
from harvester.plan.planned import plan_lines
from harvester.settings import Format, Selection

ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "data_hash": st.sampled_from(("d0", "d1", "d2")),
            "dataset_hash": st.sampled_from(("left", "right")),
            "data_title": st.sampled_from(("a", "b")),
            "label_hash": st.sampled_from((None, "", "l0", "l1", "l2")),
            "branch_name": st.sampled_from((None, "main", "side")),
        }
    ),
    max_size=12,
)
SELECTIONS = (Selection(), Selection(datasets=("right",)))


def planned(
    items: list[dict[str, Any]], selection: Selection = Selection(), order: Order = plan_order
) -> list[PlanRow]:
    listing = [[msgspec.Raw(msgspec.json.encode(item)) for item in items]]
    return list(rows_of(plan_lines(listing, selection, Format(), order=order)))


def by_hand(items: list[dict[str, Any]], selection: Selection) -> list[PlanRow]:
    """In memory: of the places of a label row the first in the order of the plan that is asked for."""
    rows = [planned([item], selection)[0] for item in items]
    labels = [row.label_hash for row in rows]
    unique = {plan_order(row): row for row in rows}
    kept = dict[object, PlanRow]()
    for key, row in sorted(unique.items(), key=lambda item: (item[1].outcome is not None, item[0])):
        twice = bool(row.label_hash) and labels.count(row.label_hash) > 1
        kept.setdefault(row.label_hash or key, msgspec.structs.replace(row, listed_twice=twice))
    return sorted(kept.values(), key=plan_order)


@pytest.mark.parametrize("selection", SELECTIONS)
@given(ITEMS)
def test_found_as_in_memory(selection: Selection, items: list[dict[str, Any]]) -> None:
    """Whatever is listed in which order: each label row once, marked where it was there twice; rows without
    a label are left alone. In the order of a sync the same rows come."""
    expected = by_hand(items, selection)
    assert planned(items, selection) == expected
    assert planned(items[::-1], selection) == expected
    assert planned(items, selection, label_order) == sorted(expected, key=label_order)


@given(ITEMS, ITEMS)
def test_changes_are_those_of_the_rows_that_count(
    before: list[dict[str, Any]], now: list[dict[str, Any]]
) -> None:
    """Applied to the rows of before, by label hash, the feed gives those of now."""
    old, new = (planned(items, order=label_order) for items in (before, now))
    there, wanted = ({row.label_hash: row for row in rows if row.outcome is None} for rows in (old, new))
    for step in changes_between(old, new, generation=1):
        for change in step.changes:
            key = change.label_hash
            if change.change in ("removed", "edited"):
                del there[key]
            if change.change in ("added", "edited"):
                assert key not in there
                assert step.wanted is not None
                there[key] = step.wanted
    assert there == wanted


@pytest.mark.parametrize("order", [plan_order, label_order])
@given(ITEMS)
def test_nothing_drifts_where_the_same_is_listed_again(order: Order, items: list[dict[str, Any]]) -> None:
    """In another order."""
    lines = [list(map(msgspec.json.encode, planned(each, order=order))) for each in (items, items[::-1])]
    with compared(*lines, order) as comparison:
        drift = comparison.drift()
    assert (drift.edited, drift.added, drift.removed) == (0, 0, 0)
