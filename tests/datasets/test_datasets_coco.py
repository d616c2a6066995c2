"""COCO data sets of exports: what readers make of them, and what they hold."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harvester.datasets.convert import convert
from harvester.datasets.ontology_classes import ontology_classes
from harvester.errors import BadInput
from harvester.settings import Selection
from tests.datasets.exports import exported, files_in, records_of, synced
from tests.sync.worlds import LiveWorld

Json = dict[str, Any]

DEFAULT = "annotations/instances_default.json"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=120))


@pytest.fixture(scope="module")
def converted(export: Path) -> Path:
    convert(export, export.parent / "set", to="coco")
    return export.parent / "set"


def _loaded(directory: Path, name: str = DEFAULT) -> Json:
    found: Json = json.loads((directory / name).read_bytes())
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """pycocotools prints what it does, and calls numpy in an outdated way."""
    with redirect_stdout(StringIO()), catch_warnings():
        simplefilter("ignore", DeprecationWarning)
        yield


def _images_of(export: Path) -> Counter[tuple[str, str, int]]:
    """The branch, unit and frame of each object on an image, a video, a DICOM series or a NIfTI file."""
    mime = {(one["label_hash"], one["unit_hash"]): one["mime_type"] for one in records_of(export, "units")}
    return Counter(
        (one["branch_name"], one["unit_hash"], one["frame"])
        for one in records_of(export, "objects")
        if one["space_id"] is None
        and (mime.get((one["label_hash"], one["unit_hash"])) or "").startswith(("image/", "video/"))
    )


def test_pycocotools_loads_and_draws_all_of_it(converted: Path) -> None:
    """Each annotation has a mask of the size of its image, and a category and an image that are there."""
    for path in sorted(converted.glob("annotations/*.json")):
        with _quiet():
            read = COCO(str(path))
            assert len(read.anns) == len(read.dataset["annotations"])
            assert len(read.imgs) == len(read.dataset["images"])
            for annotation in read.dataset["annotations"]:
                image = read.imgs[annotation["image_id"]]
                assert read.annToMask(annotation).shape == (image["height"], image["width"])
                assert annotation["category_id"] in read.cats


def test_supervision_loads_it(converted: Path) -> None:
    """With all images, and the classes in order."""
    with catch_warnings():
        simplefilter("ignore", UserWarning)  # it says that it works without OpenCV
        import supervision
    loaded = supervision.DetectionDataset.from_coco(str(converted), str(converted / DEFAULT))
    held = _loaded(converted)
    assert loaded.classes == [one["name"] for one in held["categories"]]
    boxes = sum(len(one) for one in loaded.annotations.values())
    assert boxes == len(held["annotations"])


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
def test_perfect_detections_score_one(converted: Path, kind: str) -> None:
    """COCOeval, with what the file itself says as the detections."""
    with _quiet():
        truth = COCO(str(converted / DEFAULT))
        joints = {one["id"] for one in truth.dataset["categories"] if len(one.get("keypoints", ())) > 1}
        known = [
            one
            for one in truth.dataset["annotations"]
            if one["area"] > 0 and (kind != "keypoints" or one["category_id"] in joints)
        ]
        assert known
        said = {
            "bbox": lambda one: {"bbox": one["bbox"]},
            "segm": lambda one: {"segmentation": truth.annToRLE(one)},  # as detections have it
            "keypoints": lambda one: {"keypoints": one["keypoints"]},
        }[kind]
        keys = ("image_id", "category_id")
        found = truth.loadRes([{key: one[key] for key in keys} | said(one) | {"score": 1.0} for one in known])
        scored = COCOeval(truth, found, kind)
        scored.params.catIds = sorted({one["category_id"] for one in known})
        scored.params.maxDets = [20] if kind == "keypoints" else [1, 10, 100]
        if kind == "keypoints":
            scored.params.kpt_oks_sigmas = scored.params.kpt_oks_sigmas[:5]
        scored.evaluate()
        scored.accumulate()
    precision = scored.eval["precision"][:, :, :, 0, -1]  # all sizes, the most detections
    assert set(precision[precision > -1].tolist()) == {1.0}


def test_every_record_is_an_annotation_or_left_out_for_a_reason(export: Path, converted: Path) -> None:
    """By shape, too: the tables say how many became what."""
    held = json.loads((converted / "conversion.json").read_bytes())
    files = [json.loads(path.read_bytes()) for path in sorted(converted.glob("annotations/*.json"))]
    objects, units = held["records"]["objects"], held["records"]["units"]
    records = records_of(export, "objects")
    assert objects["read"] == len(records) == objects["written"] + sum(objects["left_out"].values())
    assert objects["written"] == sum(len(one["annotations"]) for one in files) > 50
    assert units["read"] == units["written"] + sum(units["left_out"].values())
    by_shape = held["tables"]["shapes"]
    assert {shape: sum(columns.values()) for shape, columns in by_shape.items()} == Counter(
        one["shape"] or "unknown" for one in records
    )
    splits = held["tables"]["splits"].values()
    assert sum(one["images"] for one in splits) == sum(len(one["images"]) for one in files)
    assert sum(one["objects"] for one in splits) == objects["written"]
    assert sum(one["units"] for one in splits) == units["written"]


def test_categories_are_those_of_the_ontology_in_order(export: Path, tmp_path: Path) -> None:
    """From 1, used or not, so that they are the same whatever an export holds."""
    other = exported(tmp_path / "other", LiveWorld(rows=15, seed=9), selection=Selection(shapes="polygon"))
    convert(other, tmp_path / "b", to="coco")
    convert(export, tmp_path / "a", to="coco", selection=Selection(shapes="bounding_box"))
    one, two = _loaded(tmp_path / "a"), _loaded(tmp_path / "b")
    known = ontology_classes((export / "ontology.json").read_bytes())
    assert one["categories"] == two["categories"]
    assert [(each["id"], each["name"], each["supercategory"]) for each in one["categories"]] == [
        (number, each.name, each.shape) for number, each in enumerate(known, 1)
    ]
    ids = [{each["category_id"] for each in read["annotations"]} for read in (one, two)]
    assert ids[0].isdisjoint(ids[1])


def test_skeletons_have_names_and_edges(converted: Path) -> None:
    """Those of the template; edges count from 1."""
    [person] = [one for one in _loaded(converted)["categories"] if one["supercategory"] == "skeleton"]
    assert person["keypoints"] == ["Head", "Left hand", "Right hand", "Left foot", "Right foot"]
    assert person["skeleton"] == [[1, 2], [1, 3]]
    for one in _loaded(converted)["annotations"]:
        if one["category_id"] == person["id"]:
            assert len(one["keypoints"]) == 15
            assert one["num_keypoints"] == sum(said > 0 for said in one["keypoints"][2::3])


def test_images_are_those_with_objects_and_the_images_without(export: Path, converted: Path) -> None:
    """An image without objects is a negative. Of a video, the frames with objects."""
    found = Counter[str]()
    for path in sorted(converted.glob("annotations/*.json")):
        held = json.loads(path.read_bytes())
        names = [one["file_name"] for one in held["images"]]
        assert len(set(names)) == len(names)
        found += Counter(name.split("/")[0] for name in names)
        assert {one["id"] for one in held["images"]} >= {one["image_id"] for one in held["annotations"]}
    units = records_of(export, "units")
    images = sum((one["mime_type"] or "").startswith("image/") for one in units)
    assert found["images"] >= images - 2  # one may be there twice
    frames = set(_images_of(export))
    video = {one["unit_hash"] for one in units if (one["mime_type"] or "").startswith("video/")}
    assert found["videos"] == sum(unit in video for _, unit, _ in frames)


def test_ids_run_from_one(converted: Path) -> None:
    """COCOeval takes an annotation of id 0 for no annotation."""
    files = [json.loads(path.read_bytes()) for path in sorted(converted.glob("annotations/*.json"))]
    for kind in ("images", "videos"):
        ids = {
            one["id"]: one["file_name" if kind == "images" else "name"]
            for held in files
            for one in held[kind]
        }
        assert sorted(ids) == list(range(1, len(ids) + 1))
        assert len(set(ids.values())) == len(ids)
    numbers = sorted(one["id"] for held in files for one in held["annotations"])
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_split_that_would_have_the_file_of_a_branch_is_refused(export: Path, tmp_path: Path) -> None:
    """Both would be in one file, with images twice; without such a branch the name is a good one."""
    names = "train=0.5,train.Model-Predictions=0.5"
    with pytest.raises(BadInput, match=r"two splits would have the file .*train\.model-predictions\.json"):
        convert(export, tmp_path / "set", to="coco", split=names)
    plain = exported(tmp_path / "plain", LiveWorld(rows=20, branches=()))
    done = convert(plain, tmp_path / "set", to="coco", split=names)
    assert done.files.number == 2


def test_branches_have_a_file_each_with_the_same_ids(converted: Path) -> None:
    """So that annotations of two branches can be laid side by side."""
    names = sorted(path.name for path in converted.glob("annotations/*.json"))
    assert names == ["instances_default.json", "instances_default.model-predictions.json"]
    main, other = (_loaded(converted, f"annotations/{name}") for name in names)
    ids = {one["file_name"]: one["id"] for one in main["images"]}
    shared = [one for one in other["images"] if one["file_name"] in ids]
    assert shared
    assert all(ids[one["file_name"]] == one["id"] for one in shared)


def test_videos_are_named_and_frames_know_their_place(converted: Path) -> None:
    """The number of a frame is in its name, too."""
    held = _loaded(converted)
    videos = {one["id"]: one for one in held["videos"]}
    frames = [one for one in held["images"] if "video_id" in one]
    assert len(videos) > 1
    assert {one["video_id"] for one in frames} == set(videos)
    for one in frames:
        assert one["frame_index"] == one["frame_id"]
        assert one["file_name"] == f"{videos[one['video_id']]['name']}/{one['frame_id']}.jpg"


def test_an_object_has_one_track_on_all_frames(export: Path, converted: Path) -> None:
    """Two objects have two, also with the same hash in two label rows."""
    tracks: dict[int, set[tuple[str, str]]] = {}
    for path in sorted(converted.glob("annotations/*.json")):
        held = json.loads(path.read_bytes())
        label = {one["id"]: one["label_hash"] for one in held["images"]}
        for one in held["annotations"]:
            assert one["track_id"] == one["attributes"]["track_id"]
            known = (label[one["image_id"]], one["attributes"]["encord_track_uuid"])
            tracks.setdefault(one["track_id"], set()).add(known)
    assert all(len(known) == 1 for known in tracks.values())
    known = [one for some in tracks.values() for one in some]
    assert len(set(known)) == len(known)


def test_every_frame_can_be_asked_for(export: Path, converted: Path, tmp_path: Path) -> None:
    """And images without objects left out; the annotations stay the same."""
    convert(export, tmp_path / "all", to="coco", every_frame=True)
    convert(export, tmp_path / "few", to="coco", no_empty=True)
    usual, every, few = _loaded(converted), _loaded(tmp_path / "all"), _loaded(tmp_path / "few")
    frames = sum(one["number_of_frames"] for one in every["videos"])
    assert sum("video_id" in one for one in every["images"]) == frames
    assert frames > sum("video_id" in one for one in usual["images"])
    with_objects = {one["image_id"] for one in few["annotations"]}
    assert {one["id"] for one in few["images"]} == with_objects
    assert len(few["images"]) < len(usual["images"])

    def without_ids(held: Json) -> list[Json]:
        names = {one["id"]: one["file_name"] for one in held["images"]}
        return [one | {"image_id": names[one["image_id"]]} for one in held["annotations"]]

    assert without_ids(usual) == without_ids(every) == without_ids(few)


def test_unlabelled_images_can_be_added(tmp_path: Path) -> None:
    """They are negatives."""
    export = exported(tmp_path / "out", LiveWorld(rows=60, unlabelled=0.5))
    convert(export, tmp_path / "usual", to="coco")
    convert(export, tmp_path / "more", to="coco", include_unlabelled=True)
    usual, more = _loaded(tmp_path / "usual"), _loaded(tmp_path / "more")
    assert len(more["images"]) > len(usual["images"])
    assert more["annotations"] == usual["annotations"]
    assert any("label_hash" in one and one["label_hash"] is None for one in more["images"])


def test_splits_have_a_file_each(export: Path, tmp_path: Path) -> None:
    """All with all categories; an image is in one only."""
    convert(export, tmp_path / "set", to="coco", split="train=0.5,val=0.5")
    train, val = (
        _loaded(tmp_path / "set", f"annotations/instances_{name}.json") for name in ("train", "val")
    )
    assert train["categories"] == val["categories"]
    names = [{one["file_name"] for one in held["images"]} for held in (train, val)]
    assert all(names)
    assert names[0].isdisjoint(names[1])
    ids = [{one["id"] for one in held["images"]} for held in (train, val)]
    assert ids[0].isdisjoint(ids[1])


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    """With a seed that fills it."""
    export = exported(tmp_path / "out", LiveWorld(rows=20))
    with pytest.raises(BadInput, match=r"--split-seed|larger share"):
        convert(export, tmp_path / "set", to="coco", split="train=0.999999,val=0.000001")


def test_a_classes_file_orders_and_merges(export: Path, tmp_path: Path) -> None:
    """Objects of classes that it does not name are left out."""
    classes = tmp_path / "classes.txt"
    classes.write_text("Round = Manhole, Wheel\nCar\n")
    done = convert(export, tmp_path / "set", to="coco", classes=classes)
    held = _loaded(tmp_path / "set")
    assert [(one["id"], one["name"], one["supercategory"]) for one in held["categories"]] == [
        (1, "Round", "mixed"),
        (2, "Car", "bounding_box"),
    ]
    assert {one["category_id"] for one in held["annotations"]} == {1, 2}
    assert done.records["objects"].left_out["class"] > 0


def test_the_same_export_gives_the_same_bytes(export: Path, converted: Path, tmp_path: Path) -> None:
    """As does one that was synced, and a new one."""
    convert(export, tmp_path / "again", to="coco")
    assert files_in(tmp_path / "again") == files_in(converted)
    world = LiveWorld(rows=40)
    exported(tmp_path / "kept", world)
    world.world.edit(rows=world.labels()[5:9], added=3)
    synced(tmp_path / "kept", world)
    exported(tmp_path / "fresh", world)
    for name in ("kept", "fresh"):
        convert(tmp_path / name, tmp_path / f"{name}-set", to="coco")
    kept, fresh = files_in(tmp_path / "kept-set"), files_in(tmp_path / "fresh-set")
    del kept["conversion.json"], fresh["conversion.json"]
    assert kept == fresh
