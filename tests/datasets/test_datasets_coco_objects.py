"""What becomes of each object in a COCO file, and that none stops it."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.datasets.coco_quick import QUICK
from harvester.datasets.coco_shapes import BY_FORM
from harvester.datasets.figures import figure, read_geometry
from harvester.datasets.geometry import NoGeometry, Reason
from harvester.datasets.rle import CocoMask, read_coco
from tests.datasets.coco_kit import (
    CLASSES,
    HEIGHT,
    ONTOLOGY,
    WIDTH,
    Json,
    answer,
    only,
    placed,
    unit,
    written,
)

SQUARE = [0.1, 0.1, 0.4, 0.1, 0.4, 0.4, 0.1, 0.4]
HOLE = [0.2, 0.2, 0.3, 0.2, 0.3, 0.3, 0.2, 0.3]
OTHER = [0.6, 0.6, 0.8, 0.6, 0.8, 0.8]


def _near(one: object, other: object) -> bool:
    return bool(one == pytest.approx(other, abs=1e-6))


def _pixels(ring: list[float]) -> list[float]:
    return [share * (HEIGHT if at % 2 else WIDTH) for at, share in enumerate(ring)]


def _of_shape(name: str) -> Json:
    return next(one for one in ONTOLOGY["objects"] if one["shape"] == name)


def test_a_box(tmp_path: Path) -> None:
    """With its corners as segmentation; `iscrowd` is 0, as COCOeval leaves others out."""
    sent = {"manualAnnotation": True, "boundingBox": {"x": 0.25, "y": 0.5, "w": 0.5, "h": 0.25}}
    assert only(tmp_path, placed("bounding_box", sent)) == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [160, 180, 320, 90],
        "area": 28800,
        "segmentation": [[160, 180, 480, 180, 480, 270, 160, 270]],
        "iscrowd": 0,
        "track_id": 1,
        "attributes": {"track_id": 1, "encord_track_uuid": "object", "manual_annotation": True},
    }


def test_a_rotated_box(tmp_path: Path) -> None:
    """Its corners, their extent, and the box before it was turned, in pixels."""
    sent = {"rotatableBoundingBox": {"x": 0.25, "y": 0.25, "w": 0.25, "h": 0.5, "theta": 90}}
    found = only(tmp_path, placed("rotatable_bounding_box", sent))
    assert _near(found["bbox"], [150, 100, 180, 160])
    assert _near(found["segmentation"][0], [330, 100, 330, 260, 150, 260, 150, 100])
    assert _near(found["area"], 160 * 180)
    assert found["attributes"]["rotated_box"] == {"x": 160, "y": 90, "w": 160, "h": 180, "theta": 90}


def test_a_polygon_of_several_parts_keeps_its_rings(tmp_path: Path) -> None:
    """With the area of all, and the extent of all."""
    found = only(tmp_path, placed("polygon", {"polygons": [[SQUARE], [OTHER]]}))
    assert _near(found["segmentation"][0], _pixels(SQUARE))
    assert _near(found["segmentation"][1], _pixels(OTHER))
    assert _near(found["area"], (0.3 * 0.3 + 0.2 * 0.2 / 2) * WIDTH * HEIGHT)
    assert _near(found["bbox"], [64, 36, 0.7 * WIDTH, 0.7 * HEIGHT])
    assert found["iscrowd"] == 0


def test_a_polygon_with_a_hole_is_drawn(tmp_path: Path) -> None:
    """As run lengths, since COCO's polygons have no holes; the box is the extent of its rings."""
    found = only(tmp_path, placed("polygon", {"polygons": [[SQUARE, HOLE]]}))
    mask = read_coco(CocoMask((HEIGHT, WIDTH), found["segmentation"]["counts"])).pixels()
    assert found["segmentation"]["size"] == [HEIGHT, WIDTH]
    assert (mask[80, 100], mask[90, 160], mask[10, 10]) == (1, 0, 0)
    assert found["area"] == mask.sum() == pytest.approx(0.08 * WIDTH * HEIGHT, rel=0.02)
    assert _near(found["bbox"], [64, 36, 0.3 * WIDTH, 0.3 * HEIGHT])
    assert found["iscrowd"] == 0


