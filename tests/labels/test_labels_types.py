"""Every data type and every shape: which records a row gives, and where they stand."""

import json
from typing import Any

import msgspec
import pytest

from harvester.schema import CLASSIFICATION_KEYS, OBJECT_KEYS, ROW_KEYS
from harvester.settings import SHAPES, Format, Selection
from tests.labels.rows import (
    PLANNED,
    Json,
    answer,
    classifications,
    extract,
    flat,
    item,
    label,
    objects,
    placed,
    raw,
    records,
    row,
    spots,
    unit,
)  # fmt: skip

FRAMES = {"3": flat(label()), "10": flat(label(), label("o2")), "12": flat()}
RANGED: Json = {
    "objectHash": "r1", "featureHash": "word", "shape": "text", "classifications": [], "range": [[0, 4]],
}  # fmt: skip
ON_FRAMES = [("unit-1", None, 3), ("unit-1", None, 10), ("unit-1", None, 10)]


def spaced(**spaces: Any) -> Json:
    return {**RANGED, "range": [], "spaces": spaces}


CASES: dict[str, tuple[Json, list[tuple[str | None, str | None, int | None]]]] = {
    "image": (row("image", unit(flat(label()))), [("unit-1", None, 0)]),
    "image group, in order of the sequence": (
        row(
            "img_group",
            {
                **unit(flat(label()), "b", data_sequence="1"),
                **unit(flat(label()), "c", data_sequence=10),
                **unit(flat(label()), "a", data_sequence="0"),
            },
        ),
        [("a", None, 0), ("b", None, 1), ("c", None, 10)],
    ),
    "two images with one sequence": (
        row("img_group", {**unit(flat(label()), "a"), **unit(flat(label()), "b")}),
        [("a", None, 0), ("b", None, 0)],
    ),
    "video": (row("video", unit(FRAMES)), ON_FRAMES),
    "video, frames out of order": (row("video", unit(dict(reversed(FRAMES.items())))), ON_FRAMES),
    "dicom, with frames without labels": (
        row("dicom", unit({"0": {"objects": [], "metadata": {"x": 1}}, **FRAMES}, metadata={"patient": 1})),
        ON_FRAMES,
    ),
    "nifti": (row("nifti", unit(FRAMES)), ON_FRAMES),
    "pdf": (row("pdf", unit({"0": {"objects": [label()]}})), [("unit-1", None, 0)]),
    "dicom study": (row("dicom_study", unit(FRAMES)), ON_FRAMES),
    "a type that is not known, framed": (row("hologram", unit(FRAMES)), ON_FRAMES),
    "a type that is not known, ranged": (
        row("smell", unit({}), object_answers={"r1": RANGED}),
        [("unit-1", None, None)],
    ),
    "audio": (row("audio", unit({}), object_answers={"r1": RANGED}), [("unit-1", None, None)]),
    "plain text": (row("plain_text", unit({}), object_answers={"r1": RANGED}), [("unit-1", None, None)]),
    "html": (
        row(
            "plain_text",
            unit({}, data_type="text/html"),
            object_answers={
                "r1": {**RANGED, "range": [], "range_html": [{"start": {"xpath": "/a", "offset": 0}}]}
            },
        ),
        [("unit-1", None, None)],
    ),
    "time series": (row("time_series", unit({}), object_answers={"r1": RANGED}), [("unit-1", None, None)]),
    "time series with a root space": (
        row(
            "time_series",
            unit({}),
            spaces={"root": {"space_type": "time_series", "labels": {}}},
            object_answers={"r1": spaced(root={"type": "frame", "range": [[0, 5]]})},
        ),
        [("unit-1", "root", None)],
    ),
    "a range object on two audio spaces and an html space": (
        row(
            "group",
            unit({}),
            spaces={
                "s1": {"space_type": "audio", "labels": {}},
                "s2": {"space_type": "audio", "labels": {}},
                "s3": {"space_type": "html", "labels": {}},
            },
            object_answers={
                "r1": spaced(
                    s1={"range": [[0, 5]]}, s2={"range": [[7, 8]]}, s3={"type": "html", "range": [[{}, {}]]}
                )
            },
        ),
        [("unit-1", "s1", None), ("unit-1", "s2", None), ("unit-1", "s3", None)],
    ),
    "group": (
        row(
            "group",
            unit({"objects": [], "classifications": []}),
            spaces={
                "v": {"space_type": "video", "labels": FRAMES},
                "i": {"space_type": "image", "labels": {"0": flat(label())}},
                "p": {"space_type": "point_cloud", "labels": flat(label(shape="segmentation"))},
                "e": {"labels": {}},
                "n": None,
            },
        ),
        [("unit-1", "v", frame) for frame in (3, 10, 10)] + [("unit-1", "i", 0), ("unit-1", "p", None)],
    ),
    "layered image": (
        row(
            "image",
            unit(flat()),
            spaces={
                "root": {"space_type": "image", "labels": {"0": flat(label())}},
                "depth": {"space_type": "image", "labels": {"0": flat(label())}},
            },
        ),
        [("unit-1", "root", 0), ("unit-1", "depth", 0)],
    ),
    "frame-grid scene": (
        row("scene", unit({"cam#4": flat(label()), "#2": flat(label()), "7": flat(label())})),
        [("unit-1", None, 7), ("unit-1", "cam#4", None), ("unit-1", "#2", None)],
    ),
    "event-based scene": (
        row(
            "scene",
            unit(
                {
                    "1700000000000000000": flat(label(event="upsert"), label("o2")),
                    "1700000000000000005": flat(label(event="delete"), label("o2", event="upsert")),
                    "1700000000000000009": flat(label("o2", event="delete")),
                }
            ),
            scene={"isContinuous": True},
        ),
        [("unit-1", None, 1700000000000000000)] * 2 + [("unit-1", None, 1700000000000000005)],
    ),
    "mcap scene": (
        row(
            "scene",
            unit({"lidar@1700": flat(label(shape="segmentation", segmentation="abc"))}),
            scene={"isContinuous": True},
            spaces={},
            object_answers={
                "r1": {**spaced(imu={"range": [[0, 9]]}), "shape": "time_range"},
                "o1": {**spaced(**{"lidar@1700": {"range": []}}), "shape": "segmentation"},
            },
        ),
        [("unit-1", "lidar@1700", None), ("unit-1", "imu", None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_data_type_gives_its_objects_where_they_stand(case: str) -> None:
    """One record for each object on each frame, image, space or place; one for each range object."""
    sent, expected = CASES[case]
    assert spots(objects(sent)) == expected


@pytest.mark.parametrize("shape", [*SHAPES, "a shape of tomorrow"])
def test_each_shape_passes_through_as_sent(shape: str) -> None:
    """Geometry is not looked at: every shape, and one that nobody knows, comes out as it went in."""
    geometry = {
        "polygons": [[[0.1, 0.25, 1e-7]]],
        "rleString": "PPYo0`0",
        "skeleton": {"0": {"visible": True}},
    }
    sent = label(shape=shape, **geometry)
    found = objects(row("video", unit({"0": flat(sent)})))
    assert [record["object"] for record in found] == [sent]
    ranged = {**RANGED, "shape": shape}
    [found_ranged] = objects(row("audio", unit({}), object_answers={"r1": ranged}))
    assert found_ranged["object"] == ranged


def test_an_object_record_has_its_keys_in_order() -> None:
    """The head of a record says where it comes from, whatever of it the row or the listing knows."""
    [record] = objects(row("video", unit({"4": flat(label())}), branch_name="dev"))
    assert tuple(record) == OBJECT_KEYS
    assert record == {
        "kind": "object",
        "label_hash": "label-1",
        "branch_name": "dev",
        "data_hash": "data-1",
        "dataset_hash": "dataset-1",
        "dataset_title": "Dataset",
        "data_title": "a title",
        "data_type": "video",
        "unit_hash": "unit-1",
        "file_name": "unit-1.file",
        "data_url": None,
        "space_id": None,
        "width": None,
        "height": None,
        "frame": 4,
        "object": label(),
        "object_hash": "o1",
        "feature_hash": "car",
        "name": "Car",
        "shape": "bounding_box",
        "object_number": None,
        "until": None,
        "ranges": None,
        "attributes": [],
        "dynamic_attributes": [],
    }


def test_a_classification_record_has_its_keys_in_order() -> None:
    """The same head as an object's, then where it stands, the entry as sent, and the answers."""
    sent = row("video", unit({}), classification_answers=placed(range=[[0, 4]]))
    [record] = classifications(sent)
    assert tuple(record) == CLASSIFICATION_KEYS
    assert record["classification"] == sent["classification_answers"]["c1"]
    assert (record["kind"], record["frame"], record["ranges"]) == ("classification", None, [[0, 4]])


def test_a_row_record_holds_the_listing_item_and_the_row_as_sent() -> None:
    """`--emit rows` changes nothing, and filters over records do not touch it."""
    sent = row("video", unit({"0": flat(label())}, data_link="https://x/y?signed"), unknown=[1.50])
    wire = json.dumps(sent).encode()
    planned = msgspec.structs.replace(PLANNED, metadata=raw({"data_title": "é"}))
    harvest = extract(
        wire, format=Format(emit=("rows",)), planned=planned, selection=Selection(shapes=("point",))
    )
    [record] = records(harvest, "rows")
    assert tuple(record) == ROW_KEYS
    assert record == {"kind": "row", "metadata": {"data_title": "é"}, "row": sent}
    assert wire in bytes(harvest.lines["rows"])
    assert list(harvest.lines) == ["rows"]


def test_what_the_row_does_not_say_comes_from_the_listing() -> None:
    """Older rows lack titles, branch or type; the plan knows them."""
    wire = {"data_units": unit({"0": flat(label())})}
    [record] = objects(wire)
    assert {key: record[key] for key in OBJECT_KEYS[1:8]} == {
        "label_hash": "label-1",
        "branch_name": "main",
        "data_hash": "data-1",
        "dataset_hash": "dataset-1",
        "dataset_title": "Dataset",
        "data_title": "listed title",
        "data_type": "video",
    }


@pytest.mark.parametrize("asked", [True, False])
def test_a_signed_url_is_kept_only_where_it_was_asked_for(asked: bool) -> None:
    """A data link is a secret that changes from call to call; one that comes unasked is left out."""
    sent = row("image", unit(flat(label()), data_link="https://bucket/x?signature=1"))
    [record] = objects(sent, selection=Selection(signed_urls=asked))
    assert record["data_url"] == ("https://bucket/x?signature=1" if asked else None)


def test_a_space_names_its_own_file() -> None:
    """In a group each space shows a file of its own."""
    child = {"layout_key": "l", "file_name": "left.mp4", "data_link": "https://l"}
    spaces = {"s": {"space_type": "video", "labels": {"0": flat(label())}, "child_info": child}}
    sent = row("group", unit({}), spaces=spaces)
    [record] = objects(sent, selection=Selection(signed_urls=True))
    assert (record["unit_hash"], record["file_name"], record["data_url"]) == (
        "unit-1",
        "left.mp4",
        "https://l",
    )


def test_only_the_kinds_asked_for_are_read() -> None:
    """A harvest holds the kinds of the format, and nothing of the others."""
    sent = row("video", unit({"0": flat(label())}), classification_answers=placed(range=[[0, 1]]))
    harvest = extract(sent, format=Format(emit=("classifications",)))
    assert harvest.written == {"classifications": 1}
    assert harvest.seen == {"classifications": 1}


def test_answers_to_a_dynamic_question_of_a_range_object_come_with_their_ranges() -> None:
    """A range object stands on no frame: all dynamic answers are given, each with its range."""
    action = answer("plate", "B-1", dynamic=True, range=[[0, 2], [4, 4]], shouldPropagate=False)
    sent = row("audio", unit({}), object_answers={"r1": RANGED}, object_actions={"r1": {"actions": [action]}})
    [record] = objects(sent)
    assert record["dynamic_attributes"] == [item("plate", "Plate", "B-1", ranges=[[0, 2], [4, 4]])]
