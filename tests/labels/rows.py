"""Small label rows made by hand, and what the extractor reads in them."""

import json
from typing import Any

import msgspec

from harvester.labels.extract import Extracted, Extractor
from harvester.labels.wire import PlanRow
from harvester.settings import Format, Selection

Json = dict[str, Any]

EVERYTHING = Format(emit=("objects", "classifications"))
PLANNED = PlanRow(
    dataset_hash="dataset-1",
    dataset_title="Dataset",
    data_title="listed title",
    label_hash="label-1",
    branch_name="main",
    data_hash="data-1",
    data_type="VIDEO",
)

# Radios under one another, a checklist, a dynamic text and number; classifications, one of them global.
ONTOLOGY: Json = {
    "objects": [
        {
            "id": "1",
            "name": "Car",
            "color": "#D33115",
            "shape": "bounding_box",
            "featureNodeHash": "car",
            "attributes": [
                {
                    "id": "1.1",
                    "name": "Kind",
                    "type": "radio",
                    "featureNodeHash": "kind",
                    "options": [
                        {
                            "id": "1.1.1",
                            "label": "Van",
                            "value": "van",
                            "featureNodeHash": "van",
                            "options": [
                                {
                                    "id": "1.1.1.1",
                                    "name": "Doors",
                                    "type": "radio",
                                    "featureNodeHash": "doors",
                                    "options": [
                                        {
                                            "id": "1.1.1.1.1",
                                            "label": "Two",
                                            "value": "two",
                                            "featureNodeHash": "two",
                                            "options": [
                                                {
                                                    "id": "1.1.1.1.1.1",
                                                    "name": "Note",
                                                    "type": "text",
                                                    "featureNodeHash": "note",
                                                }
                                            ],
                                        }
                                    ],
                                },
                            ],
                        },
                        {"id": "1.1.2", "label": "Bus", "value": "bus", "featureNodeHash": "bus"},
                    ],
                },
                {
                    "id": "1.2",
                    "name": "Extras",
                    "type": "checklist",
                    "featureNodeHash": "extras",
                    "options": [
                        {"id": f"1.2.{at}", "label": name.title(), "value": name, "featureNodeHash": name}
                        for at, name in enumerate(("rack", "hitch", "lamp"), 1)
                    ],
                },
                {
                    "id": "1.3",
                    "name": "Plate",
                    "type": "text",
                    "featureNodeHash": "plate",
                    "dynamic": True,
                },
                {
                    "id": "1.4",
                    "name": "Speed",
                    "type": "numeric",
                    "featureNodeHash": "speed",
                    "dynamic": True,
                },
            ],
        },
        {"id": "2", "name": "Word", "color": "#000", "shape": "text", "featureNodeHash": "word"},
    ],
    "classifications": [
        {
            "id": "3",
            "featureNodeHash": "weather",
            "attributes": [
                {
                    "id": "3.1",
                    "name": "Weather",
                    "type": "radio",
                    "featureNodeHash": "weather-is",
                    "options": [
                        {"id": "3.1.1", "label": "Sunny", "value": "sunny", "featureNodeHash": "sunny"}
                    ],
                }
            ],
        },
        {
            "id": "4",
            "featureNodeHash": "quality",
            "level": "global",
            "attributes": [{"id": "4.1", "name": "Quality", "type": "text", "featureNodeHash": "quality-is"}],
        },
    ],
}


