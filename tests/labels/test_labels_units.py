"""Units: what a label row says of its data units and spaces."""

import json
from typing import Any

import pytest

from harvester.settings import Format
from tests.labels.rows import Json, extract, flat, records, row, unit

UNITS = Format(emit=("objects", "classifications", "units"))


def units(sent: Json, **how: Any) -> list[Json]:
    """The unit records of a row."""
    return records(extract(sent, format=UNITS, **how), "units")


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
