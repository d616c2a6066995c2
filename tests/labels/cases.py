"""Label rows that are easily read wrong, at random, each with the records that it must give.

What is expected comes from the same plan as the row, and never from reading the row.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

Json = dict[str, Any]

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Features:
    """The feature hashes of the ontology that the rows are made for."""

    box: str = "f0000box"
    state: str = "f000stat"
    span: str = "f000span"
    cube: str = "f000cube"
    phase: str = "f00phase"
    caption: str = "f00capt0"
    caption_text: str = "f00capt1"
    whole: str = "f0whole0"
    whole_text: str = "f0whole1"
    unknown: str = "f0unknown"


def features(dice: Random) -> Features:
    """Other feature hashes."""
    return Features(*(f"{dice.getrandbits(32):08x}" for _ in range(10)))


def ontology(known: Features) -> Json:
    """The ontology: boxes, time ranges, cuboids; captions; a classification of the whole row."""

    def text(name: str, feature: str, *, dynamic: bool = False) -> Json:
        return {
            "id": "1.1", "name": name, "type": "text", "featureNodeHash": feature,
            "required": False, "archived": False, "dynamic": dynamic,
        }  # fmt: skip

    def thing(name: str, shape: str, feature: str, *attributes: Json) -> Json:
        return {
            "id": "1", "name": name, "color": "#D33115", "shape": shape, "featureNodeHash": feature,
            "required": False, "archived": False, "attributes": list(attributes),
        }  # fmt: skip

    objects = [
        thing("Box", "bounding_box", known.box, text("State", known.state, dynamic=True)),
        thing("Span", "time_range", known.span),
        thing("Cube", "cuboid", known.cube, text("Phase", known.phase, dynamic=True)),
    ]
    classifications = [
        {"id": "1", "featureNodeHash": known.caption, "attributes": [text("Caption", known.caption_text)]},
        {
            "id": "2",
            "featureNodeHash": known.whole,
            "level": "global",
            "attributes": [text("Whole", known.whole_text)],
        },
    ]
    for number, one in enumerate((*objects, *classifications), 1):
        one["id"] = str(number)
        for attribute in one["attributes"]:
            attribute["id"] = f"{number}.1"
    return {"objects": objects, "classifications": classifications, "skeleton_templates": []}


@dataclass
class Case:
    """A label row, and what its records must say: these keys of theirs, no other records, these notes.

    A dynamic or static answer is expected as its attribute's name, its text and its ranges.
    """

    row: Json
    objects: list[Json] = field(default_factory=list)
    classifications: list[Json] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)

    def merge(self, other: "Case") -> None:
        """Takes the labels of another case into this row."""
        _merge(self.row, other.row)
        self.objects += other.objects
        self.classifications += other.classifications
        self.notes |= other.notes


def _merge(row: Json, other: Json) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(row.get(key), dict):
            _merge(row[key], value)
        elif isinstance(value, list) and isinstance(row.get(key), list):
            row[key] += value
        else:
            row.setdefault(key, value)


def row(label_hash: str, data_type: str, labels: Json | None = None, **more: Any) -> Json:
    """A label row with one data unit."""
    data_hash = f"{label_hash[:-3]}fff"
    unit = {
        "data_hash": data_hash, "data_title": "t", "data_link": "", "data_type": "x/y", "data_sequence": 0,
        "width": 100, "height": 100, "labels": labels or {},
    }  # fmt: skip
    made = {
        "label_hash": label_hash, "branch_name": "main", "created_at": "2026-09-01 10:00:00",
        "last_edited_at": "2026-09-01 10:00:00", "data_hash": data_hash, "dataset_hash": "d" * 36,
        "dataset_title": "D", "data_title": "t", "data_type": data_type, "label_status": "LABELLED",
        "data_units": {data_hash: unit}, "object_answers": {}, "classification_answers": {},
        "object_actions": {}, "spaces": {},
    }  # fmt: skip
    return made | more


STAMPS = {
    "createdAt": "Wed, 02 Sep 2026 13:58:07 GMT", "createdBy": "a@example.com", "confidence": 1,
    "lastEditedAt": "Wed, 02 Sep 2026 13:58:07 GMT", "lastEditedBy": "a@example.com",
    "manualAnnotation": True,
}  # fmt: skip


SPAN = {"name": "Span", "shape": "time_range"}


def _text(feature: str, name: str, text: str, **more: Any) -> Json:
    answer = {"name": name, "value": name.lower(), "answers": text, "featureHash": feature}
    return answer | {"manualAnnotation": True} | more


def _acts(object_hash: str, actions: list[Json]) -> Json:
    return {object_hash: {"objectHash": object_hash, "actions": actions}}


def channels(label_hash: str, known: Features, spans: dict[str, Json], *, bare: bool = True) -> Case:
    """Time ranges on channels of a recording, which no one but they name; most without shape and name.

    `spans`: by object hash, the ranges on each channel.
    """
    class_ = {} if bare else {"shape": "time_range", "name": "Another name"}
    entries = {
        key: {
            "objectHash": key, "featureHash": known.span, "classifications": [], "range": [], **class_,
            "spaces": {channel: {"type": "frame", "range": ranges} for channel, ranges in places.items()},
            **STAMPS,
        }
        for key, places in spans.items()
    }  # fmt: skip
    expected = [
        {"object_hash": key, "space_id": channel, "frame": None, "ranges": ranges} | SPAN
        for key, places in spans.items()
        for channel, ranges in places.items()
    ]
    scene = {"isContinuous": True}
    return Case(row(label_hash, "scene", object_answers=entries, scene=scene), expected)


def series(label_hash: str, known: Features, spans: dict[str, Any]) -> Case:
    """The same on a time series, which has no channels."""
    entries = {
        key: {"objectHash": key, "featureHash": known.span, "classifications": [], "range": ranges, **STAMPS}
        for key, ranges in spans.items()
    }
    expected = [
        {"object_hash": key, "space_id": None, "frame": None, "ranges": ranges} | SPAN
        for key, ranges in spans.items()
    ]
    return Case(row(label_hash, "time_series", object_answers=entries), expected)


def unplaced(label_hash: str, known: Features, said: dict[str, tuple[str, str]]) -> Case:
    """Classifications of a video without a range, by hash: the feature hash and the answer.

    One that the ontology does not know is kept, and noted. One of the whole row needs no range. Any other has
    been taken off its last frame.
    """
    names = {known.unknown: "Old", known.whole: "Whole", known.caption: "Caption"}
    texts = {known.unknown: "oldAttr1", known.whole: known.whole_text, known.caption: known.caption_text}
    entries = {
        key: {
            "classificationHash": key, "featureHash": feature, "range": [], "spaces": {}, **STAMPS,
            "classifications": [_text(texts[feature], names[feature], text)],
        }
        for key, (feature, text) in said.items()
    }  # fmt: skip
    expected = [
        {
            "classification_hash": key, "space_id": None, "frame": None, "ranges": [], "reviews": None,
            "answers": [(names[feature], text, None)],
        }
        for key, (feature, text) in said.items()
        if feature != known.caption
    ]  # fmt: skip
    noted = {"placement_unknown"} if any(feature == known.unknown for feature, _ in said.values()) else set()
    return Case(row(label_hash, "video", classification_answers=entries), [], expected, noted)


# An answer and from when to when it holds.
Held = tuple[str, int, int]


def events(
    label_hash: str, known: Features, lives: dict[str, list[list[int]]], held: dict[str, list[Held]]
) -> Case:
    """Objects of an event-based scene. A life: moments of upserts in order, the last one its end.

    `held` are the answers to a dynamic attribute, over the whole of the time line.
    """
    labels: Json = {}
    expected = []
    for key, each in lives.items():
        for life in each:
            for number, (moment, after) in enumerate(pairwise(life)):
                tag = {"event": "upsert"} if number else {}
                _on(labels, moment).append(_cube(key, known, moment, **tag))
                answers = [
                    ("Phase", text, [[max(first, moment), min(last, after - 1)]])
                    for text, first, last in held.get(key, ())
                    if first < after and last >= moment
                ]
                expected.append(
                    {
                        "object_hash": key, "space_id": None, "frame": moment, "until": after - 1,
                        "dynamic_attributes": answers,
                    }
                )  # fmt: skip
            _on(labels, life[-1]).append(_cube(key, known, 0, event="delete"))
    actions: Json = {}
    for key, answers in held.items():
        dynamic = [
            _text(known.phase, "Phase", text, dynamic=True, range=[[first, last]], shouldPropagate=False)
            for text, first, last in answers
        ]
        actions |= _acts(key, dynamic)
    answered = {key: {"objectHash": key, "classifications": []} for key in lives}
    scene = {"isContinuous": True}
    made = row(label_hash, "scene", labels, object_answers=answered, object_actions=actions, scene=scene)
    return Case(made, expected)


def _on(labels: Json, key: Any) -> list[Json]:
    flat: list[Json] = labels.setdefault(str(key), {"objects": [], "classifications": []})["objects"]
    return flat


def _cube(key: str, known: Features, place: float, **more: Any) -> Json:
    cuboid = {"position": [place, 0.1, 0.1], "orientation": [0, 0, 0], "size": [1, 1, 1]}
    return {
        "objectHash": key, "featureHash": known.cube, "name": "Cube", "shape": "cuboid", "value": "cube",
        "color": "#A4FF00", "cuboid": cuboid, **STAMPS, **more,
    }  # fmt: skip


def _box(key: str, known: Features, **more: Any) -> Json:
    box = {"h": 0.1, "w": 0.1, "x": 0.1, "y": 0.2}
    return {
        "objectHash": key, "featureHash": known.box, "name": "Box", "shape": "bounding_box", "value": "box",
        "color": "#D33115", "boundingBox": box, **STAMPS, **more,
    }  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image of a scene: its space, its stream, and which image of the stream it is."""

    space: str
    stream: str
    event_index: int
    start_frame: int | None
    by_space: bool = False  # its labels stand under the space's id

    @property
    def key(self) -> str:
        """What its labels stand under in the data unit."""
        number = self.event_index if self.start_frame is None else self.start_frame
        return self.space if self.by_space else f"{self.stream}#{number}"