def test_a_bitmask_is_placed_on_its_image(tmp_path: Path) -> None:
    """Four pixels of a frame of 2 x 3, at 10, 20."""
    sent = {"bitmask": {"left": 10, "top": 20, "width": 2, "height": 3, "rleString": "14N1"}}
    counts = [1, 4, 1]
    text = "".join(chr(48 + number) for number in counts)
    sent["bitmask"]["rleString"] = text
    found = only(tmp_path, placed("bitmask", sent))
    mask = read_coco(CocoMask((HEIGHT, WIDTH), found["segmentation"]["counts"])).pixels()
    assert found["segmentation"]["size"] == [HEIGHT, WIDTH]
    assert mask[20:23, 10:12].tolist() == [[0, 1], [1, 1], [1, 0]]
    assert (found["area"], found["bbox"], found["iscrowd"]) == (4, [10, 20, 2, 3], 0)


def test_lines_points_and_curves_are_said_as_far_as_coco_can(tmp_path: Path) -> None:
    """A line there and back, a point three times, a curve as a polygon, a cuboid as front and back."""
    line = only(tmp_path, placed("polyline", {"polyline": [{"x": 0, "y": 0}, {"x": 0.5, "y": 0.5}]}))
    assert (line["segmentation"], line["area"]) == ([[0, 0, 320, 180, 320, 180, 0, 0]], 0)
    assert line["bbox"] == [0, 0, 320, 180]
    point = only(tmp_path, placed("point", {"point": {"0": {"x": 0.5, "y": 0.25}}}))
    assert (point["segmentation"], point["bbox"]) == ([[320, 90] * 3], [320, 90, 0, 0])
    assert (point["keypoints"], point["num_keypoints"]) == ([320, 90, 2], 1)
    circle = only(tmp_path, placed("circle", {"circle": {"x": 0.5, "y": 0.5, "r": 0.1}}))
    assert _near(circle["bbox"], [256, 116, 128, 128])
    assert len(circle["segmentation"][0]) == 128
    cuboid = only(
        tmp_path, placed("cuboid_2d", {"cuboid_2d": {"front": SQUARE, "offset": {"x": 0.1, "y": 0.2}}})
    )
    assert _near(cuboid["segmentation"][1][:2], [128, 108])
    assert _near(cuboid["bbox"], [64, 36, 0.4 * WIDTH, 0.5 * HEIGHT])


def test_keypoints_stand_in_the_order_of_the_template(tmp_path: Path) -> None:
    """By feature hash, else by name; what is missing is 0, 0, 0."""
    [template] = ONTOLOGY["skeleton_templates"]
    head = template["template"]["skeleton"]["0"]["featureHash"]
    joints = {
        "0": {"x": 0.5, "y": 0.5, "name": "Right foot", "visibility": "occluded"},
        "1": {"x": 0.25, "y": 0.25, "name": "renamed since", "featureHash": head},
        "2": {"x": 0.1, "y": 0.1, "name": "Left hand", "invisible": True},
        "3": {"x": 0.2, "y": 0.3, "name": "Tail"},
    }
    held, counts = written(tmp_path, [([unit()], [placed("skeleton", {"skeleton": joints})])])
    [found] = held["annotations"]
    assert found["keypoints"] == [160, 90, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 320, 180, 1]
    assert found["num_keypoints"] == 2
    assert counts.remarks == {"joint_left_out": 1}
    shown = [one for one in zip(*[iter(held["annotations"][0]["keypoints"])] * 3, strict=True) if one[2]]
    left, top = min(x for x, _, _ in shown), min(y for _, y, _ in shown)
    right, bottom = max(x for x, _, _ in shown), max(y for _, y, _ in shown)
    assert _near(held["annotations"][0]["bbox"], [left, top, right - left, bottom - top])


def _nested() -> Json:
    """An ontology in which names collide: of attributes, of options, and with our own keys."""
    inner = {"featureNodeHash": "inner", "name": "Kind", "type": "text"}
    options = [
        {"featureNodeHash": "a", "label": "A", "options": [inner]},
        {"featureNodeHash": "b", "label": "B", "options": []},
    ]
    attributes = [
        {"featureNodeHash": "kind", "name": "Kind", "type": "radio", "options": options},
        {"featureNodeHash": "kind2", "name": "Kind", "type": "text"},
        {"featureNodeHash": "list", "name": "Parts", "type": "checklist", "options": [
            {"featureNodeHash": "p1", "label": "One"}, {"featureNodeHash": "p2", "label": "One"},
        ]},
        {"featureNodeHash": "ours", "name": "track_id", "type": "numeric", "dynamic": True},
    ]  # fmt: skip
    car = {"featureNodeHash": "car", "name": "Car", "shape": "bounding_box", "attributes": attributes}
    return {"objects": [car], "classifications": []}


