"""YOLO data sets: as Ultralytics' layout has them, loaded by supervision, with nothing dropped silently."""

import errno
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
import yaml

from harvester.datasets.conversion import Conversion
from harvester.datasets.convert import convert
from harvester.datasets.file_list import FILES
from harvester.errors import BadInput, Unsound
from harvester.settings import Selection
from harvester.splitting.splits import Splits
from tests.datasets.exports import exported, files_in, records_of
from tests.datasets.image_exports import make_media, pictures_of
from tests.sync.worlds import LiveWorld

TASKS = ("detect", "segment", "pose", "obb")
SPLIT = "train=0.7,val=0.3"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with every data type and shape."""
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=100, branches=()))


@pytest.fixture(scope="module")
def media(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for each image of the export, by name."""
    directory = tmp_path_factory.mktemp("media")
    make_media(export, directory)
    return directory


def _names(export: Path) -> list[str]:
    """Classes in ontology order, without those that are heard or read."""
    ontology = json.loads((export / "ontology.json").read_bytes())
    return [one["name"] for one in ontology["objects"] if one["shape"] not in ("audio", "text")]


def _adds_up(done: Conversion, files: dict[str, bytes]) -> None:
    """Records are written or left out, and what is written stands in the files, split by split."""
    for counts in done.records.values():
        assert counts.read == counts.written + sum(counts.left_out.values())
    labels = {name: data.splitlines() for name, data in files.items() if name.startswith("labels/")}
    lines = sum(map(len, labels.values()))
    assert done.records["objects"].written == lines
    assert sum(row["objects"] for row in done.tables["splits"].values()) == lines
    assert sum(row["images"] for row in done.tables["splits"].values()) == len(labels)
    assert sum(row["units"] for row in done.tables["splits"].values()) == done.records["units"].written
    shapes = done.tables["shapes"].values()
    assert sum(cells.get(done.options.get("task", "detect"), 0) for cells in shapes) == lines
    for reason, number in done.records["objects"].left_out.items():
        assert sum(cells.get(f"left_out_{reason}", 0) for cells in shapes) == number


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_dropped_silently(export: Path, tmp_path: Path, task: str) -> None:
    """On a project with every shape: what became a line, what did not and why, add up to what was read."""
    done = convert(export, tmp_path / "set", to="yolo", task=task)
    _adds_up(done, files_in(tmp_path / "set"))
    objects = records_of(export, "objects")
    assert done.records["objects"].read == len(objects)
    shapes = Counter(one["shape"] or "unknown" for one in objects)
    assert {shape: sum(cells.values()) for shape, cells in done.tables["shapes"].items()} == shapes
    assert done.records["objects"].written > 5


@pytest.mark.parametrize("task", TASKS)
def test_every_coordinate_is_on_the_image(export: Path, tmp_path: Path, task: str) -> None:
    """What was beyond it is counted as clipped."""
    done = convert(export, tmp_path / "set", to="yolo", task=task)
    classes = len(_names(export))
    for path in (tmp_path / "set" / "labels").iterdir():
        for line in path.read_text().splitlines():
            position, *numbers = map(float, line.split())
            assert position in range(classes)
            if task == "pose":
                assert set(numbers[6::3]) <= {0, 1, 2}
                del numbers[6::3]
            assert all(0 <= number <= 1 for number in numbers)
    assert (done.remarks.get("clipped", 0) > 0) == (task != "pose")


def test_there_is_a_file_for_each_image_empty_for_each_negative(export: Path, tmp_path: Path) -> None:
    """Of a video the frames with objects; names are those of the COCO conversion without folders."""
    convert(export, tmp_path / "set", to="yolo")
    expected = {
        picture.name.partition("/")[2].removesuffix(picture.ending).replace("/", "_"): bool(picture.objects)
        for picture in pictures_of(export)
    }
    found = {path.name: path.read_bytes() for path in (tmp_path / "set" / "labels").iterdir()}
    assert found.keys() == {f"{name}.txt" for name in expected}
    negatives = [name for name, has_objects in expected.items() if not has_objects]
    assert len(negatives) > 3
    assert all(found[f"{name}.txt"] == b"" for name in negatives)


