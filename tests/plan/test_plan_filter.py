"""Each listed row is held against what the server was asked for."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from harvester.cli.flags import SELECTION
from harvester.labels.wire import ListedRow
from harvester.plan.listing_filter import FLAGS, ListingFilter, as_listed
from harvester.plan.planned import planner
from harvester.settings import Format, Selection

RAW = msgspec.Raw(b"{}")
ROW: dict[str, Any] = {
    "data_hash": "data", "dataset_hash": "dataset", "data_title": "Street 1.jpg", "label_hash": "label",
    "branch_name": "main", "annotation_task_status": "COMPLETED", "is_shadow_data": False,
    "workflow_graph_node": {"uuid": "u", "title": "Review"}, "last_edited_at": "2024-03-01 12:00:00",
}  # fmt: skip
# A predicate, what the listing says that matches it, and what it says that does not.
EXACT: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"task_statuses": "COMPLETED"}, {}, {"annotation_task_status": "QUEUED"}),
    ({"workflow_graph_node_title_eq": "Review"}, {}, {"workflow_graph_node": {"title": "Complete"}}),
    ({"data_title_eq": "Street 1.jpg"}, {}, {"data_title": "street 1.jpg"}),
    ({"data_hashes": "data"}, {}, {"data_hash": "other"}),
    ({"label_hashes": "label"}, {}, {"label_hash": "other"}),
    ({"branch_name": "main"}, {}, {"branch_name": "side"}),
    ({"shadow_data_state": "SHADOW_DATA"}, {"is_shadow_data": True}, {"is_shadow_data": False}),
    ({"shadow_data_state": "NOT_SHADOW_DATA"}, {"is_shadow_data": False}, {"is_shadow_data": True}),
]
LOOSE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"edited_before": "2024-03-01T12:00:00"}, {}, {"last_edited_at": "2024-03-01 12:00:01"}),
    ({"edited_before": "2024-03-02"}, {}, {"last_edited_at": "Sat, 02 Mar 2024 14:12:03 UTC"}),
    ({"edited_after": "2024-03-01T12:00:00.7"}, {}, {"last_edited_at": "2024-03-01T11:59:59.9+00:00"}),
    ({"data_title_like": "STREET%.jp_"}, {}, {"data_title": "avenue.jpg"}),
    ({"data_title_like": r"Street\_1%"}, {"data_title": "street_1"}, {"data_title": "street 2"}),
    ({"workflow_graph_node_title_like": "rev%"}, {}, {"workflow_graph_node": {"title": "Complete"}}),
]
NULL = {
    "data_title": None, "label_hash": None, "branch_name": None, "annotation_task_status": None,
    "is_shadow_data": None, "workflow_graph_node": None, "last_edited_at": None,
}  # fmt: skip


def listed(**changes: Any) -> ListedRow:
    return msgspec.convert(ROW | changes, ListedRow)


def reported(decide: ListingFilter) -> list[tuple[str, dict[str, Any]]]:
    events = list[tuple[str, dict[str, Any]]]()

    def on_event(event: str, fields: Mapping[str, Any]) -> None:
        events.append((event, dict(fields)))

    decide.report(on_event)
    return events


@pytest.mark.parametrize(("wanted", "like", "unlike"), EXACT)
def test_a_row_that_was_not_asked_for_is_filtered(
    wanted: dict[str, Any], like: dict[str, Any], unlike: dict[str, Any]
) -> None:
    """What matches stays, and so does what says nothing; the flag that was ignored is named, once."""
    decide = ListingFilter(Selection(**wanted))
    assert decide(listed(**like)) is None
    assert decide(listed(**(NULL | ({"data_hash": "data"})))) == "unlabelled"
    assert reported(decide) == []
    assert [decide(listed(**unlike)) for _ in range(3)] == ["filtered"] * 3
    [field] = wanted
    assert reported(decide) == [("listing.filter_ignored", {"flag": FLAGS[field], "rows": 3})]


@pytest.mark.parametrize(("wanted", "like", "unlike"), LOOSE)
def test_a_row_that_contradicts_a_date_or_pattern_stays_and_is_counted(
    wanted: dict[str, Any], like: dict[str, Any], unlike: dict[str, Any]
) -> None:
    """Their meaning is the server's: in case and escapes any reading will do, dates are cut to seconds."""
    decide = ListingFilter(Selection(**wanted))
    assert decide(listed(**like)) is None
    assert decide(listed(**NULL)) == "unlabelled"
    assert reported(decide) == []
    assert decide(listed(**unlike)) is None
    [field] = wanted
    assert reported(decide) == [("listing.filter_contradicted", {"flag": FLAGS[field], "rows": 1})]


def test_every_filter_that_was_ignored_is_named() -> None:
    """A row that two of them rule out is counted for both."""
    decide = ListingFilter(Selection(task_statuses=("QUEUED",), data_hashes=("other",), branch_name="main"))
    assert decide(listed()) == "filtered"
    assert {fields["flag"] for _, fields in reported(decide)} == {"--task-status", "--data-hash"}


def test_a_pattern_of_many_wildcards_takes_no_time() -> None:
    """However long the title."""
    decide = ListingFilter(Selection(data_title_like="%a" * 30 + "%b"))
    assert decide(listed(data_title="a" * 20_000)) is None
    assert [event for event, _ in reported(decide)] == ["listing.filter_contradicted"]


def test_flags_are_spelt_as_the_command_line_has_them() -> None:
    """Every field of a selection has its flag."""
    assert {flag.field: flag.spelt for flag in SELECTION.flags} == FLAGS
    assert set(FLAGS) == set(Selection.__struct_fields__)


def test_the_last_predicate_that_ruled_out_a_row_is_named() -> None:
    """With the number of rows that those before it had left; of rows of a plan as of listed ones."""
    decide = ListingFilter(Selection(task_statuses=("COMPLETED",), data_types=("image",), datasets=("d",)))
    assert decide.last() is None
    for changes in ({"annotation_task_status": "QUEUED"}, {"data_type": "VIDEO"}, {"data_type": "IMAGE"}):
        assert decide(listed(**changes)) == "filtered"
    assert decide.last() == ("datasets", 1)
    assert decide(listed(data_type="IMAGE", dataset_hash="d")) is None
    assert decide.last() == ("datasets", 1)


@pytest.mark.parametrize(("wanted", "like", "unlike"), [case for case in EXACT if "shadow" not in str(case)])
def test_a_row_of_a_plan_is_ruled_out_as_it_was_when_listed(
    wanted: dict[str, Any], like: dict[str, Any], unlike: dict[str, Any]
) -> None:
    """So that a run which finds the plan there can say the same."""
    plan = planner(Selection(), Format(), lambda row: None)
    for changes in (like, unlike):
        row = listed(**changes)
        decisions = [ListingFilter(Selection(**wanted)) for _ in range(2)]
        said = [decide(one) for decide, one in zip(decisions, (row, as_listed(plan(row, RAW))), strict=True)]
        assert said[0] == said[1]
        assert decisions[0].last() == decisions[1].last()
