"""Scenes in all forms that the platform writes. Made only if a mix names them.

The forms: labels of scene images under three kinds of
keys, events with answers that change between them, channels that only answers name.
"""

from typing import Any

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.framed import (
    Frames,
    Row,
    keyed,
    on_frame,
    place_classifications,
    place_tracks,
    unit,
)
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Json
from harvester.simulator.ranged import SECOND, spans
from harvester.simulator.rng import Rng
from harvester.simulator.scenes import cloud
from harvester.simulator.shapes import DEEP, EVENTS, FLAT, HEIGHT, WIDTH
from harvester.simulator.template import hole

# Streams of images, by how the keys of their labels name an image.
BY_START, BY_EVENT, BY_SPACE, UNNAMED = "camera/left", "camera/right", "camera/rear", ""
STREAMS = (BY_START, BY_EVENT, BY_SPACE, UNNAMED)
CLOUD = "lidar/1.pcd"
CHANNELS = ("/imu/accel.z", "/gps/speed", "/can/brake")
LIDAR = "/lidar/points"
BEGIN = 1_700_000_000 * SECOND  # nanoseconds since 1970; those of events begin at 0


def images_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    """Return two or three images of each of four streams, and a point cloud; a space's id is its path.

    Images of one stream start `step` frames apart: a start frame may be the event index of another image.
    """
    frames, step = rng.between(6, 12), rng.between(1, 3)
    made: Json = {}
    for stream in STREAMS:
        for event in range(rng.between(2, 3)):
            path = f"{stream or 'unnamed'}/{event}.jpg"
            info: Json = {"stream_id": stream, "event_index": event, "uri": path}
            if stream == BY_START:
                info["start_frame"] = event * step
            size = {"width": WIDTH, "height": HEIGHT}
            made[path] = {"space_type": "scene_image", "scene_info": info} | size
    info = {"stream_id": "lidar", "event_index": 0, "uri": CLOUD}
    made[CLOUD] = {"space_type": "point_cloud", "scene_info": info}
    return {"number_of_frames": frames, "spaces": made, "file_type": "application/json"}


def images_row(labels: Labels, media: Json) -> Row:
    """Make a row of 3D objects on frames and 2D objects on images; answers name an image by its space."""
    infos: dict[str, Json] = media["spaces"]
    images = [space for space in infos if space != CLOUD]
    frames: Frames = {}
    end = media["number_of_frames"] - 1
    in_space, on_cloud, on_images = labels.split(3)
    place_tracks(labels, labels.tracks(DEEP, in_space), frames, end, deep=True)
    place_classifications(labels, end, lambda frame: on_frame(frames, frame)["classifications"])
    marks = keyed(frames)
    for space in images:
        marks[_key(space, infos[space])] = {"objects": [], "classifications": []}
    for track in labels.tracks(FLAT, on_images):
        first = labels.rng.below(len(images))
        for space in images[first : first + labels.rng.between(1, 2)]:
            labels.put(marks[_key(space, infos[space])]["objects"], track)
            labels.act(track, 0, 0, 0, spaceId=space)
        labels.answer(track, number=labels.rng.chance(0.5))
    _classify_images(labels, infos, images, marks)
    empty: Json = {"objects": [], "classifications": []}
    made = {space: infos[space] | {"labels": empty} for space in images}
    objects = cloud(labels, CLOUD, on_cloud)
    made[CLOUD] = infos[CLOUD] | {"labels": {"objects": objects, "classifications": []}}
    data = unit(labels, "application/json", marks)
    del data["data_link"]
    return Row({hole("data_hash"): data}, {"spaces": made})


def _key(space: str, info: Json) -> str:
    """Return the key of an image's labels: `stream#start_frame`, `stream#event_index`, or the space's id."""
    scene: Json = info["scene_info"]
    if scene["stream_id"] == BY_SPACE:
        return space
    return f"{scene['stream_id']}#{scene.get('start_frame', scene['event_index'])}"