@pytest.mark.parametrize("task", ["detect", "segment", "obb"])
def test_supervision_loads_images_and_labels_together(
    export: Path, media: Path, tmp_path: Path, task: str
) -> None:
    """One to one; with the classes in ontology order, and the boxes of the records."""
    out = tmp_path / "set"
    done = convert(export, out, to="yolo", task=task, media=media, split=SPLIT)
    total = 0
    for split in ("train", "val"):
        images = {path.stem for path in (out / "images" / split).iterdir()}
        assert images == {path.stem for path in (out / "labels" / split).iterdir()}
        loaded = supervision.DetectionDataset.from_yolo(
            str(out / "images" / split),
            str(out / "labels" / split),
            str(out / "data.yaml"),
            force_masks=task == "segment",
            is_obb=task == "obb",
        )
        assert loaded.classes == _names(export)
        assert len(loaded) == len(images)
        assert loaded[0][1].shape[2] == 3
        found = sum(map(len, loaded.annotations.values()))
        assert found == done.tables["splits"][split]["objects"]
        total += found
    assert total == done.records["objects"].written > 5


def test_detections_are_the_boxes_of_the_records(tmp_path: Path) -> None:
    """In pixels, with their classes, image by image."""
    export = exported(
        tmp_path / "out", LiveWorld(rows=30, mix=("image",), shapes=("bounding_box",), odd=False, branches=())
    )
    make_media(export, tmp_path / "media")
    convert(export, tmp_path / "set", to="yolo", media=tmp_path / "media")
    loaded = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "set/images"), str(tmp_path / "set/labels"), str(tmp_path / "set/data.yaml")
    )
    boxes: dict[str, list[Any]] = {picture.unit.unit_hash or "": [] for picture in pictures_of(export)}
    for record in records_of(export, "objects"):
        box, width, height = record["object"]["boundingBox"], record["width"], record["height"]
        left, top = max(box["x"], 0) * width, max(box["y"], 0) * height
        right, bottom = min(box["x"] + box["w"], 1) * width, min(box["y"] + box["h"], 1) * height
        boxes[record["unit_hash"]].append((record["name"], [left, top, right, bottom]))
    assert sum(map(len, boxes.values())) > 10
    for path, detections in loaded.annotations.items():
        expected = boxes[Path(path).stem]
        assert [loaded.classes[number] for number in detections.class_id] == [name for name, _ in expected]
        if expected:
            assert np.allclose(detections.xyxy, [box for _, box in expected], atol=0.02)


def test_poses_have_the_joints_of_the_template(export: Path, tmp_path: Path) -> None:
    """And data.yaml says how many, and which change places in a mirror."""
    convert(export, tmp_path / "set", to="yolo", task="pose")
    data = yaml.safe_load((tmp_path / "set/data.yaml").read_text())
    assert data["kpt_shape"] == [5, 3]
    assert data["flip_idx"] == [0, 2, 1, 4, 3]
    person = _names(export).index("Person")
    assert data["kpt_names"] == {person: ["Head", "Left hand", "Right hand", "Left foot", "Right foot"]}
    lines = [line for path in (tmp_path / "set/labels").iterdir() for line in path.read_text().splitlines()]
    assert lines
    assert {len(line.split()) for line in lines} == {1 + 4 + 15}


def test_data_yaml_says_where_splits_are_and_nothing_of_this_machine(export: Path, tmp_path: Path) -> None:
    """Without splits, train and val are all images; a third split has its own line."""
    convert(export, tmp_path / "whole", to="yolo")
    names = dict(enumerate(_names(export)))
    whole = yaml.safe_load((tmp_path / "whole/data.yaml").read_text())
    assert whole == {"train": "images", "val": "images", "names": names}
    convert(export, tmp_path / "split", to="yolo", split="train=0.5,val=0.3,test=0.2")
    split = yaml.safe_load((tmp_path / "split/data.yaml").read_text())
    assert split == {"train": "images/train", "val": "images/val", "test": "images/test", "names": names}


