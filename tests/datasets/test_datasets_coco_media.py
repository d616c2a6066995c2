"""COCO data sets with their images, beside the annotations, where the file names point."""

import json
import os
from pathlib import Path

import pytest
import supervision

from harvester.datasets.convert import convert
from harvester.datasets.file_list import listed_files
from harvester.errors import BadInput, Unsound
from harvester.output.target import LocalTarget
from tests.datasets.exports import exported
from tests.datasets.image_exports import make_media, pictures_of
from tests.sync.worlds import LiveWorld


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with every data type, on two branches."""
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=50))


@pytest.mark.parametrize("index", [False, True])
def test_images_stand_where_file_names_point(export: Path, tmp_path: Path, index: bool) -> None:
    """For every branch; those without a file are counted, and stay in the annotations."""
    make_media(export, tmp_path / "media", index=index)
    done = convert(export, tmp_path / "set", to="coco", media=tmp_path / "media")
    files = sorted((tmp_path / "set/annotations").iterdir())
    assert len(files) == 2
    named = [image for file in files for image in json.loads(file.read_bytes())["images"]]
    missing = [image for image in named if not (tmp_path / "set" / image["file_name"]).is_file()]
    assert all(image["file_name"].startswith(("dicom/", "nifti/")) for image in missing)
    assert done.remarks["no_media"] == len(missing) > 0
    there = {path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*.*g")}
    assert there == {image["file_name"] for image in named} - {image["file_name"] for image in missing}
    assert {file.name for file in listed_files(LocalTarget(tmp_path / "set"), done.files)} >= there


@pytest.mark.parametrize("forged", ["size", "frame"])
def test_the_index_is_not_trusted(export: Path, tmp_path: Path, forged: str) -> None:
    """A file of another size is not read to its end, and a number that no table holds is damage."""
    first = next(iter(make_media(export, tmp_path / "media", index=True).values()))
    index = tmp_path / "media" / "media.ndjson"
    if forged == "size":
        os.truncate(first, 2**40)  # sparse; reading it would take hours
    else:
        index.write_text(index.read_text().replace('"frame": null', f'"frame": {2**64}'))
    with pytest.raises(Unsound, match="index says" if forged == "size" else r"media\.ndjson is damaged"):
        convert(export, tmp_path / "set", to="coco", media=tmp_path / "media")


def test_frames_that_are_png_are_called_so(tmp_path: Path) -> None:
    """The file name in the annotations is that of the file."""
    export = exported(tmp_path / "out", LiveWorld(rows=6, mix=("video",), branches=()))
    for path in make_media(export, tmp_path / "media").values():
        path.rename(path.with_suffix(".png"))
    convert(export, tmp_path / "set", to="coco", media=tmp_path / "media")
    (file,) = (tmp_path / "set/annotations").iterdir()
    names = [image["file_name"] for image in json.loads(file.read_bytes())["images"]]
    assert len(names) == len(pictures_of(export)) > 0
    assert all(name.endswith(".png") and (tmp_path / "set" / name).is_file() for name in names)


def test_supervision_loads_images_and_annotations_together(tmp_path: Path) -> None:
    """With the data set's directory as that of the images."""
    world = LiveWorld(rows=12, mix=("image", "img_group"), shapes=("bounding_box",), branches=(), odd=False)
    export = exported(tmp_path / "out", world)
    make_media(export, tmp_path / "media", index=True)
    done = convert(export, tmp_path / "set", to="coco", media=tmp_path / "media")
    (file,) = (tmp_path / "set/annotations").iterdir()
    loaded = supervision.DetectionDataset.from_coco(str(tmp_path / "set"), str(file))
    assert len(loaded) == len(pictures_of(export))
    assert all(image.size for _, image, _ in loaded)
    assert sum(map(len, loaded.annotations.values())) == done.records["objects"].written


def test_a_directory_without_any_of_the_images_is_refused(export: Path, tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "media").mkdir()
    with pytest.raises(BadInput, match="has no files that are called as images are"):
        convert(export, tmp_path / "set", to="coco", media=tmp_path / "media")
