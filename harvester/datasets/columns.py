"""The tables of the Parquet format: each column with its type. They are the same for every project.

Times are in UTC. The page docs/datasets.md describes each column, and a test holds it to this module.
"""

from collections.abc import Mapping

import pyarrow
from pyarrow import bool_, float64, int64, list_, string, struct

TABLES_VERSION = 1  # raised when a column is added, removed, or changes its type or meaning


def _list_of(type: pyarrow.DataType) -> pyarrow.DataType:
    return list_(pyarrow.field("element", type))  # Parquet's name


TIME = pyarrow.timestamp("us", "UTC")
# In records: a list of two numbers.
RANGE = struct({"first": int64(), "last": int64()})
OPTION = struct({"name": string(), "value": string(), "feature_hash": string()})
ANSWER = struct(
    {
        "name": string(),
        "value": string(),
        "feature_hash": string(),
        "parent": string(),
        "manual_annotation": bool_(),
        "options": _list_of(OPTION),
        "text": string(),
        "number": float64(),
        "ranges": _list_of(RANGE),
    }
)
BOX = struct(dict.fromkeys("xywh", float64()))
VERTEX = struct(dict.fromkeys("xy", float64()))
IN_SPACE = struct(dict.fromkeys("xyz", float64()))
NAMED_POINT = struct([*IN_SPACE, pyarrow.field("name", string()), pyarrow.field("visibility", string())])
MASK = struct({"counts": string(), **dict.fromkeys(("left", "top", "width", "height"), int64())})
CUBOID = struct(dict.fromkeys(("position", "orientation", "size"), IN_SPACE))
SLICE = struct(
    {
        "frame": int64(),
        **dict.fromkeys(("data_hash", "file_name", "instance_uid", "file_uri", "url"), string()),
        "width": int64(),
        "height": int64(),
    }
)

Columns = Mapping[str, pyarrow.DataType]

# Keys at the beginning of a record: where it is.
HEAD: Columns = {
    **dict.fromkeys(
        (
            "label_hash", "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title",
            "data_type", "unit_hash", "file_name", "data_url", "space_id",
        ),
        string(),
    ),
    "width": int64(),
    "height": int64(),
    "frame": int64(),
}  # fmt: skip

# Keys of the server's own JSON of a label: who made it, when and how.
MADE: Columns = {
    "created_at": TIME,
    "created_by": string(),
    "last_edited_at": TIME,
    "last_edited_by": string(),
    "confidence": float64(),
    "manual_annotation": bool_(),
}

# Keys at the end of a record, after the hash of its label: its class and answers.
TAILS: Mapping[str, Columns] = {
    "objects": {
        "feature_hash": string(),
        "name": string(),
        "shape": string(),
        "object_number": int64(),
        "until": int64(),
        "ranges": _list_of(RANGE),
        "attributes": _list_of(ANSWER),
        "dynamic_attributes": _list_of(ANSWER),
    },
    "classifications": {
        "feature_hash": string(),
        "name": string(),
        "ranges": _list_of(RANGE),
        "answers": _list_of(ANSWER),
        "reviews": string(),
    },
}

# Computed from the coordinates of an object as sent.
GEOMETRY: Columns = {
    "bbox": BOX,
    "rotation": float64(),
    "polygons": _list_of(_list_of(_list_of(VERTEX))),
    "points": _list_of(NAMED_POINT),
    "rle": MASK,
    "cuboid": CUBOID,
}

TABLES: Mapping[str, Columns] = {
    "objects": {
        **HEAD,
        "object": string(),
        "object_hash": string(),
        **TAILS["objects"],
        **MADE,
        **GEOMETRY,
    },
    "classifications": {
        **HEAD,
        "classification": string(),
        "classification_hash": string(),
        **TAILS["classifications"],
        **MADE,
    },
    "units": {
        **HEAD,
        "mime_type": string(),
        "fps": float64(),
        "duration": float64(),
        "number_of_frames": int64(),
        "sequence": int64(),
        "slices": _list_of(SLICE),
        "objects": int64(),
        "classifications": int64(),
        "dropped": struct({"objects": int64(), "classifications": int64()}),
    },
    "listing": {
        **dict.fromkeys(
            (
                "label_hash", "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title",
                "data_type", "task_status", "label_status", "stage",
            ),
            string(),
        ),
        "created_at": TIME,
        "last_edited_at": TIME,
        "width": int64(),
        "height": int64(),
        "number_of_frames": int64(),
        "backing_item_uuid": string(),
        "client_metadata": string(),
        "outcome": string(),
    },
    "ontology": {
        "position": int64(),
        "kind": string(),
        "feature_hash": string(),
        "parent": string(),
        "name": string(),
        "value": string(),
        "shape": string(),
        "type": string(),
        "color": string(),
        "dynamic": bool_(),
        "archived": bool_(),
        "sent": string(),
    },
}  # fmt: skip
