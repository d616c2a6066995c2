"""All types of data that the simulator has: what is fetched, what is not, and where secrets do not go."""

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester import live_records
from harvester.simulator import Faults, Simulator
from harvester.simulator.storage.signing import CANARY
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import wait_for
from tests.media.conftest import MediaPlatform

MIX = ("all", "scene_images", "recording", "open_scene", "odd_image", "odd_group", "dicom_study")
# Need not have a file of its own. A scene of one file (MCAP) has it.
MADE_OF_OTHERS = {"group", "scene", "dicom_study"}


@pytest.fixture(scope="module")
def everything() -> Iterator[MediaPlatform]:
    with Simulator(WorldSpec(rows=110, mix=MIX, video_frames=4)) as simulator:
        yield MediaPlatform(simulator)


@pytest.fixture(scope="module")
def whole(everything: MediaPlatform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything.export(tmp_path_factory.mktemp("whole") / "out")


def test_each_unit_has_its_file_or_is_counted_as_without(
    everything: MediaPlatform, whole: Path, tmp_path: Path
) -> None:
    """Each unit and space is in the index, or counted by type: of those that docs/media.md lists."""
    target = Path(shutil.copytree(whole, tmp_path / "out"))
    done = everything.media(target)
    assert done.code == 0, done.said
    done.check()
    there = {(line["label_hash"], line["unit_hash"], line["space_id"]) for line in done.index}
    without, seen = Counter[str](), set()
    for unit in live_records(target, kinds=["units"]):
        assert unit["kind"] == "unit"
        seen.add(unit["data_type"])
        key = (unit["label_hash"], unit["unit_hash"], unit["space_id"])
        is_space = unit["space_id"] is not None
        if key not in there and (is_space or unit["data_type"] not in MADE_OF_OTHERS):
            without[f"{unit['data_type']} space" if is_space else str(unit["data_type"])] += 1
    assert seen >= {
        "audio", "dicom", "group", "image", "img_group", "nifti", "pdf", "plain_text", "scene", "time_series",
        "video",
    }  # fmt: skip
    said = done.summary["without_file"]
    assert said == without
    assert said.keys() == {"image space", "group space", "scene space", "img_group"}
    again = everything.media(target)
    assert again.summary["run"]["fetched"] == 0
    assert again.summary["without_file"] == said


def test_members_of_a_group_are_told_apart_when_some_are_there(
    everything: MediaPlatform, whole: Path, tmp_path: Path
) -> None:
    """Those without a name of their own go by their place among all, also if only one of them is missing."""
    target = Path(shutil.copytree(whole, tmp_path / "out"))
    first = everything.media(target, "--data-type", "group")
    assert first.code == 0, first.said
    members = [line for line in first.index if line["space_id"] is not None]
    assert any(line["path"].endswith(".group") for line in members)  # its name is that of the group
    for line in members:
        (target / "media" / line["path"]).unlink()
        again = everything.media(target, "--data-type", "group")
        assert again.code == 0, again.said
        assert again.summary["run"]["fetched"] == 1
        assert [(each["path"], each["sha256"]) for each in again.index] == [
            (each["path"], each["sha256"]) for each in first.index
        ]


def test_no_signed_url_is_in_the_process_list_or_in_an_open_file(
    everything: MediaPlatform, whole: Path, tmp_path: Path
) -> None:
    """While files arrive: neither in arguments and environment, nor in temporary files, deleted ones too."""
    target = Path(shutil.copytree(whole, tmp_path / "out"))
    everything.simulator.set_faults(Faults(media=("slow",), media_share=0.7, trickle_seconds=0.5))
    running = everything.command.start("media", target, "--quiet")
    wait_for(running, lambda: any((target / "media").glob("*.jpg")))
    process, read = Path(f"/proc/{running.pid}"), 0
    for name in ("cmdline", "environ"):
        assert CANARY.encode() not in (process / name).read_bytes()
    for opened in (process / "fd").iterdir():
        if stat.S_ISREG(os.stat(opened).st_mode):
            read += 1
            assert CANARY.encode() not in opened.read_bytes()
    assert running.poll() is None
    assert read > 0
    running.terminate()
    running.wait()
