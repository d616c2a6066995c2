"""Units: what a label row says of its data units and spaces."""

import json
from typing import Any

import pytest

from harvester.schema import Kind
from harvester.settings import Format, Selection
from tests.labels.rows import Json, extract, flat, label, placed, records, row, unit

UNITS = Format(emit=("objects", "classifications", "units"))


def units(sent: Json, **how: Any) -> list[Json]:
    """The unit records of a row."""
    return records(extract(sent, **({"format": UNITS} | how)), "units")


@pytest.mark.parametrize("nothing", [0, 0.0, -1, None, "x"])
def test_a_size_of_zero_is_none(nothing: Any) -> None:
    """Pages and scenes have no size: the SDK writes 0 there, and reads none."""
    said = {"width": nothing, "height": nothing, "data_fps": nothing}
    space = {"space_type": "video", "labels": {}, **said}
    found = units(row("pdf", unit({"0": flat()}, **said), spaces={"s": space}))
    assert [(one["space_id"], one["width"], one["height"], one["fps"]) for one in found] == [
        (None, None, None, None),
        ("s", None, None, None),
    ]


def test_sizes_and_rates_are_as_sent() -> None:
    """A rate keeps its digits."""
    [found] = units(row("video", unit({}, width=640, height=480.0, data_fps=29.970)))
    assert (found["width"], found["height"], found["fps"]) == (640, 480, 29.97)
    sent = json.dumps(row("video", unit({}, data_fps=1))).replace('"data_fps": 1', '"data_fps": 29.970')
    assert b'"fps":29.970,' in bytes(extract(sent.encode(), format=UNITS).lines["units"])


@pytest.mark.parametrize(
    "kinds",
    [("units",), ("objects", "units"), ("classifications", "units"), ("objects", "classifications", "units")],
)
def test_the_units_of_a_row_are_the_same_whatever_else_is_written(kinds: tuple[Kind, ...]) -> None:
    """Channels and point clouds that only labels name are units, too."""
    word = {"featureHash": "word", "classifications": [], "spaces": {"/objects": {"range": [[1, 2]]}}}
    sent = row(
        "scene", unit({"lidar@1": flat(label())}), spaces={}, scene={"isContinuous": True},
        object_answers={"w1": word},
        classification_answers=placed(spaces={"/classifications": {"range": [[1, 2]]}}),
    )  # fmt: skip
    found = units(sent, format=Format(emit=kinds), selection=Selection(names=("Car",)))
    assert {one["space_id"] for one in found} == {None, "lidar@1", "/objects", "/classifications"}
    counts = [
        {one["space_id"]: one[kind] for one in found if one[kind]} for kind in ("objects", "classifications")
    ]
    assert counts == [{"lidar@1": 1} if "objects" in kinds else {}, {}]
    assert all(
        (one[kind] is None) == (kind not in kinds) for one in found for kind in ("objects", "classifications")
    )