def test_splits_keep_the_frames_of_a_datum_together_and_stay(export: Path, tmp_path: Path) -> None:
    """Videos, groups and series as a whole; each datum where its hash puts it."""
    convert(export, tmp_path / "set", to="yolo", split=SPLIT, split_seed=5)
    splits = Splits(SPLIT, 5)
    several = Counter(picture.unit.data_hash for picture in pictures_of(export))
    assert max(several.values()) > 5
    for picture in pictures_of(export):
        stem = picture.name.partition("/")[2].removesuffix(picture.ending).replace("/", "_")
        assert (tmp_path / "set/labels" / splits.of(picture.unit.data_hash) / f"{stem}.txt").exists()


def test_unlabelled_images_are_added_and_empty_ones_left_out_where_asked_for(
    export: Path, tmp_path: Path
) -> None:
    """Images of the listing that have no label yet; images of which no object is left."""
    plain = convert(export, tmp_path / "plain", to="yolo")
    more = convert(export, tmp_path / "more", to="yolo", include_unlabelled=True)
    unlabelled = more.tables["splits"]["all"]["unlabelled"]
    assert unlabelled > 0
    assert more.tables["splits"]["all"]["images"] == plain.tables["splits"]["all"]["images"] + unlabelled
    assert unlabelled + more.remarks["unlabelled_no_image"] == more.export.counts["unlabelled"]
    few = convert(export, tmp_path / "few", to="yolo", no_empty=True)
    files = files_in(tmp_path / "few")
    _adds_up(few, files)
    assert all(data for data in files.values())
    assert few.records["objects"].written == plain.records["objects"].written
    assert few.records["units"].left_out["no_objects"] > plain.records["units"].left_out.get("no_objects", 0)


def test_every_frame_of_a_video_is_an_image_where_asked_for(export: Path, tmp_path: Path) -> None:
    """Those without objects too."""
    done = convert(export, tmp_path / "set", to="yolo", every_frame=True)
    assert done.tables["splits"]["all"]["images"] == len(pictures_of(export, every_frame=True))
    assert len(pictures_of(export, every_frame=True)) > len(pictures_of(export))


def test_a_classes_file_orders_merges_and_leaves_out(export: Path, tmp_path: Path) -> None:
    """What is left out is counted."""
    file = tmp_path / "classes.txt"
    file.write_text("Human = Person, Pedestrian\nCar\n")
    done = convert(export, tmp_path / "set", to="yolo", classes=file)
    _adds_up(done, files_in(tmp_path / "set"))
    assert yaml.safe_load((tmp_path / "set/data.yaml").read_text())["names"] == {0: "Human", 1: "Car"}
    found = [
        line.split()[0]
        for path in (tmp_path / "set/labels").iterdir()
        for line in path.read_text().splitlines()
    ]
    all_of = Counter(one.name for picture in pictures_of(export) for one in picture.objects)
    assert Counter(found) == {"0": all_of["Person"] + all_of["Pedestrian"], "1": all_of["Car"]}
    assert done.records["objects"].left_out["class"] > 0


class OneBranch(LiveWorld):
    """Of which only the labels of a model are listed."""

    def items(self) -> list[dict[str, Any]]:
        return [item for item in super().items() if item.get("branch_name") == "A b"]


def test_other_branches_have_data_sets_of_their_own(tmp_path: Path) -> None:
    """In a folder each, with the same split for the same datum. A branch alone is the data set."""
    spec: dict[str, Any] = {"rows": 40, "mix": ("image",), "branches": ("A b",)}
    done = convert(exported(tmp_path / "out", LiveWorld(**spec)), tmp_path / "set", to="yolo", split=SPLIT)
    (folder,) = (tmp_path / "set/branches").iterdir()
    assert folder.name.startswith("a_b-")
    assert (folder / "data.yaml").read_bytes() == (tmp_path / "set/data.yaml").read_bytes()
    for split in ("train", "val"):
        roots = tmp_path / "set", folder
        main, other = ({path.name for path in (root / "labels" / split).iterdir()} for root in roots)
        assert other < main
        assert done.tables["splits"][f"branches/{folder.name}/{split}"]["images"] == len(other)
    alone = exported(tmp_path / "alone", OneBranch(**spec))
    convert(alone, tmp_path / "one", to="yolo")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        FILES,
        "conversion.json",
        "data.yaml",
        "labels",
    ]


