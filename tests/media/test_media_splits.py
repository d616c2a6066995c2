"""The files of some splits only: those that conversions put into them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.media.conftest import MediaPlatform

IMAGES = ("--data-type", "image")
SPLIT = ("--split", "train=0.6,val=0.4", "--split-seed", "3")


@pytest.fixture
def target(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "out"))


def test_the_files_are_those_of_the_same_split_of_a_conversion(
    platform: MediaPlatform, target: Path, tmp_path: Path
) -> None:
    """With the same flags; both splits together are everything, and no file is of both."""
    made = platform.command("convert", target, "-o", tmp_path / "coco", "--to", "coco", *SPLIT)
    assert made.returncode == 0, made.stderr
    found, converted = {}, {}
    for name in ("train", "val"):
        folder = tmp_path / name
        done = platform.media(target, "-o", folder, *IMAGES, *SPLIT, "--only-split", name, folder=folder)
        assert done.code == 0, done.said
        found[name] = {line["unit_hash"] for line in done.index}
        listed = json.loads((tmp_path / f"coco/annotations/instances_{name}.json").read_text())["images"]
        converted[name] = {Path(image["file_name"]).stem for image in listed}
    assert not found["train"] & found["val"]
    for name, other in (("train", "val"), ("val", "train")):
        assert found[name] & converted[name]
        assert not found[name] & converted[other]
    both = platform.media(target, *IMAGES, *SPLIT, "--only-split", "train", "--only-split", "val")
    assert {line["unit_hash"] for line in both.index} == found["train"] | found["val"]
    assert both.index == platform.media(target, *IMAGES).index


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (SPLIT, "--split divides; name what to fetch with --only-split: train, val"),
        (("--only-split", "val"), "--only-split needs --split"),
        ((*SPLIT, "--only-split", "test"), "there is no split 'test' in train=0.6,val=0.4"),
        (("--split", "train=0.6", "--only-split", "train"), "add up to 0.6, not to 1"),
        ((*SPLIT, "--split-by", "site", "--only-split", "val"), "data are split by one of"),
        ((*SPLIT, "--split-by", "metadata.site", "--only-split", "val"), "--client-metadata to split by"),
        (("--split", "a=0.999999999,b=0.000000001", "--only-split", "b"), "the split b would be empty"),
    ],
)
def test_a_split_that_cannot_be_meant_is_refused(
    platform: MediaPlatform, exported: Path, flags: tuple[str, ...], said: str
) -> None:
    """Exit code 2, one line, nothing fetched."""
    done = platform.command("media", exported, *IMAGES, *flags, "--quiet")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (exported / "media").exists()