def label(object_hash: str = "o1", **more: Any) -> Json:
    """An object on a frame: a box, unless `more` says otherwise."""
    head = {"objectHash": object_hash, "featureHash": "car", "name": "Car", "value": "car"}
    return {**head, "shape": "bounding_box", "boundingBox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}, **more}


def flat(*objects: Json, classifications: Any = ()) -> Json:
    """The labels of an image, or of one frame."""
    return {"objects": list(objects), "classifications": list(classifications)}


def unit(labels: Any, name: str = "unit-1", **more: Any) -> Json:
    """One data unit under its key."""
    made = {"data_hash": name, "data_title": f"{name}.file", "data_type": "x/y", "data_sequence": 0}
    return {name: {**made, "data_link": None, "labels": labels, **more}}


def row(data_type: str, units: Json, **more: Any) -> Json:
    """A label row of one data type."""
    return {
        "label_hash": "label-1",
        "branch_name": "main",
        "created_at": None,
        "last_edited_at": None,
        "dataset_hash": "dataset-1",
        "dataset_title": "Dataset",
        "data_title": "a title",
        "data_hash": "data-1",
        "data_type": data_type,
        "label_status": "LABELLED",
        "data_units": units,
        "object_answers": {},
        "classification_answers": {},
        "object_actions": {},
        **more,
    }


def placed(classification_hash: str = "c1", **where: Any) -> Json:
    """An entry of `classification_answers` under its hash, `where` it stands."""
    answer = {
        "name": "Weather",
        "value": "weather",
        "answers": [option("sunny")],
        "featureHash": "weather-is",
    }
    entry = {"classificationHash": classification_hash, "featureHash": "weather", "classifications": [answer]}
    return {classification_hash: {**entry, **where}}


def copy(classification_hash: str = "c1", **more: Any) -> Json:
    """A frame-level copy of a classification."""
    return {"classificationHash": classification_hash, "featureHash": "weather", "name": "Weather", **more}


def option(name: str) -> Json:
    """A chosen option, as sent."""
    return {"name": name.title(), "value": name, "featureHash": name}


def answer(feature: str, answers: Any, **more: Any) -> Json:
    """An answered attribute, as sent; its name on the wire is not the ontology's."""
    return {"name": "sent", "value": feature, "answers": answers, "featureHash": feature, **more}


def item(feature: str | None, name: str | None, given: Any, **more: Any) -> Json:
    """An answer as written: `given` is a text, a number, or the options as sent."""
    fitting: Json = {"options": None, "text": None, "number": None}
    if isinstance(given, list):
        fitting["options"] = [
            {"name": one["name"], "value": one["value"], "feature_hash": one["featureHash"]} for one in given
        ]
    elif given is not None:
        fitting["text" if isinstance(given, str) else "number"] = given
    head = {
        "name": name,
        "value": feature,
        "feature_hash": feature,
        "parent": None,
        "manual_annotation": None,
    }
    return {**head, **fitting, "ranges": None, **more}


def said(one: Json) -> Any:
    """What an answer as written says: a text, a number, or the names of its options."""
    if one["options"] is not None:
        return [option["name"] for option in one["options"]]
    return one["text"] if one["text"] is not None else one["number"]


def extract(
    sent: Json | bytes,
    *,
    selection: Selection | None = None,
    format: Format = EVERYTHING,
    ontology: Json | None = ONTOLOGY,
    planned: PlanRow = PLANNED,
) -> Extracted:
    """What the extractor makes of a row."""
    known = None if ontology is None else json.dumps(ontology).encode()
    if isinstance(sent, dict) and "label_hash" in sent:  # asked for by what it calls itself
        planned = msgspec.structs.replace(planned, label_hash=sent["label_hash"])
    wire = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return Extractor(selection or Selection(), format, known).extract(wire, planned)


def records(harvest: Extracted, kind: str) -> list[Json]:
    """The records of one kind, after checking that each stands on a line of its own and is counted."""
    lines = bytes(harvest.lines[kind])
    assert lines.count(b"\n") == harvest.written[kind]
    assert harvest.seen[kind] == harvest.written[kind] + sum(harvest.dropped[kind].values())
    return [json.loads(line) for line in lines.splitlines()]


def objects(sent: Json | bytes, **how: Any) -> list[Json]:
    """The object records of a row."""
    return records(extract(sent, **how), "objects")


def classifications(sent: Json | bytes, **how: Any) -> list[Json]:
    """The classification records of a row."""
    return records(extract(sent, **how), "classifications")


def spots(found: list[Json]) -> list[tuple[str | None, str | None, int | None]]:
    """Where records stand: data unit, space, frame."""
    return [(record["unit_hash"], record["space_id"], record["frame"]) for record in found]


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())
