"""Pictures of frames: the number that is drawn in the picture is the number of the frame."""

import io
import json
import random
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from harvester import live_records
from harvester.media.video_frames import decode_frames, picture_of
from harvester.simulator import Simulator
from harvester.simulator.storage.pictures import read_number
from harvester.simulator.storage.videos import mp4
from harvester.simulator.world import WorldSpec
from tests.media.conftest import MediaPlatform

FRAMES = 200


Filmed = tuple[MediaPlatform, Path]


def film(folder: Path, *, variable: bool) -> Iterator[Filmed]:
    """A platform with one video of 200 frames, of constant or variable frame rate, and its export."""
    spec = WorldSpec(
        rows=1, mix="video", unlabelled=0.0, branches=(), objects_per_row=8,
        video_frames=FRAMES, variable_frame_rate=variable,
    )  # fmt: skip
    with Simulator(spec) as simulator:
        platform = MediaPlatform(simulator)
        yield platform, platform.export(folder / "out")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filmed]:
    yield from film(tmp_path_factory.mktemp("filmed"), variable=False)


@pytest.fixture(scope="module")
def irregular(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filmed]:
    yield from film(tmp_path_factory.mktemp("irregular"), variable=True)


def drawn(path: Path) -> int:
    with Image.open(path) as picture:
        return read_number(picture)


@pytest.mark.parametrize("rate", ["filmed", "irregular"])
def test_each_frame_shows_its_number(rate: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """200 of 200, with constant and with variable frame rate; first those with objects, then the others."""
    platform, target = request.getfixturevalue(rate)
    records = live_records(target, kinds=["objects"])
    labelled = {record["frame"] for record in records if record["kind"] == "object"}
    assert len(labelled) > 3
    for frames, numbers in (("labelled", labelled), ("all", set(range(FRAMES)))):
        done = platform.media(target, "-o", tmp_path / "files", "--frames", frames, folder=tmp_path / "files")
        assert done.code == 0, done.said
        pictures = {line["frame"]: line for line in done.index if line["frame"] is not None}
        assert pictures.keys() == numbers
        assert done.summary["run"]["frames"] == len(numbers)
    done.check()
    for number, line in pictures.items():
        assert line["path"] == f"videos/{line['unit_hash']}/{number}.jpg"
        assert drawn(done.folder / line["path"]) == number


def test_frames_are_made_once(filmed: Filmed, tmp_path: Path) -> None:
    """A second run makes those that are missing, and one without frames keeps them in the index."""
    platform, target = filmed
    folder = tmp_path / "files"
    first = platform.media(
        target, "-o", folder, "--frames", "every=50", "--frame-format", "png", folder=folder
    )
    index = (folder / "media.ndjson").read_bytes()
    made = sorted((folder / "videos").rglob("*.png"))
    assert {drawn(path) for path in made} == set(range(0, FRAMES, 50))
    made[0].unlink()
    kept = made[1].stat().st_mtime_ns
    again = platform.media(
        target, "-o", folder, "--frames", "every=50", "--frame-format", "png", folder=folder
    )
    assert again.code == first.code == 0
    assert drawn(made[0]) in range(0, FRAMES, 50)
    assert made[1].stat().st_mtime_ns == kept
    without = platform.media(target, "-o", folder, folder=folder)
    without.check()
    assert len([line for line in without.index if line["frame"] is not None]) == FRAMES // 50
    assert len(index.splitlines()) == len(without.index)


def test_a_video_is_not_decoded_again_once_its_frames_are_counted(filmed: Filmed, tmp_path: Path) -> None:
    """The index keeps their number, also if the label row says another one: what is there is all there is."""
    platform, target = filmed
    folder = tmp_path / "files"
    flags = ("-o", folder, "--frames", "every=40")
    first = platform.media(target, *flags, folder=folder)
    (whole,) = [line for line in first.index if line["frame"] is None]
    assert whole["decoded_frames"] == FRAMES
    # If fewer were counted, no later frame would be looked for.
    lines = [line | ({"decoded_frames": 80} if line == whole else {}) for line in first.index]
    (folder / "media.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    gone = sorted((folder / "videos").rglob("120.jpg"))
    gone[0].unlink()
    again = platform.media(target, *flags, folder=folder)
    assert again.code == 0, again.said
    assert not gone[0].exists()
    gone = sorted((folder / "videos").rglob("40.jpg"))
    gone[0].unlink()
    assert platform.media(target, *flags, folder=folder).code == 0
    assert drawn(gone[0]) == 40


def test_what_is_no_video_is_listed_as_failed(filmed: Filmed, tmp_path: Path) -> None:
    """The file is there and whole, but nothing can be decoded: exit 3, and why."""
    platform, target = filmed
    folder = tmp_path / "files"
    platform.media(target, "-o", folder, folder=folder)
    (video,) = folder.glob("*.mp4")
    data = random.Random(1).randbytes(video.stat().st_size)
    video.write_bytes(data)
    lines = [json.loads(line) for line in (folder / "media.ndjson").read_text().splitlines()]
    lines[0]["sha256"] = sha256(data).hexdigest()
    (folder / "media.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = platform.media(target, "-o", folder, "--frames", "all", folder=folder)
    assert done.code == 3
    assert [line["error"] for line in done.failed] == ["unreadable"]
    assert "cannot be decoded" in done.failed[0]["message"]


def test_only_wanted_frames_are_decoded(filmed: Filmed, tmp_path: Path) -> None:
    """The decoder stops after the last of them."""
    platform, target = filmed
    folder = tmp_path / "files"
    platform.media(target, "-o", folder, folder=folder)
    (video,) = folder.glob("*.mp4")
    with video.open("rb") as file:
        found = [number for number, _ in decode_frames(file, lambda number: number in (3, 5), 5)]
    assert found == [3, 5]


def test_a_picture_is_turned_as_players_turn_the_video() -> None:
    """A phone held upright films on its side, and says so in the file (ISO 14496-12, 8.3.2: the matrix)."""
    width, height = 96, 64
    video = mp4(3, 10, width, height)
    at = video.index(b"tkhd") + 44
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, height << 16, 0, 1 << 30)
    turned = video[:at] + clockwise + video[at + len(clockwise) :]
    for number, frame in decode_frames(io.BytesIO(turned), lambda number: True, None):
        with Image.open(io.BytesIO(picture_of(frame, "png"))) as picture:
            assert picture.size == (height, width)
            assert read_number(picture.transpose(Image.Transpose.ROTATE_90)) == number


def test_labels_beyond_the_end_of_a_video_are_counted_and_named(filmed: Filmed, tmp_path: Path) -> None:
    """The frames that are there have pictures; exit 3 says how many have none, and which is the first."""
    platform, target = filmed
    folder = tmp_path / "files"
    platform.media(target, "-o", folder, folder=folder)
    (video,) = folder.glob("*.mp4")
    labelled = {one["frame"] for one in live_records(target, kinds=["objects"]) if one["kind"] == "object"}
    end = sorted(labelled)[-2]
    short = mp4(end, 10, 96, 64)
    video.write_bytes(short)
    lines = [json.loads(line) for line in (folder / "media.ndjson").read_text().splitlines()]
    lines[0] |= {"sha256": sha256(short).hexdigest(), "bytes": len(short)}
    (folder / "media.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = platform.media(target, "-o", folder, "--frames", "labelled", folder=folder)
    assert done.code == 3
    assert done.summary["run"]["frames"] == len(labelled) - 2
    assert f"the video has {end} frames: 2 of those that are labelled" in done.failed[0]["message"]
    assert done.failed[0]["message"].endswith(f"the first is frame {end}")
