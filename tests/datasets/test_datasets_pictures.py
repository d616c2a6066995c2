"""The images of a label row: their names, their order, and the objects on them."""

import json
from typing import Any

import pytest

from harvester.datasets.pictures import Picture, Pictures, listed_picture, read_unit
from harvester.errors import Unsound


def _unit(**known: Any) -> bytes:
    usual = {
        "label_hash": "label",
        "branch_name": "main",
        "data_hash": "data",
        "dataset_hash": None,
        "data_title": "row title",
        "data_type": "image",
        "unit_hash": "unit",
        "file_name": "a.jpg",
        "data_url": None,
        "space_id": None,
        "width": 640,
        "height": 480,
        "mime_type": "image/jpeg",
        "fps": None,
        "number_of_frames": 1,
        "slices": None,
    }
    return json.dumps(usual | known).encode()


def _slice(frame: int, **known: Any) -> dict[str, Any]:
    usual = {"data_hash": None, "file_name": None, "instance_uid": None, "file_uri": None, "url": None}
    return {"frame": frame, **usual, "width": 64, "height": 48, **known}


def _object(name: str, unit: str = "unit", space: str | None = None, frame: int | None = 0) -> bytes:
    line = {"unit_hash": unit, "space_id": space, "frame": frame, "object": {"x": 1.50}, "object_hash": name}
    nulls = dict.fromkeys(
        ("feature_hash", "name", "shape", "object_number", "attributes", "dynamic_attributes")
    )
    return json.dumps(line | nulls).encode()


def _shown(pictures: Pictures) -> list[tuple[str, int | None, list[str]]]:
    return [(one.name, one.frame, [each.object_hash for each in one.objects]) for one in pictures]


def _only(unit: bytes) -> Picture:
    (picture,) = Pictures([read_unit(unit)], [])
    return picture


@pytest.mark.parametrize(
    ("title", "mime_type", "name"),
    [
        ("a.jpg", "image/jpeg", "images/unit.jpg"),
        ("A.JPEG", "image/jpeg", "images/unit.JPEG"),
        ("photo.of.a.png", None, "images/unit.png"),
        ("no ending", "image/png", "images/unit.png"),
        ("version 1.5", "image/jpeg", "images/unit.jpg"),
        ("evil./../x", "image/webp", "images/unit.webp"),
        (None, "image/x-odd", "images/unit.jpg"),
    ],
)
def test_an_image_keeps_the_ending_of_its_title_if_it_is_one(
    title: str | None, mime_type: str | None, name: str
) -> None:
    """Else its mime type says it; the ending is known beside the name."""
    picture = _only(_unit(file_name=title, data_title=None, mime_type=mime_type))
    assert picture.name == name
    assert name.endswith(picture.ending)


def test_names_never_lead_out_of_the_data_set() -> None:
    """A hash that is no name of a file becomes the hash of itself."""
    for unit_hash in ("../../etc/passwd", "a/b", "", "..", "a" * 200):
        folder, name = _only(_unit(unit_hash=unit_hash)).name.split("/")
        assert folder == "images"
        assert name.removesuffix(".jpg").isalnum()
    assert len({_only(_unit(unit_hash=name)).name for name in ("../a", "../b")}) == 2


def test_images_of_a_group_with_and_without_objects_stand_in_their_order() -> None:
    """Each is there once, and has its own objects in their order."""
    units = [_unit(unit_hash=name, data_type="img_group") for name in "abcd"]
    objects = [_object("1", "b"), _object("2", "b"), _object("3", "d")]
    pictures = Pictures(map(read_unit, units), objects)
    assert _shown(pictures) == [
        ("images/a.jpg", None, []),
        ("images/b.jpg", None, ["1", "2"]),
        ("images/c.jpg", None, []),
        ("images/d.jpg", None, ["3"]),
    ]
    assert (pictures.no_image, pictures.shown) == ({}, {0, 1, 2, 3})


def test_of_a_video_the_frames_with_objects_are_images() -> None:
    """Or every frame, where that is asked for."""
    unit = read_unit(_unit(data_type="video", mime_type="video/mp4", number_of_frames=4))
    objects = [_object("1", frame=1), _object("2", frame=1), _object("3", frame=3)]
    assert _shown(Pictures([unit], objects)) == [
        ("videos/unit/1.jpg", 1, ["1", "2"]),
        ("videos/unit/3.jpg", 3, ["3"]),
    ]
    assert _shown(Pictures([unit], objects, every_frame=True)) == [
        ("videos/unit/0.jpg", 0, []),
        ("videos/unit/1.jpg", 1, ["1", "2"]),
        ("videos/unit/2.jpg", 2, []),
        ("videos/unit/3.jpg", 3, ["3"]),
    ]
    none = Pictures([unit], [])
    assert _shown(none) == []
    assert none.shown == set()