def images(
    label_hash: str,
    known: Features,
    on: dict[str, dict[Image, str]],
    captions: dict[str, dict[Image, str]],
    further: tuple[Image, ...] = (),
) -> Case:
    """Images of a scene.

    `on`: by object hash, the images that it is on, and its answer to a dynamic attribute there.
    `captions`: by classification hash, the images that it is on, with its answer, the same on all.
    """
    labels: Json = {}
    actions: Json = {}
    expected = []
    for key, places in on.items():
        for image, text in places.items():
            _on(labels, image.key).append(_box(key, known))
            expected.append(
                {
                    "object_hash": key, "space_id": image.space, "frame": None, "until": None,
                    "dynamic_attributes": [("State", text, [[0, 0]])],
                }
            )  # fmt: skip
        dynamic = [
            _text(
                known.state, "State", text,
                dynamic=True, range=[[0, 0]], shouldPropagate=False, spaceId=image.space,
            )
            for image, text in places.items()
        ]  # fmt: skip
        actions |= _acts(key, dynamic)
    entries = {}
    classified = []
    for key, placed in captions.items():
        text = next(iter(placed.values()))
        entries[key] = {
            "classificationHash": key, "featureHash": known.caption, "range": [], **STAMPS,
            "classifications": [_text(known.caption_text, "Caption", text)],
            "spaces": {image.space: {"type": "frame", "range": [[0, 0]]} for image in placed},
        }  # fmt: skip
        classified += [
            {
                "classification_hash": key, "space_id": image.space, "frame": None, "ranges": [[0, 0]],
                "reviews": None, "answers": [("Caption", text, None)],
            }
            for image in placed
        ]  # fmt: skip
    found = {image for places in (*on.values(), *captions.values()) for image in places} | set(further)
    spaces = {
        image.space: {
            "space_type": "scene_image", "width": 10, "height": 10,
            "scene_info": {
                "stream_id": image.stream, "event_index": image.event_index, "uri": image.space,
                **({} if image.start_frame is None else {"start_frame": image.start_frame}),
            },
            "labels": {"objects": [], "classifications": []},
        }
        for image in sorted(found, key=lambda image: image.space)
    }  # fmt: skip
    answered = {key: {"objectHash": key, "classifications": []} for key in on}
    made = row(
        label_hash, "scene", labels,
        object_answers=answered, object_actions=actions, classification_answers=entries, spaces=spaces,
    )  # fmt: skip
    return Case(made, expected, classified)