def test_media_are_found_by_their_index_and_linked(export: Path, tmp_path: Path) -> None:
    """Without a second copy of the bytes, under the names of the data set."""
    found = make_media(export, tmp_path / "media", index=True)
    convert(export, tmp_path / "set", to="yolo", media=tmp_path / "media")
    images = sorted((tmp_path / "set/images").iterdir())
    sources = {path.stat().st_ino: name for name, path in found.items()}
    for image in images:
        assert sources[image.stat().st_ino].partition("/")[2].replace("/", "_") == image.name
    assert len(images) == sum(bool(picture.ending) for picture in pictures_of(export))


def test_frames_are_found_by_their_names_beside_an_index(export: Path, tmp_path: Path) -> None:
    """As JPEG or PNG: the index may know the video only."""
    media = tmp_path / "media"
    found = make_media(export, media)
    frames = sorted(path for name, path in found.items() if name.startswith("videos/"))
    for path in frames[::2]:
        path.rename(path.with_suffix(".png"))
    _index(media, unit_hash=frames[0].parent.name, path="video.mp4")
    convert(export, tmp_path / "set", to="yolo", media=media)
    images = {path.stem: path.suffix for path in (tmp_path / "set/images").iterdir()}
    shown = [picture for picture in pictures_of(export) if picture.unit.medium == "video"]
    assert shown
    png = {f"{path.parent.name}_{path.stem}" for path in frames[::2]}
    for picture in shown:
        stem = picture.name.partition("/")[2].removesuffix(".jpg").replace("/", "_")
        assert images[stem] == (".png" if stem in png else ".jpg")


