"""Drift: the frozen plan beside a later listing, against a comparison made in memory."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.labels.wire import PlanRow
from harvester.plan.drift import compared
from harvester.plan.order import Order, label_order, plan_order

ROWS = st.builds(
    PlanRow,
    dataset_hash=st.just("dataset"),
    data_title=st.sampled_from(("a", "b")),
    label_hash=st.sampled_from((None, "first", "second")),
    branch_name=st.sampled_from((None, "side")),
    data_hash=st.sampled_from(("0", "1", "2", "3")),
    last_edited_at=st.sampled_from((None, "later")),
    stage=st.sampled_from((None, "review")),
)
LISTINGS = st.lists(ROWS, unique_by=lambda row: (row.data_hash, row.branch_name or ""))


def version(row: PlanRow) -> object:
    return row.label_hash, row.last_edited_at


@pytest.mark.parametrize("order", [plan_order, label_order])
@given(LISTINGS, LISTINGS)
def test_compared_as_in_memory(order: Order, before: list[PlanRow], now: list[PlanRow]) -> None:
    """Rows are counted, named and settled by what they are, whatever their places in the order."""
    planned = sorted(before, key=order)
    olds = {(row.data_hash, row.branch_name): row for row in planned}
    news = {(row.data_hash, row.branch_name): row for row in now}
    edited = {unit for unit in olds.keys() & news.keys() if version(olds[unit]) != version(news[unit])}
    encode = msgspec.json.encode
    listed = map(encode, sorted(now, key=order))
    with compared(map(encode, planned), listed, order) as comparison:
        drift = comparison.drift()
        assert (drift.edited, drift.added, drift.removed) == (
            len(edited),
            len(news.keys() - olds.keys()),
            len(olds.keys() - news.keys()),
        )
        assert drift.named["edited"] == sorted(news[unit].label_hash or unit[0] for unit in edited)
        assert comparison.edited_parts(1) == {i for i, unit in enumerate(olds) if unit in edited}
        settled = [news[unit] if unit in edited else row for unit, row in olds.items()]
        assert list(comparison.settled(map(encode, planned))) == list(map(encode, settled))
