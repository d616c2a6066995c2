"""Rows whose labels stand on frames: image, image group, video, DICOM, NIfTI, PDF."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.labels import Labels, Track
from harvester.simulator.ontology import Json
from harvester.simulator.rng import Rng
from harvester.simulator.shapes import FLAT, HEIGHT, MEDICAL, PAGED, WIDTH, Size
from harvester.simulator.template import hole, signed_hole

Frames = dict[int, Json]


class Row(NamedTuple):
    """The parts of a label row below its head, with holes for what differs between rows."""

    units: Json
    extra: Json = {}  # noqa: RUF012 - never changed


def unit(
    labels: Labels, mime: str, marks: Any, hash: str = "data_hash", number: int = 0, **extra: Any
) -> Json:
    """Return a data unit; `hash` names the hole of its hash."""
    part = "" if hash == "data_hash" else f"/{number:03}.jpg"
    made: Json = {
        "data_hash": hole(hash),
        "data_title": hole("title") + part,
        "data_link": signed_hole(part),
        "data_type": mime,
        "data_sequence": str(number) if labels.edge_cases["text_sequence"] else number,
    } | extra
    if marks is not None:
        made["labels"] = marks
    return made


def size(labels: Labels) -> Json:
    return {} if labels.edge_cases["no_size"] else {"width": WIDTH, "height": HEIGHT}


def empty(rng: Rng) -> Json:
    """Return a frame or an image without labels, in one of three forms."""
    return rng.pick(
        ({"objects": [], "classifications": []}, {"objects": []}, {"objects": [], "classifications": []})
    )


def on_frame(frames: Frames, frame: int) -> Json:
    return frames.setdefault(frame, {"objects": [], "classifications": []})


def place_tracks(labels: Labels, tracks: Iterable[Track], frames: Frames, end: int, **how: Any) -> None:
    """Place each object on some frames up to `end`, sometimes with a gap, and answer its attributes."""
    for track in tracks:
        first = labels.rng.below(end + 1)
        last = min(end, first + labels.rng.below(6))
        gap = labels.rng.between(first + 1, last) if last - first > 2 and labels.rng.chance(0.3) else None
        for frame in range(first, last + 1):
            if frame != gap:
                labels.put(on_frame(frames, frame)["objects"], track, **how)
        if labels.rng.chance(0.9):
            labels.answer(track, number=labels.edge_cases["few_keys"])
        if end or labels.rng.chance(0.1):  # rarely if there is only one frame
            labels.act(track, first, last, end)


def place_classifications(labels: Labels, end: int, copies: Callable[[int], list[Json]]) -> None:
    """Classify frames up to `end`, in the form of the row's age.

    `copies(frame)` returns the list for copies on a frame. Copies are not classifications of their own.
    """
    rng, edge_cases = labels.rng, labels.edge_cases
    old = edge_cases["old_classifications"]
    for feature in labels.classifications(rng.below(4), whole=not old):
        if feature.shape:
            labels.classify(feature, 1, **nowhere(rng))
            continue
        first = rng.below(end + 1)
        last = min(end, first + rng.below(5))
        spans = [[first, last]] + ([[last + 2, end]] if last + 2 <= end and rng.chance(0.3) else [])
        frames = [frame for start, stop in spans for frame in range(start, stop + 1)]
        if old:
            where: Json = {"spaces": {}} if rng.chance(0.5) else {}
            hash = labels.classify(feature, 1, copied=True, **where)
        else:
            hash = labels.classify(feature, 1, range=spans)
        if old or edge_cases["copied_classifications"]:
            for frame in frames:
                labels.copy(copies(frame), feature, hash)
    remains(labels, copies)


def remains(labels: Labels, copies: Callable[[int], list[Json]]) -> None:
    """Add leftovers: copies without an answer, an answer without a place, answers without an object."""
    if labels.edge_cases["leftover_copies"]:
        labels.copy(copies(0), labels.classifications(1)[0], labels.hash())
    if labels.edge_cases["unplaced_answer"]:
        labels.classify(labels.classifications(1)[0], 0, **nowhere(labels.rng))
    labels.orphans()


def nowhere(rng: Rng) -> Json:
    """Return the range of a classification that is on no frame. Only a global one is placed by it."""
    ranges: tuple[Json, ...] = ({"range": []}, {"range": None}, {})
    return rng.pick(ranges)


def keyed(frames: Frames) -> Json:
    """Return frames as they are sent: in order, with their numbers as text."""
    return {str(frame): frames[frame] for frame in sorted(frames)}


# What the listing says of the medium


def image_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": 1, "width": WIDTH, "height": HEIGHT, "file_type": "image/jpeg"}


def group_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": rng.between(2, 6), "width": None, "height": None, "file_type": None}


def video_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    frames, rate = rng.between(12, 90), rng.pick((24.0, 25.0, 29.97, 30.0))
    facts = {"number_of_frames": frames, "frames_per_second": rate, "duration": round(frames / rate, 3)}
    return facts | {"width": WIDTH, "height": HEIGHT, "file_type": "video/mp4"}


def stack_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {
        "number_of_frames": rng.between(5, 15),
        "width": 512,
        "height": 512,
        "file_type": "application/dicom",
    }


def pdf_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": rng.between(1, 9), "file_type": "application/pdf"}


# Label rows


def image_row(labels: Labels, media: Json) -> Row:
    marks: Frames = {}
    place_tracks(labels, labels.tracks(FLAT), marks, 0)
    place_classifications(labels, 0, lambda frame: on_frame(marks, frame)["classifications"])
    made = marks.get(0) or labels.rng.pick(({}, None, empty(labels.rng)))
    return Row({hole("data_hash"): unit(labels, "image/jpeg", made, **size(labels))})


def group_row(labels: Labels, media: Json) -> Row:
    """Make a row of several images, each a data unit; the row's own hash is none of theirs."""
    marks: Frames = {}
    end = media["number_of_frames"] - 1
    place_tracks(labels, labels.tracks(FLAT), marks, end)
    place_classifications(labels, end, lambda frame: on_frame(marks, frame)["classifications"])
    units: Json = {}
    for number in range(end + 1 + labels.edge_cases["same_sequence"]):
        marked = marks.get(number, {}) if number <= end else _twin(labels)
        made = unit(labels, "image/jpeg", marked, f"unit{number}", min(number, end), **size(labels))
        if labels.edge_cases["few_keys"]:
            del made["data_link"]
        units[hole(f"unit{number}")] = made
    return Row(units)