def test_attributes_are_flat_and_do_not_collide(tmp_path: Path) -> None:
    """Nested ones are called after what is above them; of two with the same name one has its hash."""
    box = {"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}}
    line = placed(
        "bounding_box", box, feature_hash="car",
        attributes=[
            answer("kind", "Kind", options=[{"name": "A", "value": "a", "feature_hash": "a"}]),
            answer("inner", "Kind", text="é\u2028"),
            answer("kind2", "Kind", text="second"),
            answer("list", "Parts", options=[{"name": "One", "value": "one", "feature_hash": "p2"}]),
            answer("gone", "Old", number=1.25),
            answer(None, "Nameless", options=[]),
        ],
        dynamic_attributes=[answer("ours", "track_id", number=7)],
    )  # fmt: skip
    assert only(tmp_path, line, _nested())["attributes"] == {
        "track_id": 1,
        "encord_track_uuid": "object",
        "Kind": "A",
        "Kind/A/Kind": "é\u2028",
        "Kind (kind2)": "second",
        "Parts/One": False,
        "Parts/One (p2)": True,
        "track_id (ours)": 7,
        "Old (gone)": 1.25,
        "Nameless (None)": None,
    }


ODD: list[tuple[str, str, str]] = [
    ("polygon", '{"polygons": [[[0, 0, 1, 1]]]}', "too_few_points"),
    ("polygon", '{"polygons": [[[0, 0, 1e400, 1, 1, 0]]]}', "out_of_range"),
    ("polygon", '{"polygons": [[[0, 0, 1e300, 1, 1, 0]]]}', "out_of_range"),
    ("polygon", '{"polygons": 3}', "malformed"),
    ("bounding_box", '{"boundingBox": {"x": 0, "y": 0, "w": -1, "h": 1}}', "malformed"),
    ("bounding_box", '{"boundingBox": {"x": 9e18, "y": 0, "w": 1, "h": 1}}', "out_of_range"),
    ("bounding_box", '{"boundingBox": {"x": null, "y": 0, "w": 1, "h": 1}}', "malformed"),
    ("bounding_box", '{"boundingBox": {"x": NaN, "y": 0, "w": 1, "h": 1}}', "malformed"),
    ("bounding_box", '{"boundingBox": {"x": 0, "y": 0, "w": Infinity, "h": 1}}', "malformed"),
    ("polygon", '{"name": "\\ud800", "polygons": [[[0, 0, 1, 1, 1, 0]]]}', "malformed"),
    ("bounding_box", "{}", "no_geometry"),
    ("bounding_box", "null", "malformed"),
    ("skeleton", '{"skeleton": {}}', "no_geometry"),
    ("bitmask", '{"bitmask": {"top": 0, "left": 0, "width": 9, "height": 9, "rleString": "1"}}', "bad_mask"),
    ("bitmask", '{"bitmask": {"top": 0, "left": 0, "width": 9, "height": 9, "rleString": ""}}', "bad_mask"),
    ("bitmask", '{"bitmask": {"top": 500, "width": 1, "height": 1, "rleString": "01"}}', "no_geometry"),
    ("hexagon", '{"hexagon": {"side": 0.5}}', "unknown_class"),
    ("cuboid", '{"cuboid": {"position": [1, 2, 3]}}', "no_image"),
]  # fmt: skip


def test_no_object_stops_it_and_each_is_counted_with_its_reason(tmp_path: Path) -> None:
    """Between two that are sound, which both are there."""
    sound = placed("bounding_box", {"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}}, object_hash="sound")
    odd = [placed(shape, sent, object_hash=f"odd{at}") for at, (shape, sent, _) in enumerate(ODD)]
    held, counts = written(tmp_path, [([unit()], [sound, *odd, sound])])
    assert [one["attributes"]["encord_track_uuid"] for one in held["annotations"]] == ["sound"] * 2
    reasons: dict[str, int] = {}
    by_shape: dict[str, dict[str, int]] = {}
    for shape, _, reason in ODD:
        reasons[reason] = reasons.get(reason, 0) + 1
        columns = by_shape.setdefault(shape, {})
        columns[f"left_out_{reason}"] = columns.get(f"left_out_{reason}", 0) + 1
    by_shape["bounding_box"]["box"] = 2
    assert counts.records["objects"].left_out == reasons
    assert counts.records["objects"].written == 2
    assert counts.tables["shapes"] == by_shape


def test_what_lies_beyond_the_image_is_kept_and_counted(tmp_path: Path) -> None:
    """Cutting it off would change what was labelled."""
    box = {"boundingBox": {"x": 0.9, "y": -0.1, "w": 0.5, "h": 0.5}}
    held, counts = written(tmp_path, [([unit()], [placed("bounding_box", box)])])
    assert _near(held["annotations"][0]["bbox"], [576, -36, 320, 180])
    assert counts.remarks == {"beyond_image": 1}


def test_an_image_without_objects_is_a_negative(tmp_path: Path) -> None:
    """It is in the file, with its size and where it comes from."""
    held, _ = written(tmp_path, [([unit()], [])])
    assert held["annotations"] == []
    assert held["images"] == [
        {
            "id": 1,
            "file_name": "images/unit.jpg",
            "width": WIDTH,
            "height": HEIGHT,
            "data_hash": "data",
            "label_hash": "label",
            "title": "photo.jpg",
        }
    ]


def test_frames_of_a_video(tmp_path: Path) -> None:
    """Of two label rows, an object with the same hash is two tracks."""
    box = {"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}}
    rows: list[tuple[list[bytes], list[bytes]]] = []
    for name in ("one", "two"):
        video: dict[str, Any] = {"unit_hash": name, "data_type": "video"}
        frames = [placed("bounding_box", box, frame=frame, **video) for frame in (3, 9)]
        rows.append(([unit(mime_type="video/mp4", fps=25.0, number_of_frames=20, **video)], frames))
    held, _ = written(tmp_path, rows)
    assert [(one["id"], one["name"], one["fps"]) for one in held["videos"]] == [
        (1, "videos/one", 25.0),
        (2, "videos/two", 25.0),
    ]
    assert [(one["file_name"], one["video_id"], one["frame_index"]) for one in held["images"]] == [
        ("videos/one/3.jpg", 1, 3),
        ("videos/one/9.jpg", 1, 9),
        ("videos/two/3.jpg", 2, 3),
        ("videos/two/9.jpg", 2, 9),
    ]
    assert [one["track_id"] for one in held["annotations"]] == [1, 1, 2, 2]


def test_a_file_is_one_image_and_one_annotation_a_line(tmp_path: Path) -> None:
    """So that two versions can be compared by line."""
    box = placed("bounding_box", {"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}})
    written(tmp_path, [([unit()], [box, box])])
    lines = (tmp_path / "annotations" / "instances_default.json").read_text().splitlines()
    for start in ('{"id":1,"image_id"', '{"id":2,"image_id"', '{"id":1,"file_name"'):
        [line] = [one for one in lines if one.startswith(start)]
        json.loads(line.rstrip(","))


def test_known_classes_have_a_category(tmp_path: Path) -> None:
    """Each by its place in the ontology."""
    held, _ = written(tmp_path, [([unit()], [])])
    seen = [one for one in ONTOLOGY["objects"] if one["shape"] not in ("audio", "text")]
    assert [one["name"] for one in held["categories"]] == [one["name"] for one in seen]
    assert CLASSES["polygon"] == _of_shape("polygon")["featureNodeHash"]


def test_the_page_names_every_form_and_every_reason() -> None:
    """In the table of shapes, and in the list of what is left out."""
    _, _, page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text().partition("\n## COCO\n")
    forms = {"box", "rotated_box", "polygon", "polygons", "mask_of_polygon", "mask", "curve", "keypoints"}
    assert all(f"`{word}`" in page for word in (*forms, "line", "point", "front_and_back"))
    assert all(f"`{reason}`" in page for reason in (*get_args(Reason), "unknown_class", "class"))


SHARES = st.floats(-12, 13)


@given(SHARES, SHARES, SHARES, SHARES, st.integers(1, 5000), st.integers(1, 5000))
def test_boxes_are_said_quickly_as_they_are_at_length(
    x: float, y: float, w: float, h: float, width: int, height: int
) -> None:
    """The same bytes, or left to the long way."""
    _is_the_same("bounding_box", {"boundingBox": {"x": x, "y": y, "w": w, "h": h}}, width, height)


@given(st.lists(SHARES, max_size=12), st.integers(1, 5000), st.integers(1, 5000))
def test_polygons_are_said_quickly_as_they_are_at_length(ring: list[float], width: int, height: int) -> None:
    """The same bytes, or left to the long way."""
    _is_the_same("polygon", {"polygons": [[ring]]}, width, height)


def _is_the_same(shape: str, sent: Json, width: int, height: int) -> None:
    geometry = read_geometry(json.dumps(sent).encode())
    quick = QUICK[shape](geometry, width, height)
    try:
        found = figure(shape, geometry, width, height)
    except NoGeometry:
        assert quick is None
        return
    form, said = BY_FORM[found.form](found, width, height, None)
    assert found.extent == said.bbox
    assert quick == (form, said)