def numbered(label_hash: str, known: Features, frames: dict[str, list[int]], numbers: Json) -> Case:
    """Objects of a video, whose numbers stand in their answers alone."""
    labels: Json = {}
    for key, each in frames.items():
        for frame in each:
            _on(labels, frame).append(_box(key, known))
    answered = {
        key: {"objectHash": key, "classifications": []}
        | ({} if numbers[key] is None else {"objectNumber": numbers[key]})
        for key in frames
    }
    expected = [
        {"object_hash": key, "space_id": None, "frame": frame, "object_number": numbers[key]}
        for key, each in frames.items()
        for frame in each
    ]
    return Case(row(label_hash, "video", labels, object_answers=answered), expected)


def reviewed(
    label_hash: str, known: Features, placed: dict[str, list[list[int]]], reviews: dict[str, dict[int, Any]]
) -> Case:
    """Classifications of a video that say where they stand, and whose copies on frames hold the reviews.

    `reviews`: by classification hash and frame. The first frame that has any counts.
    """
    labels: Json = {}
    for key, by_frame in reviews.items():
        for frame, found in by_frame.items():
            copy = {"classificationHash": key, "featureHash": known.caption, "name": "Caption", **STAMPS}
            labels.setdefault(str(frame), {"objects": [], "classifications": []})["classifications"].append(
                copy | {"reviews": found}
            )
    entries = {
        key: {
            "classificationHash": key, "featureHash": known.caption, "range": ranges, "spaces": {}, **STAMPS,
            "classifications": [_text(known.caption_text, "Caption", f"is {key}")],
        }
        for key, ranges in placed.items()
    }  # fmt: skip
    expected = [
        {
            "classification_hash": key, "space_id": None, "frame": None, "ranges": ranges,
            "answers": [("Caption", f"is {key}", None)],
            "reviews": next((found for _, found in sorted(reviews.get(key, {}).items()) if found),
                            [] if reviews.get(key) else None),
        }
        for key, ranges in placed.items()
    ]  # fmt: skip
    return Case(row(label_hash, "video", labels, classification_answers=entries), [], expected)
