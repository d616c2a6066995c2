"""Scenes in all the forms that the platform writes: images, events, channels, point clouds."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from harvester.simulator.world import World, WorldSpec
from tests.truth import truth_of

Json = dict[str, Any]


def rows(kind: str) -> list[Json]:
    world = World(WorldSpec(rows=60, mix=(kind,), unlabelled=0, seed=4))
    return [orjson.loads(world.label_row(world.label_hash(number)) or b"") for number in range(60)]


@pytest.fixture(scope="module")
def images() -> list[Json]:
    return rows("scene_images")


@pytest.fixture(scope="module")
def recordings() -> list[Json]:
    return rows("recording")


def labels(row: Json) -> Json:
    (unit,) = row["data_units"].values()
    return unit["labels"]  # type: ignore[no-any-return]


def space_of(key: str, row: Json) -> str | None:
    """The space that a key of the data unit's labels names, as the SDK finds it."""
    if key in row["spaces"]:
        return key
    found: dict[str, str] = {}
    for space, info in row["spaces"].items():
        scene = info["scene_info"]
        if "start_frame" in scene:
            found[f"{scene['stream_id']}#{scene['start_frame']}"] = space
        found.setdefault(f"{scene['stream_id']}#{scene['event_index']}", space)
    return found.get(key)


def actions(row: Json) -> Iterator[tuple[str, Json]]:
    for hash, entry in row["object_actions"].items():
        yield from ((hash, action) for action in entry["actions"])


# -- images ---------------------------------------------------------------------------------------


def test_labels_of_images_stand_under_three_kinds_of_keys(images: list[Json]) -> None:
    """By start frame, by event index (of a stream with or without a name), and by the space's id."""
    for row in images:
        keys = [key for key in labels(row) if not key.isdigit()]
        named = [space_of(key, row) for key in keys]
        spaces = [space for space, info in row["spaces"].items() if info["space_type"] == "scene_image"]
        assert sorted(map(str, named)) == sorted(spaces)
        assert {"camera/left#0", "camera/right#0", "camera/rear/0.jpg", "#0"} < set(keys)
        assert all(
            info["labels"] == {"objects": [], "classifications": []}
            for info in map(row["spaces"].get, spaces)
        )


def test_a_start_frame_may_be_another_images_event_index(images: list[Json]) -> None:
    """A reader that takes one for the other puts labels on the wrong image."""
    met = 0
    for row in images:
        left = [
            i["scene_info"] for i in row["spaces"].values() if i["scene_info"]["stream_id"] == "camera/left"
        ]
        starts = {info["start_frame"]: info for info in left}
        met += sum(starts.get(info["event_index"], info) is not info for info in left)
    assert met > 5


def test_answers_name_images_by_their_space(images: list[Json]) -> None:
    """Dynamic answers, which differ from image to image, by `spaceId`; classifications by `spaces`."""
    several = Counter[bool]()
    for row in images:
        places: dict[str, dict[str, list[Any]]] = {}
        for hash, action in actions(row):
            if "spaceId" in action:
                assert row["spaces"][action["spaceId"]]["space_type"] == "scene_image"
                at = places.setdefault(hash, {}).setdefault(action["spaceId"], [])
                at.append((action["featureHash"], action["answers"]))
        several.update(len({str(answers) for answers in at.values()}) > 1 for at in places.values())
        for answer in row["classification_answers"].values():
            assert (answer.get("spaces") or {}).keys() <= row["spaces"].keys()
    assert several[True] > 3
    placed = [a for row in images for a in row["classification_answers"].values() if a.get("spaces")]
    assert {len(place["range"]) for answer in placed for place in answer["spaces"].values()} == {0, 1}


# -- recordings -----------------------------------------------------------------------------------


def test_only_labels_name_the_spaces_of_a_recording(recordings: list[Json]) -> None:
    """The row lists none; point clouds stand under `topic@timestamp`, numbers are nanoseconds."""
    for row in recordings:
        assert row["spaces"] == {}
        assert row["scene"] == {"isContinuous": True}
        clouds = [key for key in labels(row) if not key.isdigit()]
        assert len(clouds) == 2
        assert all(key.startswith("/lidar/points@17") for key in clouds)


def test_time_ranges_of_channels_may_say_neither_shape_nor_name(recordings: list[Json]) -> None:
    """Most say only their feature hash; some are on two channels."""
    spans = [a for row in recordings for a in row["object_answers"].values() if "/" in str(a.get("spaces"))]
    spans = [answer for answer in spans if any(map(len, (p["range"] for p in answer["spaces"].values())))]
    bare = [answer for answer in spans if not answer.keys() & {"shape", "name", "value", "color"}]
    assert len(spans) / 2 < len(bare) < len(spans)
    assert all(answer["featureHash"] and answer["range"] == [] for answer in spans)
    assert {len(answer["spaces"]) for answer in spans} == {1, 2}


def test_channels_are_classified(recordings: list[Json]) -> None:
    """With ranges, or as a whole."""
    placed = [
        p
        for r in recordings
        for a in r["classification_answers"].values()
        for p in a.get("spaces", {}).items()
    ]
    assert {bool(place["range"]) for _, place in placed} == {True, False}
    assert {channel for channel, _ in placed} == {"/imu/accel.z", "/gps/speed", "/can/brake"}


def events(row: Json) -> dict[str, list[tuple[int, str]]]:
    """What happens to each object, in time."""
    found: dict[str, list[tuple[int, str]]] = {}
    for time in sorted(map(int, filter(str.isdigit, labels(row)))):
        for event in labels(row)[str(time)]["objects"]:
            found.setdefault(event["objectHash"], []).append((time, event.get("event", "upsert")))
    return found


def test_objects_of_a_recording_end_and_come_back(recordings: list[Json]) -> None:
    """Each ends on a delete; some have two lives; in between their dynamic answers change."""
    lives, changing = Counter[int](), 0
    for row in recordings:
        found = events(row)
        for life in found.values():
            assert life[-1][1] == "delete"
            lives[sum(kind == "delete" for _, kind in life)] += 1
        for hash, action in actions(row):
            ((start, stop),) = action["range"]
            ends = [time for time, kind in found[hash] if kind == "delete"]
            assert any(found[hash][0][0] <= start <= stop < end for end in ends)
            changing += start not in [time for time, _ in found[hash]]
    assert lives[1] > lives[2] > 10
    assert changing > 10


def test_in_an_open_scene_some_objects_never_end() -> None:
    """Every row has one; others end."""
    ends = Counter[str]()
    for row in rows("open_scene"):
        last = [life[-1][1] for life in events(row).values()]
        assert "upsert" in last
        ends.update(last)
    assert ends["delete"] > 10


def test_all_may_be_one_of_several_kinds() -> None:
    """The usual mix, and kinds that it leaves out."""
    usual = truth_of(World(WorldSpec(rows=200))).by_data_type
    more = truth_of(World(WorldSpec(rows=200, mix=("all", "scene_images", "recording")))).by_data_type
    assert more.keys() == usual.keys()
    assert more["scene"] > usual["scene"]
