"""Split keys: what stays together, and what happens where it is not known."""

import json
from typing import Any

import pytest

from harvester.errors import BadInput
from harvester.labels.wire import PlanRow
from harvester.splitting.split_keys import SplitKeys


def _listed(number: int, **known: Any) -> PlanRow:
    metadata = known.pop("metadata", None)
    usual = {"data_hash": f"data {number}", "dataset_hash": f"dataset {number % 2}"}
    text = None if metadata is None else json.dumps(metadata)
    return PlanRow(f"label {number}", "main", **usual | {"client_metadata": text} | known)


def _keys(by: str, *rows: PlanRow) -> tuple[list[str], int]:
    """The keys of all rows, and how many were missing."""
    keys = SplitKeys(by)
    found = [keys.of(row) for row in rows]
    keys.check_found("out")
    assert keys.found + keys.missing == len(rows)
    return found, keys.missing


def test_branches_of_a_datum_stay_together() -> None:
    """They have one data hash, and other label hashes."""
    rows = _listed(1), _listed(2, data_hash="data 1")
    assert _keys("data", *rows) == (["data 1", "data 1"], 0)


def test_a_dataset_stays_together() -> None:
    """Where the dataset is not known, the datum goes alone."""
    rows = _listed(1), _listed(2), _listed(3), _listed(4, dataset_hash="")
    assert _keys("dataset", *rows) == (["dataset 1", "dataset 0", "dataset 1", "data 4"], 1)


def test_one_file_in_two_datasets_stays_together() -> None:
    """By the uuid of the item in the storage."""
    rows = _listed(1, backing_item_uuid="x"), _listed(2, backing_item_uuid="x"), _listed(3)
    assert _keys("item", *rows) == (["x", "x", "data 3"], 1)


def test_rows_with_the_same_metadata_stay_together() -> None:
    """Texts as they are, other values as JSON; null is missing; dots lead inside, unless the key has dots."""
    rows = [
        _listed(number, metadata=metadata)
        for number, metadata in enumerate(
            [{"site": "A"}, {"site": 1}, {"site": [1, {"b": 2, "a": 1}]}, {"site": None}, {}, [1], None]
        )
    ]
    expected = ["A", "1", '[1,{"a":1,"b":2}]', "data 3", "data 4", "data 5", "data 6"]
    assert _keys("metadata.site", *rows) == (expected, 4)
    nested = _listed(1, metadata={"a": {"b": "in"}}), _listed(2, metadata={"a.b": "flat", "a": {"b": "in"}})
    assert _keys("metadata.a.b", *nested) == (["in", "flat"], 0)
    assert _keys("metadata.a", _listed(1, client_metadata="{"), _listed(2, metadata={"a": 1})) == (
        ["data 1", "1"],
        1,
    )


@pytest.mark.parametrize(
    ("by", "metadata", "says"),
    [
        ("colour", None, "one of data, dataset, item or by metadata.KEY, not by 'colour'"),
        ("metadata.", None, "not by 'metadata.'"),
        ("item", None, "no label row of out has the item that it is of: split by data"),
        ("metadata.site", None, "out has no client metadata: export with --client-metadata"),
        ("metadata.site", {"Site": "A"}, "no label row of out has metadata.site: did you mean 'Site'?"),
        ("metadata.site", {"colour": "A"}, "no label row of out has metadata.site"),
    ],
)
def test_what_no_row_has_is_refused_in_one_line(by: str, metadata: Any, says: str) -> None:
    """With what to do instead."""
    with pytest.raises(BadInput) as refused:
        _keys(by, _listed(1, metadata=metadata))
    assert says in refused.value.message


def test_no_rows_have_no_keys() -> None:
    """An export without rows is no bad input."""
    assert _keys("item") == ([], 0)
