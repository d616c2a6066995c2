"""Scenes: frames of 3D objects with images and point clouds as spaces, or events on a time line."""

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.framed import Frames, Row, keyed, on_frame, place_classifications, place_tracks, unit
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Json
from harvester.simulator.ranged import SECOND, spans
from harvester.simulator.rng import Rng
from harvester.simulator.shapes import DEEP, EVENTS, FLAT, HEIGHT, WIDTH
from harvester.simulator.template import hole

CAMERA, LIDAR = "camera_front", "lidar_top"
CHANNELS = ("/imu/accel", "/gps/speed")


def grid_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    """Return a scene of two images of one camera, each for some of the frames, and two point clouds."""
    frames = rng.between(6, 12)
    made: Json = {}
    for event in range(2):
        info: Json = {
            "stream_id": CAMERA,
            "event_index": event,
            "uri": f"{hole('link')}/{CAMERA}/{event}.jpg",
        }
        if edge_cases["start_frames"]:
            info["start_frame"] = event * (frames // 2)
        made[hole(f"space{event}")] = {
            "space_type": "scene_image", "scene_info": info, "width": WIDTH, "height": HEIGHT,
        }  # fmt: skip
        uri = f"{hole('link')}/{LIDAR}/{event}.pcd"
        info = {"stream_id": LIDAR, "event_index": event, "uri": uri}
        made[uri] = {"space_type": "point_cloud", "scene_info": info}
    return {"number_of_frames": frames, "spaces": made, "file_type": "application/json"}


def event_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": 0, "file_type": "application/octet-stream"}


def grid_row(labels: Labels, media: Json) -> Row:
    """Make a row: numeric keys are frames, `stream#frame` (or `#event`, or a space's id) is an image."""
    frames: Frames = {}
    end = media["number_of_frames"] - 1
    count, *counts = labels.split(1 + len(media["spaces"]))
    place_tracks(labels, labels.tracks(DEEP, count), frames, end, deep=True)
    place_classifications(labels, end, lambda frame: on_frame(frames, frame)["classifications"])
    marks, made = keyed(frames), {}
    for (space, info), count in zip(media["spaces"].items(), counts, strict=True):
        if info["space_type"] == "scene_image":
            objects: list[Json] = []
            for track in labels.tracks(FLAT, count):
                labels.put(objects, track)
                labels.answer(track)
            key = space if labels.edge_cases["text_sequence"] else _image_key(info["scene_info"])
            marks[key] = {"objects": objects, "classifications": []}
            made[space] = dict(info)
        else:
            made[space] = info | {"labels": {"objects": cloud(labels, space, count), "classifications": []}}
    data = unit(labels, "application/json", marks)
    del data["data_link"]
    return Row({hole("data_hash"): data}, {"spaces": made})


def _image_key(info: Json) -> str:
    return f"{info['stream_id']}#{info.get('start_frame', info['event_index'])}"


def cloud(labels: Labels, space: str, count: int) -> list[Json]:
    """Return segments of a point cloud; their answers name the space, with empty ranges."""
    objects: list[Json] = []
    for track in labels.tracks(("segmentation",), count):
        labels.put(objects, track)
        labels.answer(track, **labels.head(track), range=[], spaces={space: {"range": [], "type": "frame"}})
    return objects


def event_row(labels: Labels, media: Json) -> Row:
    """Make a row of events: keys are nanoseconds; every object ends with a delete."""
    data = unit(labels, "application/octet-stream", _events(labels, labels.count))
    return Row({hole("data_hash"): data}, {"scene": {"isContinuous": True}})


def mcap_row(labels: Labels, media: Json) -> Row:
    """Make a row of a recording: spaces are named by keys (`stream@nanosecond`) and by answers (channels)."""
    counts = labels.split(3 + len(CHANNELS))
    marks = _events(labels, counts.pop())
    for time in range(2):
        key = f"{LIDAR}@{1_700_000_000 * SECOND + time * SECOND}"
        marks[key] = {"objects": cloud(labels, key, counts.pop()), "classifications": []}
    for channel in CHANNELS:
        for track in labels.tracks(("time_range",), counts.pop()):
            where = {channel: {"type": "frame", "range": spans(labels.rng, 60 * SECOND)}}
            labels.range_object(track, range=[], spaces=where)
    for feature in labels.classifications(labels.rng.below(2)):
        labels.classify(feature, 1, range=[], spaces={CHANNELS[0]: {"type": "frame", "range": []}})
    data = unit(labels, "application/octet-stream", marks)
    return Row({hole("data_hash"): data}, {"spaces": {}, "scene": {"isContinuous": True}})


def _events(labels: Labels, count: int) -> Json:
    events: Frames = {}
    rng = labels.rng
    for track in labels.tracks(EVENTS, count):
        time = rng.below(20 * SECOND)
        moves = track.feature.shape in ("point", "cuboid") and rng.chance(0.5)
        for number in range(rng.between(1, 4)):
            event: Json = {"event": "upsert"} if number or rng.chance(0.7) else {}
            if rng.chance(0.5):
                event["interpolate"] = "linear" if moves else "hold"
            labels.put(on_frame(events, time)["objects"], track, deep=True, **event)
            time += 1 + rng.below(5 * SECOND)
        labels.put(on_frame(events, time)["objects"], track, deep=True, event="delete")
        labels.answer(track)
    for feature in labels.classifications(rng.below(3)):
        labels.classify(feature, 1, range=spans(rng, 60 * SECOND))
    return keyed(events)
