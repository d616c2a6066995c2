"""From a project to a data set that a trainer loads, by the command; and what it says of wrong options."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import supervision
from PIL import Image

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command, command_for


@pytest.fixture(scope="module")
def images() -> Iterator[Simulator]:
    """Images and groups of images, with their files."""
    with Simulator(WorldSpec(rows=12, mix=("image", "img_group"), branches=())) as running:
        yield running


@pytest.fixture(scope="module")
def command(images: Simulator) -> Command:
    return command_for(images)


@pytest.fixture(scope="module")
def folder(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an export in `out`, and its files in `out/media`."""
    folder = tmp_path_factory.mktemp("datasets")
    command.export(folder / "out", "Demo street scenes")
    done = command("media", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder


def sizes(export: Path) -> dict[str, tuple[int, int]]:
    """Width and height of each image, by its hash."""
    units = [json.loads(line) for line in (export / "units-00000.ndjson").read_bytes().splitlines()]
    return {one["unit_hash"]: (one["width"], one["height"]) for one in units if one["mime_type"]}


def test_three_commands_make_a_data_set_that_loads(command: Command, folder: Path, tmp_path: Path) -> None:
    """A file of labels for each image; and the image is the one that the labels are of: it has their size."""
    out = tmp_path / "yolo"
    done = command.installed(
        "convert", folder / "out", "-o", out, "--to", "yolo", "--media", folder / "out" / "media",
        "--split", "train=0.6,val=0.4", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    shown = sizes(folder / "out")
    found = 0
    for split in ("train", "val"):
        loaded = supervision.DetectionDataset.from_yolo(
            str(out / "images" / split), str(out / "labels" / split), str(out / "data.yaml")
        )
        assert len(loaded) == said["tables"]["splits"][split]["images"]
        assert sum(map(len, loaded.annotations.values())) == said["tables"]["splits"][split]["objects"]
        for path in map(Path, loaded.image_paths):
            found += 1
            with Image.open(path) as image:
                assert image.size == shown[path.stem]
    assert found == len(shown)
    assert said["records"]["objects"]["left_out"].get("no_media") is None
    assert command("verify", out).returncode == 0


def test_coco_with_its_images_loads(command: Command, folder: Path, tmp_path: Path) -> None:
    """Each image with its annotations, one for one, and in the size of its label row."""
    out = tmp_path / "coco"
    done = command.installed(
        "convert", folder / "out", "-o", out, "--to", "coco", "--media", folder / "out" / "media",
        "--split", "train=0.6,val=0.4", "--shape", "bounding_box", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["tables"]["splits"]
    shown = sizes(folder / "out")
    found = 0
    for split in ("train", "val"):
        file = out / f"annotations/instances_{split}.json"
        loaded = supervision.DetectionDataset.from_coco(str(out), str(file))
        assert len(loaded) == said[split]["images"]
        assert sum(map(len, loaded.annotations.values())) == said[split]["objects"] > 0
        for path, image, _ in loaded:
            found += 1
            assert (image.shape[1], image.shape[0]) == shown[Path(path).stem]
    assert found == len(shown)


def test_the_recipe_from_a_title_to_a_data_set_runs(tmp_path: Path) -> None:
    """The three commands of docs/media.md, as they stand there: frames of videos and images load 1:1."""
    page = (Path(__file__).parents[2] / "docs/media.md").read_text()
    recipe = page.split("From a project's title to a data set that a trainer loads")[1]
    commands = recipe.split("```sh\n")[1].split("```")[0].splitlines()
    assert len(commands) == 3
    spec = WorldSpec(rows=12, mix=("image", "video"), video_frames=8, branches=(), unlabelled=0.0)
    with Simulator(spec) as simulator:
        command = command_for(simulator)
        for line in commands:
            done = command.installed(*shlex.split(line)[1:], cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        assert simulator.stats()["mutations"] == 0
    images = 0
    for split in ("train", "val"):
        loaded = supervision.DetectionDataset.from_yolo(
            str(tmp_path / "yolo/images" / split),
            str(tmp_path / "yolo/labels" / split),
            str(tmp_path / "yolo/data.yaml"),
        )
        for path, image, _ in loaded:
            images += 1
            assert image.size
            label = Path(path.replace("/yolo/images/", "/yolo/labels/")).with_suffix(".txt")
            assert label.is_file()
    frames = len(list((tmp_path / "out/media/videos").rglob("*.jpg")))
    assert 0 < frames < images


def test_masks_have_the_size_of_their_images(command: Command, folder: Path, tmp_path: Path) -> None:
    """So each pixel of an image has its class."""
    done = command("convert", folder / "out", "-o", tmp_path / "masks", "--to", "masks", "--boxes")
    assert done.returncode == 0, done.stderr
    media = {path.stem: path for path in (folder / "out/media").rglob("*.jpg")}
    masks = list((tmp_path / "masks/masks/images").iterdir())
    assert masks
    for path in masks:
        assert np.array(Image.open(path)).shape == np.array(Image.open(media[path.stem])).shape[:2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--split", "train=0.8,val=0.1"), "add up to 0.9, not to 1"),
        (("--split", "train=0.999999999999,val=0.000000000001"), "the split val would be empty"),
        (("--split", "../up=1"), "a split cannot be called '../up'"),
        (("--split", "train=0.5,val=0.5", "--split-by", "colour"), "not by 'colour'"),
        (("--task", "everything"), "tasks detect, segment, pose, obb, classify"),
        (("--classes", "/nowhere"), "/nowhere"),
        (("--media", "/nowhere"), "/nowhere is no directory"),
    ],
)
def test_wrong_options_end_with_one_line_and_exit_2(
    command: Command, folder: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """And nothing is written."""
    done = command("convert", folder / "out", "-o", tmp_path / "set", "--to", "yolo", "--quiet", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert list(tmp_path.iterdir()) == []