def _classify_images(labels: Labels, infos: dict[str, Json], images: list[str], marks: Json) -> None:
    """Classify images by answers that name their spaces; some have a copy on the image as well."""
    for feature in labels.classifications(labels.rng.below(3)):
        chosen = [space for space in images if labels.rng.chance(0.3)] or images[:1]
        where: Json = {space: {"type": "frame", "range": labels.rng.pick(([], [[0, 0]]))} for space in chosen}
        hash = labels.classify(feature, len(chosen), range=[], spaces=where)
        if labels.edge_cases["copied_classifications"]:
            for space in chosen:
                labels.copy(marks[_key(space, infos[space])]["classifications"], feature, hash)


def recording_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": 0, "file_type": "application/octet-stream"}


def recording_row(labels: Labels, media: Json) -> Row:
    """Make a row of an MCAP recording whose spaces only its labels name: events, point clouds, channels."""
    *counts, events = labels.split(3 + len(CHANNELS))
    marks = _events(labels, events, ended=True)
    for number in range(2):
        key = f"{LIDAR}@{BEGIN + number * SECOND}"
        marks[key] = {"objects": cloud(labels, key, counts.pop()), "classifications": []}
    for number, channel in enumerate(CHANNELS):
        _channel(labels, channel, CHANNELS[number + 1 :], counts.pop())
    for feature in labels.classifications(labels.rng.below(3)):
        chosen = [channel for channel in CHANNELS if labels.rng.chance(0.5)] or [CHANNELS[0]]
        ranges = labels.rng.pick(([], spans(labels.rng, 60 * SECOND)))
        where: Json = {channel: {"type": "frame", "range": ranges} for channel in chosen}
        labels.classify(feature, len(chosen), range=[], spaces=where)
    return _continuous(labels, marks, spaces={})


def _channel(labels: Labels, channel: str, further: tuple[str, ...], count: int) -> None:
    """Add time ranges of a channel, some also of the next; most without shape and name, like the editor."""
    for track in labels.tracks(("time_range",), count):
        channels = (channel, *further[: labels.rng.below(2)])
        where: Json = {each: {"type": "frame", "range": spans(labels.rng, 60 * SECOND)} for each in channels}
        bare = labels.rng.chance(0.7)
        labels.range_object(track, len(channels), bare=bare, range=[], spaces=where)


def open_scene_row(labels: Labels, media: Json) -> Row:
    """Make a row of events with objects that never end."""
    return _continuous(labels, _events(labels, max(1, labels.count), ended=False))


def _continuous(labels: Labels, marks: Json, **extra: Any) -> Row:
    data = unit(labels, "application/octet-stream", marks)
    return Row({hole("data_hash"): data}, extra | {"scene": {"isContinuous": True}})


def _events(labels: Labels, count: int, *, ended: bool) -> Json:
    """Return events of objects that appear, change, end and may return, with changing answers."""
    events: Frames = {}
    rng = labels.rng
    for number, track in enumerate(labels.tracks(EVENTS, count)):
        time = rng.below(10 * SECOND)
        lives = rng.pick((1, 1, 2))
        for life in range(lives):
            first = time
            for _ in range(rng.between(1, 3)):
                tag: Json = {"event": "upsert"} if rng.chance(0.6) else {}
                labels.put(on_frame(events, time)["objects"], track, deep=True, **tag)
                time += 2 + rng.below(5 * SECOND)
            if ended or life < lives - 1 or number % 2:
                labels.put(on_frame(events, time)["objects"], track, deep=True, event="delete")
            labels.act(track, first, time - 1, time - 1)
            time += 1 + rng.below(SECOND)
        labels.answer(track)
    for feature in labels.classifications(rng.below(3)):
        labels.classify(feature, 1, range=spans(rng, 60 * SECOND))
    return keyed(events)
