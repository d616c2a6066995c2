"""The rows of a plan: what they keep of the listing, whatever its types."""

import io
import json
from typing import Any

import pytest

from harvester.encord.listing import Spool
from harvester.labels.wire import PlanRow
from harvester.plan.order import rows_of
from harvester.plan.planned import plan_lines
from harvester.schema import LISTING_KEYS
from harvester.settings import Format, Selection

ITEM: dict[str, Any] = {
    "data_hash": "data", "dataset_hash": "dataset", "data_title": "a.mp4", "label_hash": "label",
    "branch_name": "main", "data_type": "VIDEO", "label_status": "LABELLED",
}  # fmt: skip


def planned(*items: bytes | dict[str, Any], selection: Selection = Selection()) -> list[PlanRow]:
    """The plan of a listing of these items."""
    sent = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    listing = Spool(io.BytesIO(b'{"status": 200, "response": [%b]}' % b",".join(sent)), "")
    return list(rows_of(plan_lines(listing, selection, Format())))


def test_a_row_has_the_keys_of_a_listing_line_first() -> None:
    """So the beginning of its JSON is the beginning of that line."""
    assert PlanRow.__struct_fields__[: len(LISTING_KEYS)] == LISTING_KEYS


def test_what_the_listing_says_of_a_data_unit_is_kept() -> None:
    """Dates and ids as sent, sizes as numbers."""
    [row] = planned(
        ITEM
        | {"created_at": "2024-01-01", "last_edited_at": "2024-01-02", "width": 1920, "height": 1080.0}
        | {"number_of_frames": "300", "backing_item_uuid": "item", "annotation_task_status": "COMPLETED"}
        | {"workflow_graph_node": {"uuid": "u", "title": "Review"}}
    )
    assert (row.created_at, row.last_edited_at) == ("2024-01-01", "2024-01-02")
    assert (row.width, row.height, row.number_of_frames) == (1920, 1080, 300)
    assert (row.backing_item_uuid, row.task_status, row.stage) == ("item", "COMPLETED", "Review")


@pytest.mark.parametrize("odd", [None, 0, -1, 1.5, 2**60, 2**70, "many", "", "9" * 5000, True, [1], {"a": 1}])
def test_an_odd_size_is_none_and_stops_nothing(odd: object) -> None:
    """What only describes a row may have any type."""
    described = ("width", "height", "number_of_frames", "created_at", "backing_item_uuid", "is_shadow_data")
    [row] = planned(ITEM | dict.fromkeys(described, odd))
    assert (row.width, row.height, row.number_of_frames) == (None, None, None)
    assert row.created_at == row.backing_item_uuid == (odd if isinstance(odd, str) else None)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'{"a": 1.50, "\xc3\xa9": "\\u00e9"}', '{"a": 1.50, "é": "\\u00e9"}'),
        (b'{"a":\r\n [1,\n2]}', '{"a":   [1, 2]}'),
        (b'{"a": "\\ud800"}', '{"a": "\\ufffd"}'),
        (b"12345678901234567890123", "12345678901234567890123"),
        (b"null", None),
    ],
)
def test_client_metadata_is_kept_as_sent_on_one_line_where_it_is_asked_for(
    sent: bytes, kept: str | None
) -> None:
    """As JSON text; what stands for no text is U+FFFD."""
    item = json.dumps(ITEM).encode()[:-1] + b', "client_metadata": %b}' % sent
    [row] = planned(item, selection=Selection(client_metadata=True))
    assert row.client_metadata == kept
    [row] = planned(item)
    assert row.client_metadata is None
