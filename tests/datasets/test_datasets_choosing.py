"""The filters of a conversion meet records that an export without them has taken as they came."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harvester.datasets.convert import convert
from harvester.settings import Selection
from tests.datasets.exports import exported, lines_of, records_of
from tests.sync.worlds import LiveWorld


class OddWorld(LiveWorld):
    """Some objects have a confidence that is true, and some one beyond a double."""

    def row(self, label_hash: str) -> bytes | None:
        """A row as the server sends it."""
        row = super().row(label_hash)
        if row is None:
            return None
        row = row.replace(b'"confidence":1.0', b'"confidence":true', 1)
        return row.replace(b'"confidence":1.0', b'"confidence":1e400', 1)


@pytest.mark.parametrize(
    ("to", "options"), [("coco", {}), ("yolo", {"task": "obb"}), ("masks", {}), ("parquet", {})]
)
def test_what_a_filter_cannot_read_is_left_out_and_counted(
    tmp_path: Path, to: str, options: dict[str, Any]
) -> None:
    """By a reason of its own, whatever the format; the others are chosen as ever."""
    target = exported(tmp_path / "out", OddWorld(rows=30))
    lines = list(lines_of(target, "objects"))
    odd = sum(any(text in line for text in (b'"confidence":true', b'"confidence":1e400')) for line in lines)
    assert odd
    selection = Selection(min_confidence=0.0)
    done = convert(target, tmp_path / "set", to=to, selection=selection, **options)
    assert done.records["objects"].left_out["unreadable"] == odd
    assert done.records["objects"].read == len(lines)


def test_a_shape_that_is_not_asked_for_and_one_that_a_task_does_not_have_are_counted_apart(
    tmp_path: Path,
) -> None:
    """What the user has left out and what the format has left out are two reasons."""
    target = exported(tmp_path / "out", LiveWorld(rows=20, mix="image", odd=False))
    selection = Selection(shapes=("polygon", "bounding_box"))
    done = convert(target, tmp_path / "set", to="yolo", task="obb", selection=selection)
    shapes = Counter(record["shape"] for record in records_of(target, "objects"))
    others = shapes.total() - shapes["polygon"] - shapes["bounding_box"]
    assert done.records["objects"].left_out == {"shape": others, "other_shape": shapes["polygon"]}


class TwiceWorld(LiveWorld):
    """Two label rows are of the same image, whose title ends otherwise in the second one."""

    def row(self, label_hash: str) -> bytes | None:
        """A row as the server sends it."""
        row = super().row(label_hash)
        first, second = self.items()
        if row is None or label_hash == first["label_hash"]:
            return row
        row = row.replace(second["data_hash"].encode(), first["data_hash"].encode())
        return row.replace(second["data_title"].encode(), f"{first['data_title']}.tiff".encode())


@pytest.mark.parametrize("to", ["coco", "yolo", "masks"])
def test_an_image_with_two_titles_is_one_image(tmp_path: Path, to: str) -> None:
    """Its labels or its mask would have the same name: the second one is left out with its objects."""
    target = exported(tmp_path / "out", TwiceWorld(2, mix="image", odd=False, branches=(), unlabelled=0))
    done = convert(target, tmp_path / "set", to=to)
    assert (done.records["units"].written, done.records["units"].left_out) == (1, {"image_twice": 1})
    assert done.tables["splits"]["all"]["images"] == 1