def test_media_are_copied_where_they_cannot_be_linked(
    export: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from another disk. The data set is the same."""
    convert(export, tmp_path / "linked", to="yolo", media=media)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    convert(export, tmp_path / "copied", to="yolo", media=media)
    assert files_in(tmp_path / "copied") == files_in(tmp_path / "linked")
    (image, *_) = (tmp_path / "copied/images").iterdir()
    assert image.stat().st_nlink == 1


def test_an_image_without_a_file_is_left_out_and_counted(export: Path, tmp_path: Path) -> None:
    """With its objects: there is a file of labels for each image, and the other way round."""
    found = make_media(export, tmp_path / "media")
    gone = [name for name in found if name.startswith("images/")][::3]
    for name in gone:
        found[name].unlink()
    done = convert(export, tmp_path / "set", to="yolo", media=tmp_path / "media")
    files = files_in(tmp_path / "set")
    _adds_up(done, files)
    stems = {
        kind: {Path(name).stem for name in files if name.startswith(f"{kind}/")}
        for kind in ("images", "labels")
    }
    assert stems["images"] == stems["labels"]
    lost = [picture for picture in pictures_of(export) if picture.name in gone or not picture.ending]
    assert done.records["objects"].left_out["no_media"] == sum(len(picture.objects) for picture in lost)


def _index(media: Path, **line: Any) -> None:
    usual = {"label_hash": "l", "branch_name": "main", "unit_hash": "u", "space_id": None, "frame": None}
    media.mkdir(exist_ok=True)
    (media / "media.ndjson").write_text(
        json.dumps(usual | {"path": "a.jpg", "sha256": "0" * 64} | line) + "\n"
    )


def test_media_that_cannot_be_right_are_refused_in_one_line(export: Path, tmp_path: Path) -> None:
    """No directory, none of the images, an index that leads elsewhere, other bytes, a link."""
    media, out = tmp_path / "media", tmp_path / "set"
    with pytest.raises(BadInput, match="is no directory: fill it with harvester media"):
        convert(export, out, to="yolo", media=media)
    media.mkdir()
    with pytest.raises(BadInput, match="has no files that are called as images are"):
        convert(export, out, to="yolo", media=media)
    for path in ("../x.jpg", "/etc/passwd", ".hidden", "a/../../b"):
        _index(media, path=path)
        with pytest.raises(Unsound, match="which is no file of it"):
            convert(export, out, to="yolo", media=media)
    (media / "media.ndjson").write_text("{}\n")
    with pytest.raises(Unsound, match="line 1"):
        convert(export, out, to="yolo", media=media)
    unit = next(picture.unit for picture in pictures_of(export) if picture.ending)
    _index(media, unit_hash=unit.unit_hash, space_id=unit.space_id)
    with pytest.raises(Unsound, match=r"a\.jpg is gone"):
        convert(export, out, to="yolo", media=media)
    (media / "a.jpg").write_bytes(b"other bytes")
    with pytest.raises(Unsound, match="is not what the index says"):
        convert(export, out, to="yolo", media=media)
    (media / "a.jpg").unlink()
    (media / "a.jpg").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match=r"a\.jpg"):
        convert(export, out, to="yolo", media=media)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "semantic"}, "tasks detect, segment, pose, obb, classify, not 'semantic'"),
        ({"split": "train=0.5,val=0.3,names=0.2"}, "'names' means something else in data.yaml"),
        ({"split": "train=0.5,val=0.3,path=0.2"}, "'path' means something else in data.yaml"),
        ({"split": "train=0.8,test=0.2"}, "needs the splits train and val: val is not named"),
        ({"split": "train=0.8,val=0.1"}, "add up to 0.9"),
        ({"split": "train=0.999999999999,val=0.000000000001"}, "val would be empty: give it a larger share"),
        ({"split_by": "colour"}, "not by 'colour'"),
        ({"split": SPLIT, "split_by": "metadata.site"}, "has no client metadata"),
        ({"boxes": True}, "--boxes is for --task segment"),
        ({"classes": Path("gone.txt")}, "gone.txt cannot be read"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    export: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    """And nothing is left behind."""
    with pytest.raises(BadInput) as refused:
        convert(export, tmp_path / "set", to="yolo", **options)
    assert says in refused.value.message
    assert list(tmp_path.iterdir()) == []


class Sites(LiveWorld):
    """Whose data are of four sites, as their metadata say; some do not."""

    def items(self) -> list[dict[str, Any]]:
        items = super().items()
        for number, item in enumerate(items):
            item["client_metadata"] = {"site": {"id": number % 4}} if number % 5 else {}
        return items


def test_data_of_a_site_stay_together(tmp_path: Path) -> None:
    """By a key of the metadata. Rows that do not have it are counted by its name, and go alone."""
    world = Sites(rows=60, mix=("image", "video"), branches=(), unlabelled=0)
    export = exported(tmp_path / "out", world, selection=Selection(client_metadata=True))
    options: dict[str, Any] = {"split": SPLIT, "split_by": "metadata.site.id"}
    done = convert(export, tmp_path / "set", to="yolo", split_seed=3, **options)
    splits = Splits(SPLIT, 3)
    site_of = {item["data_hash"]: item["client_metadata"].get("site") for item in world.items()}
    for picture in pictures_of(export):
        site = site_of[picture.unit.data_hash]
        split = splits.of(picture.unit.data_hash if site is None else str(site["id"]))
        stem = picture.name.partition("/")[2].removesuffix(picture.ending).replace("/", "_")
        assert (tmp_path / "set/labels" / split / f"{stem}.txt").exists()
    assert done.remarks["without_metadata.site.id"] == sum(site is None for site in site_of.values())


def test_a_data_set_needs_skeletons_for_poses(tmp_path: Path) -> None:
    """An ontology without any is told so."""
    world = LiveWorld(rows=3, mix=("image",))
    export = exported(tmp_path / "out", world)
    ontology = json.loads((export / "ontology.json").read_bytes())
    assert ontology["skeleton_templates"]
    file = tmp_path / "classes.txt"
    file.write_text("Car\n")
    with pytest.raises(BadInput, match="--task pose needs a skeleton"):
        convert(export, tmp_path / "set", to="yolo", task="pose", classes=file)
