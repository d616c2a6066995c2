"""Rows whose labels are on spaces: groups of media, images of several layers."""

from collections.abc import Callable

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.framed import Frames, Row, keyed, on_frame, place_tracks, size, unit
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Feature, Json
from harvester.simulator.ranged import SECOND, node, spans
from harvester.simulator.rng import Rng
from harvester.simulator.shapes import FLAT, HEIGHT, PAGED, WIDTH, Size
from harvester.simulator.template import hole

Info = Callable[[Rng], Json]
FULL = {"width": WIDTH, "height": HEIGHT}


def _video(rng: Rng) -> Json:
    frames = rng.between(10, 40)
    return {"number_of_frames": frames, "data_fps": 25.0, "data_duration": frames / 25} | FULL


def _image_sequence(rng: Rng) -> Json:
    frames = [
        {
            "data_uuid": hole(f"unit{number}"),
            "data_type": "image/jpeg",
            "data_sequence": number,
            "data_link": f"{hole('link')}/{number}.jpg",
            "data_title": f"{number}.jpg",
        }
        for number in range(rng.between(2, 6))
    ]
    return {"number_of_frames": len(frames), "frames": frames} | FULL


def _medical_file(rng: Rng) -> Json:
    return {"number_of_frames": rng.between(4, 12), "width": 512, "height": 512}


def _medical_stack(rng: Rng) -> Json:
    slices = range(rng.between(4, 12))
    size = {"width": 512, "height": 512}
    return {"frames": [size | {"instance_uid": f"1.2.826.{n}", "file_name": f"{n}.dcm"} for n in slices]}


# What the listing says of a space of each type.
FRAMED: dict[str, Info] = {
    "video": _video,
    "image_sequence": _image_sequence,
    "image": lambda rng: dict(FULL),
    "medical_file": _medical_file,
    "medical_stack": _medical_stack,
    "pdf": lambda rng: {"number_of_pages": rng.between(1, 8)},
}
RANGED: dict[str, Info] = {
    "audio": lambda rng: {"duration_ms": 30_000},
    "text": lambda rng: {},
    "html": lambda rng: {},
    "time_series": lambda rng: {},
}
SHAPE = {"audio": "audio", "text": "text", "html": "text", "time_series": "time_range"}
END = {"audio": 30_000, "text": 2000, "time_series": 60 * SECOND}


def frames_of(info: Json) -> int:
    """Return how many frames a framed space has."""
    return int(
        info.get("number_of_frames") or info.get("number_of_pages") or len(info.get("frames", ())) or 1
    )


def group_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    """Return a group of one to three framed media and up to two others (two audio if objects are shared)."""
    kinds = [rng.pick(tuple(FRAMED)) for _ in range(rng.between(1, 3))]
    kinds += (
        ["audio", "audio"]
        if edge_cases["shared_objects"]
        else [rng.pick(tuple(RANGED)) for _ in range(rng.below(3))]
    )
    made = {}
    for number, kind in enumerate(kinds):
        child = {"layout_key": f"{kind}-{number}", "file_name": f"{kind}-{number}.bin"}
        link = {"data_link": f"{hole('link')}/{number}"} if rng.chance(0.5) else {}
        info = (FRAMED.get(kind) or RANGED[kind])(rng)
        made[hole(f"space{number}")] = {"space_type": kind, "child_info": child | link} | info
    frames = max(frames_of(info) for info in made.values())
    return {"number_of_frames": frames, "spaces": made, "file_type": None, "is_valid": True}


def layers_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    """Return an image with one or two further layers; its own layer is called root."""
    root = {"space_type": "image", "root_info": {"file_name": hole("title")}} | FULL
    layers = {
        hole(f"space{number}"): {
            "space_type": "image",
            "child_info": {"layout_key": name, "file_name": f"{name}.png"},
        }
        | FULL
        for number, name in enumerate(("depth", "thermal")[: rng.between(1, 2)])
    }
    return {"number_of_frames": 1, "file_type": "image/jpeg", "spaces": {"root": root} | layers} | FULL


def group_row(labels: Labels, media: Json) -> Row:
    """Make a row whose labels are on its spaces; only global classifications are on its root."""
    infos: dict[str, Json] = media["spaces"]
    marks: dict[str, Frames] = {space: {} for space, info in infos.items() if info["space_type"] in FRAMED}
    ranged = [space for space in infos if space not in marks]
    counts = labels.split(1 + len(ranged))
    _frame_objects(labels, infos, marks, counts[0])
    for number, space in enumerate(ranged):
        _range_objects(labels, infos, space, ranged[number + 1 :], counts[number + 1])
    _classify(labels, infos, marks)
    made = {space: _space(labels, infos[space], marks.get(space, {})) for space in infos}
    data = unit(labels, "application/json", {"objects": [], "classifications": []})
    del data["data_link"]
    return Row({hole("data_hash"): data}, {"spaces": made})