def _twin(labels: Labels) -> Json:
    """Return the labels of an image that has the `data_sequence` of another."""
    objects: list[Json] = []
    for track in labels.tracks(FLAT, min(labels.count, 1)):
        labels.put(objects, track)
    return {"objects": objects, "classifications": []}


def _framed(labels: Labels, end: int, shapes: tuple[str, ...] = FLAT, size: Size | None = None) -> Frames:
    marks: Frames = {}
    labels.size = size or labels.size
    place_tracks(labels, labels.tracks(shapes), marks, end)
    place_classifications(labels, end, lambda frame: on_frame(marks, frame)["classifications"])
    for _ in range(labels.rng.below(3)):
        marks.setdefault(labels.rng.below(end + 1), empty(labels.rng))
    return marks


def video_row(labels: Labels, media: Json) -> Row:
    marks = _framed(labels, media["number_of_frames"] - 1)
    facts = {"data_fps": media["frames_per_second"], "data_duration": media["duration"]}
    return Row({hole("data_hash"): unit(labels, "video/mp4", keyed(marks), **size(labels), **facts)})


def dicom_row(labels: Labels, media: Json) -> Row:
    """Make a row that lists every slice with its metadata, labelled or not, and has a link for each."""
    end = media["number_of_frames"] - 1
    marks = _framed(labels, end, size=MEDICAL)
    for frame in range(end + 1):
        on_frame(marks, frame)["metadata"] = {
            "dicom_instance_uid": f"1.2.826.0.1.{frame}",
            "multiframe_frame_number": None,
            "file_uri": f"{hole('link')}/{frame}.dcm",
            "width": 512,
            "height": 512,
        }
    made = unit(
        labels,
        "application/dicom",
        keyed(marks),
        width=512,
        height=512,
        data_links=[signed_hole(f"/{frame}.dcm") for frame in range(end + 1)],
        metadata={"patient_id": None, "study_uid": "1.2.826.0.1", "series_uid": "1.2.826.0.2"},
    )
    del made["data_link"]
    return Row({hole("data_hash"): made})


def nifti_row(labels: Labels, media: Json) -> Row:
    marks = _framed(labels, media["number_of_frames"] - 1, size=MEDICAL)
    return Row({hole("data_hash"): unit(labels, "application/nifti", keyed(marks), width=512, height=512)})


def pdf_row(labels: Labels, media: Json) -> Row:
    marks = _framed(labels, media["number_of_frames"] - 1, PAGED)
    return Row({hole("data_hash"): unit(labels, "application/pdf", keyed(marks))})
