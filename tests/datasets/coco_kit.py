"""COCO files of label rows made by hand, and how readers see them."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from harvester.datasets.coco import CocoIds, CocoWriter
from harvester.datasets.coco_annotations import Annotator
from harvester.datasets.coco_attributes import AttributeKeys
from harvester.datasets.coco_categories import Categories
from harvester.datasets.coco_files import coco_files
from harvester.datasets.counts import Counts
from harvester.datasets.image_sets import ImagePlace, NoPicture
from harvester.datasets.ontology_classes import ontology_classes
from harvester.datasets.pictures import Pictures, read_unit
from harvester.datasets.written import output_in
from harvester.simulator.ontology import structure

Json = dict[str, Any]

WIDTH, HEIGHT = 640, 360
ONTOLOGY = structure()
CLASSES = {one["shape"]: one["featureNodeHash"] for one in reversed(ONTOLOGY["objects"])}
HEAD = {
    "label_hash": "label",
    "branch_name": "main",
    "data_hash": "data",
    "dataset_hash": "dataset",
    "dataset_title": "Dataset",
    "data_title": "photo.jpg",
    "data_type": "image",
    "unit_hash": "unit",
    "file_name": "photo.jpg",
    "data_url": None,
    "space_id": None,
    "width": WIDTH,
    "height": HEIGHT,
}


def unit(**more: Any) -> bytes:
    """The line of a unit: an image, unless `more` says otherwise."""
    media = {"mime_type": "image/jpeg", "fps": None, "number_of_frames": None, "slices": None}
    return json.dumps({"kind": "unit", **HEAD, "frame": None, **media, **more}).encode()


def placed(shape: str, sent: str | Json, **more: Any) -> bytes:
    """The line of an object with this geometry, as JSON or as text that need not be valid."""
    text = sent if isinstance(sent, str) else json.dumps(sent)
    record = {
        "object_hash": "object",
        "feature_hash": CLASSES.get(shape),
        "name": shape,
        "shape": shape,
        "object_number": None,
        "until": None,
        "ranges": None,
        "attributes": [],
        "dynamic_attributes": [],
    }
    head, tail = {"kind": "object", **HEAD, "frame": 0}, record
    for key, value in more.items():
        (head if key in head else tail)[key] = value
    return f'{json.dumps(head)[:-1]},"object":{text},{json.dumps(tail)[1:]}\n'.encode()


def answer(feature_hash: str | None, name: str, **given: Any) -> Json:
    """An answer of a record."""
    item = {"name": name, "value": name.lower(), "feature_hash": feature_hash, "parent": None}
    said = {"manual_annotation": True, "options": None, "text": None, "number": None, "ranges": None}
    return {**item, **said, **given}


def written(
    directory: Path, rows: list[tuple[list[bytes], list[bytes]]], ontology: Json = ONTOLOGY
) -> tuple[Json, Counts]:
    """Write label rows, each its units and objects. Return the only file, and the counts."""
    counts, structure = Counts(), json.dumps(ontology).encode()
    categories = Categories(ontology_classes(structure), None)
    annotator = Annotator(categories, AttributeKeys(structure), counts)
    with output_in(directory) as output, coco_files(output, "project", categories.categories) as files:
        writer = CocoWriter(annotator, CocoIds(None), CocoIds(None), files)
        for units, objects in rows:
            writer.begin(None)
            for picture in Pictures([read_unit(one) for one in units], objects):
                with suppress(NoPicture):
                    writer.put(writer.make(picture), picture, ImagePlace(None, ""))
        annotator.count()
    return json.loads((directory / "annotations" / "instances_default.json").read_bytes()), counts


def only(directory: Path, line: bytes, ontology: Json = ONTOLOGY) -> Json:
    """Return the annotation that an object becomes."""
    [annotation] = written(directory, [([unit()], [line])], ontology)[0]["annotations"]
    return annotation