def test_slices_are_called_after_their_instance() -> None:
    """Of several frames in one file, the frame too; where the instance is no uid, the frame alone."""
    slices = [
        {"frame": frame, "instance_uid": uid, "width": width, "height": None}
        | dict.fromkeys(("data_hash", "file_name", "file_uri", "url"))
        for frame, uid, width in [(0, "1.2.3", 64), (1, "1.2.4", None), (2, "1.2.4", None), (3, "../x", None)]
    ]
    unit = read_unit(
        _unit(data_type="dicom", mime_type="application/dicom", slices=slices, number_of_frames=5)
    )
    pictures = list(Pictures([unit], [_object("1", frame=1)], every_frame=True))
    assert [one.name for one in pictures] == [
        "dicom/unit/1.2.3",
        "dicom/unit/1.2.4/1",
        "dicom/unit/1.2.4/2",
        "dicom/unit/3",
        "dicom/unit/4",
    ]
    assert [(one.width, one.height) for one in pictures[:2]] == [(64, 480), (640, 480)]


def test_a_volume_is_called_after_its_frames() -> None:
    """NIfTI."""
    unit = read_unit(_unit(data_type="nifti", mime_type="application/nifti"))
    assert _shown(Pictures([unit], [_object("1", frame=7)])) == [("nifti/unit/7", 7, ["1"])]


def test_what_is_on_no_image_is_counted() -> None:
    """Sound, documents, spaces of unknown size, units that the row does not have."""
    units = [
        _unit(),
        _unit(unit_hash="audio", data_type="audio", mime_type="audio/mpeg"),
        _unit(space_id="layer", width=None, height=None, mime_type=None),
        _unit(data_type="scene", space_id="camera", mime_type=None),
    ]
    objects = [
        _object("1"),
        _object("2", "audio", frame=None),
        _object("3", space="layer"),
        _object("4", space="camera", frame=None),
        _object("5", "gone"),
    ]
    pictures = Pictures(map(read_unit, units), objects)
    found = _shown(pictures)
    assert found[0] == ("images/unit.jpg", None, ["1"])
    assert found[1][0].startswith("images/unit-")
    assert found[1][2] == ["4"]
    assert len(found) == 2
    assert (pictures.no_image.total(), pictures.shown) == (3, {0, 3})


def test_parts_of_groups_and_layers_of_images_are_images() -> None:
    """A part whose size is known: a still one is an image, one with frames and a rate is a video, and so is a
    sequence of images; other frames are slices, which may have sizes and names of their own."""
    units = [
        _unit(space_id="part", data_type="group", mime_type=None, number_of_frames=1),
        _unit(space_id="film", data_type="group", mime_type=None, number_of_frames=9, fps=25.0),
        _unit(space_id="file", data_type="group", mime_type=None, number_of_frames=9, file_name="a.dcm"),
        _unit(space_id="scan", data_type="group", mime_type=None, number_of_frames=9, file_name="a.nii.gz"),
        _unit(space_id="images", data_type="group", mime_type=None, slices=[_slice(3, data_hash="x")]),
        _unit(space_id="stack", data_type="group", width=None, slices=[_slice(3, instance_uid="1.2.3")]),
        _unit(space_id="pages", data_type="group", width=None, number_of_frames=9),
        _unit(space_id="layer", data_type="image", mime_type=None),
    ]
    objects = [
        _object("1", space="part"),
        _object("2", space="film", frame=7),
        _object("3", space="file", frame=7),
        _object("4", space="scan", frame=7),
        _object("5", space="images", frame=3),
        _object("6", space="stack", frame=3),
        _object("7", space="pages", frame=3),
        _object("8", space="layer"),
    ]
    pictures = Pictures(map(read_unit, units), objects)
    kinds = [
        (one.name.partition("/")[0], one.frame, [each.object_hash for each in one.objects])
        for one in pictures
    ]
    assert kinds == [
        ("images", None, ["1"]), ("videos", 7, ["2"]), ("dicom", 7, ["3"]), ("nifti", 7, ["4"]),
        ("videos", 3, ["5"]), ("dicom", 3, ["6"]), ("images", None, ["8"]),
    ]  # fmt: skip
    [stack] = [one for one in Pictures(map(read_unit, units), objects) if one.unit.space_id == "stack"]
    assert (stack.width, stack.height, stack.name.rpartition("/")[2]) == (64, 48, "1.2.3")
    assert pictures.no_image.total() == 1


def test_unlabelled_images_of_the_listing_have_the_same_names() -> None:
    """What is labelled, or is no image, has none."""
    row = {
        "branch_name": "main",
        "data_hash": "data",
        "dataset_hash": "set",
        "data_title": "a.png",
        "data_type": "IMAGE",
        "width": 5,
        "height": 4,
        "outcome": "unlabelled",
    }
    picture = listed_picture(json.dumps(row).encode())
    assert picture is not None
    assert (picture.name, picture.width, picture.height) == ("images/data.png", 5, 4)
    assert (picture.unit.data_hash, picture.unit.dataset_hash) == ("data", "set")
    assert listed_picture(json.dumps(row | {"outcome": "failed"}).encode()) is None
    assert listed_picture(json.dumps(row | {"data_type": "VIDEO"}).encode()) is None


def test_damaged_lines_are_named() -> None:
    """A line that is no unit, object or row of a listing."""
    with pytest.raises(Unsound, match="a line of a unit is damaged"):
        read_unit(b"{}")
    with pytest.raises(Unsound, match="a line of an object is damaged"):
        list(Pictures([read_unit(_unit())], [b"{}"]))
    with pytest.raises(Unsound, match="the listing is damaged"):
        listed_picture(b"[]")
