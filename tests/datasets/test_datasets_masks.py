"""Masks: a PNG of ids for each image, with a table, and nothing dropped silently."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harvester.datasets.conversion import Conversion
from harvester.datasets.convert import convert
from harvester.datasets.figures import figure
from harvester.datasets.painting import pixels_of
from harvester.errors import BadInput
from tests.datasets.exports import exported, files_in, records_of
from tests.datasets.image_exports import pictures_of
from tests.sync.worlds import LiveWorld

AREAS = {"polygon", "bitmask", "circle", "ellipse"}
BOXES = {"bounding_box", "rotatable_bounding_box"}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with every data type and shape."""
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=70, branches=()))


def _ids(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    return {
        name: np.array(Image.open(io.BytesIO(data))) for name, data in files.items() if name.endswith(".png")
    }


def _classes(files: dict[str, bytes]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(files["classes.json"])
    return found


def _mask(picture: Any) -> str:
    return f"masks/{picture.name.removesuffix(picture.ending)}.png"


def _painted(export: Path, shapes: set[str]) -> dict[str, list[tuple[Any, np.ndarray]]]:
    """For each mask, the objects of these shapes and their pixels, without any of them off the image."""
    found: dict[str, list[tuple[Any, np.ndarray]]] = {}
    for picture in pictures_of(export):
        here = found.setdefault(_mask(picture), [])
        for one in picture.objects:
            width, height = picture.width or 0, picture.height or 0
            shape = figure(one.shape, one.geometry(), width, height)
            spans = pixels_of(shape, width, height, boxes=True) if one.shape in shapes else None
            if spans is not None and spans.area:
                here.append((one, spans.pixels().astype(bool)))
    return found


def _adds_up(done: Conversion) -> None:
    for counts in done.records.values():
        assert counts.read == counts.written + sum(counts.left_out.values())
    shapes = done.tables["shapes"].values()
    assert sum(cells.get("painted", 0) for cells in shapes) == done.records["objects"].written
    assert sum(sum(cells.values()) for cells in shapes) == done.records["objects"].read


def test_semantic_masks_have_the_class_of_the_last_object_on_each_pixel(export: Path, tmp_path: Path) -> None:
    """One for each image, with a table of the classes in ontology order, from 1, with their colours."""
    done = convert(export, tmp_path / "set", to="masks")
    files = files_in(tmp_path / "set")
    _adds_up(done)
    ontology = json.loads((export / "ontology.json").read_bytes())
    seen = [one for one in ontology["objects"] if one["shape"] not in ("audio", "text")]
    assert _classes(files) == [
        {"id": number, "name": one["name"], "color": one["color"], "feature_hashes": [one["featureNodeHash"]]}
        for number, one in enumerate(seen, 1)
    ]
    number_of = {one["featureNodeHash"]: number for number, one in enumerate(seen, 1)}
    expected = _painted(export, AREAS)
    ids = _ids(files)
    assert ids.keys() == expected.keys()
    for name, objects in expected.items():
        right = np.zeros_like(ids[name])
        for one, pixels in objects:
            right[pixels] = number_of[one.feature_hash]
        assert (ids[name] == right).all()
    assert done.records["objects"].written == sum(map(len, expected.values())) > 20


def test_instance_masks_have_a_number_for_each_object(export: Path, tmp_path: Path) -> None:
    """And a list that says which it is, also of objects that others hide; boxes where they are asked for."""
    done = convert(export, tmp_path / "set", to="masks", task="instance", boxes=True)
    files = files_in(tmp_path / "set")
    _adds_up(done)
    expected = _painted(export, AREAS | BOXES)
    lines = [json.loads(line) for line in files["instances.ndjson"].splitlines()]
    hashes = [
        (name, at, one.object_hash)
        for name, found in expected.items()
        for at, (one, _) in enumerate(found, 1)
    ]
    assert [(line["file"], line["id"], line["object_hash"]) for line in lines] == hashes
    names = {one["id"]: one["name"] for one in _classes(files)}
    assert all(names[line["class_id"]] == line["class_name"] for line in lines)
    over, covered = 0, 0
    for name, ids in _ids(files).items():
        right = np.zeros_like(ids)
        for number, (_, pixels) in enumerate(expected[name], 1):
            below = int(np.count_nonzero(right[pixels]))
            over, covered = over + (below > 0), covered + below
            right[pixels] = number
        assert (ids == right).all()
    assert over > 0
    assert (done.remarks["objects_over_others"], done.remarks["pixels_painted_over"]) == (over, covered)


def test_the_same_export_gives_the_same_bytes(export: Path, tmp_path: Path) -> None:
    """PNGs too."""
    for name in ("one", "two"):
        convert(export, tmp_path / name, to="masks", split="train=0.5,val=0.5", include_unlabelled=True)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    folders = Counter(path.parent.parent.name for path in (tmp_path / "one/masks").rglob("*.png"))
    assert {"train", "val"} <= folders.keys()


def test_what_is_no_area_is_counted_by_shape(export: Path, tmp_path: Path) -> None:
    """Lines and points, and boxes where they are not asked for."""
    done = convert(export, tmp_path / "set", to="masks")
    shapes = Counter(one["shape"] for one in records_of(export, "objects"))
    for shape in ("polyline", "point", "skeleton", "cuboid_2d", *BOXES):
        cells = done.tables["shapes"][shape]
        assert cells["left_out_other_shape"] + cells.get("left_out_no_image", 0) == shapes[shape]
    assert done.records["units"].left_out["no_image"] > 0


def test_many_objects_need_16_bits(tmp_path: Path) -> None:
    """An image with more than 255 objects."""
    world = LiveWorld(
        rows=1, mix=("image",), objects_per_row=300, shapes=("ellipse",), branches=(), unlabelled=0
    )
    export = exported(tmp_path / "out", world)
    done = convert(export, tmp_path / "set", to="masks", task="instance")
    (ids,) = _ids(files_in(tmp_path / "set")).values()
    assert ids.dtype.itemsize > 1
    assert ids.max() == done.records["objects"].written > 255


def test_classes_are_ordered_and_left_out_as_a_file_says(export: Path, tmp_path: Path) -> None:
    """Merged classes have the colour of the first."""
    file = tmp_path / "classes.txt"
    file.write_text("Round = Wheel, Manhole\nRoad\n")
    done = convert(export, tmp_path / "set", to="masks", classes=file)
    _adds_up(done)
    files = files_in(tmp_path / "set")
    assert [one["name"] for one in _classes(files)] == ["Round", "Road"]
    assert len(_classes(files)[0]["feature_hashes"]) == 2
    assert set().union(*(np.flatnonzero(np.bincount(ids.ravel())) for ids in _ids(files).values())) == {
        0,
        1,
        2,
    }
    assert done.records["objects"].left_out["class"] > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "detect"}, "tasks semantic and instance, not 'detect'"),
        ({"split": "a=0.5"}, "add up to 0.5"),
        ({"media": Path("media")}, "--to masks does not take --media"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    export: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    """And nothing is left behind."""
    with pytest.raises(BadInput) as refused:
        convert(export, tmp_path / "set", to="masks", **options)
    assert says in refused.value.message
    assert list(tmp_path.iterdir()) == []