def layers_row(labels: Labels, media: Json) -> Row:
    infos: dict[str, Json] = media["spaces"]
    marks: dict[str, Frames] = {space: {} for space in infos}
    _frame_objects(labels, infos, marks, labels.count)
    _classify(labels, infos, marks)
    made = {space: _space(labels, infos[space], marks[space]) for space in infos}
    data = unit(labels, "image/jpeg", {"objects": [], "classifications": []}, **size(labels))
    return Row({hole("data_hash"): data}, {"spaces": made})


def _space(labels: Labels, info: Json, frames: Frames) -> Json:
    made: Json = {"space_type": info["space_type"], "labels": keyed(frames)}
    if not labels.edge_cases["few_keys"]:
        made |= {key: info[key] for key in ("child_info", "root_info") if key in info}
    return made


def _frame_objects(labels: Labels, infos: dict[str, Json], marks: dict[str, Frames], count: int) -> None:
    """Place each object on one framed space; some objects on an image are on another image as well."""
    images = [space for space in marks if infos[space]["space_type"] == "image"]
    sized = [space for space in marks if infos[space]["space_type"] != "pdf"]
    for track in labels.tracks(FLAT if sized else PAGED, count):
        space = labels.rng.pick(sized if track.feature.shape == "bitmask" else tuple(marks))
        labels.size = _size_of(infos[space])
        place_tracks(labels, [track], marks[space], frames_of(infos[space]) - 1)
        if space in images and len(images) > 1 and labels.rng.chance(0.3):
            other = images[images.index(space) - 1]
            labels.put(on_frame(marks[other], 0)["objects"], track)


def _size_of(info: Json) -> Size:
    """Return the size of a space, or of its slices, in pixels."""
    sized = info if "width" in info else info.get("frames", [FULL])[0]
    return sized["width"], sized["height"]


def _range_objects(
    labels: Labels, infos: dict[str, Json], space: str, further: list[str], count: int
) -> None:
    """Place the objects of a space of ranges. On audio, some are on the next audio space, too."""
    kind, rng = infos[space]["space_type"], labels.rng
    for track in labels.tracks((SHAPE[kind],), count):
        if kind == "html":
            pairs = [[node(rng), node(rng)] for _ in range(rng.pick((1, 2)))]
            labels.range_object(track, range=[], spaces={space: {"type": "html", "range": pairs}})
            continue
        also = [other for other in further if infos[other]["space_type"] == kind and rng.chance(0.5)][:1]
        where = {place: {"type": "frame", "range": spans(rng, END[kind])} for place in (space, *also)}
        labels.range_object(track, len(where), range=[], spaces=where)


def _classify(labels: Labels, infos: dict[str, Json], marks: dict[str, Frames]) -> None:
    """Classify spaces: by ranges today, by copies on frames in older rows, by both in some."""
    rng, old = labels.rng, labels.edge_cases["old_classifications"]
    for feature in labels.classifications(rng.below(4), whole=not old):
        if feature.shape:
            labels.classify(feature, 1, range=[])
            continue
        possible = list(marks if old else infos)
        chosen = [space for space in possible if rng.chance(0.5)] or possible[:1]
        if old:
            where: Json = {"spaces": {}} if rng.chance(0.5) else {}
            hash = labels.classify(feature, len(chosen), copied=True, **where)
        else:
            hash = labels.classify(feature, len(chosen), **_placements(labels, infos, chosen))
        if old or labels.edge_cases["copied_classifications"]:
            _copy(labels, feature, hash, [marks[space] for space in chosen if space in marks])
    labels.orphans()


def _placements(labels: Labels, infos: dict[str, Json], chosen: list[str]) -> Json:
    """Return placements on spaces; that on `root` is the answer's own range."""
    where: Json = {}
    for space in chosen:
        if space != "root":
            kind = infos[space]["space_type"]
            last = frames_of(infos[space]) - 1
            ranges = [[0, labels.rng.below(last + 1)]] if kind in FRAMED and labels.rng.chance(0.6) else []
            where[space] = {"type": "html" if kind == "html" else "frame", "range": ranges}
    return {"range": [[0, 0]] if "root" in chosen else [], "spaces": where}


def _copy(labels: Labels, feature: Feature, hash: str, places: list[Frames]) -> None:
    for frames in places:
        labels.copy(on_frame(frames, 0)["classifications"], feature, hash)
