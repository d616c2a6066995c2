"""The tables of the Parquet format: each column with its type. They are the same for every project.

Types are written as DuckDB writes them. Times are in UTC. The page docs/datasets.md describes each column,
and a test holds it to this module.
"""

from collections.abc import Mapping

TABLES_VERSION = 1  # raised when a column is added, removed, or changes its type or meaning

RANGE = 'STRUCT("first" BIGINT, "last" BIGINT)'
OPTION = "STRUCT(name VARCHAR, value VARCHAR, feature_hash VARCHAR)"
ANSWER = (
    "STRUCT(name VARCHAR, value VARCHAR, feature_hash VARCHAR, parent VARCHAR, manual_annotation BOOLEAN, "
    f"options {OPTION}[], text VARCHAR, number DOUBLE, ranges {RANGE}[])"
)
BOX = "STRUCT(x DOUBLE, y DOUBLE, w DOUBLE, h DOUBLE)"
VERTEX = "STRUCT(x DOUBLE, y DOUBLE)"
NAMED_POINT = "STRUCT(x DOUBLE, y DOUBLE, z DOUBLE, name VARCHAR, visibility VARCHAR)"
MASK = 'STRUCT(counts VARCHAR, "left" BIGINT, top BIGINT, width BIGINT, height BIGINT)'
IN_SPACE = "STRUCT(x DOUBLE, y DOUBLE, z DOUBLE)"
CUBOID = f'STRUCT("position" {IN_SPACE}, orientation {IN_SPACE}, size {IN_SPACE})'
SLICE = (
    "STRUCT(frame BIGINT, data_hash VARCHAR, file_name VARCHAR, instance_uid VARCHAR, file_uri VARCHAR, "
    "url VARCHAR, width BIGINT, height BIGINT)"
)
TIME = "TIMESTAMPTZ"

Columns = Mapping[str, str]

# What the first keys of a record say: where it is.
HEAD: Columns = {
    **dict.fromkeys(
        (
            "label_hash", "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title",
            "data_type", "unit_hash", "file_name", "data_url", "space_id",
        ),
        "VARCHAR",
    ),
    "width": "BIGINT",
    "height": "BIGINT",
    "frame": "BIGINT",
}  # fmt: skip

# What the server's own JSON says of who made a label, and when.
_MADE: Columns = {
    "created_at": TIME,
    "created_by": "VARCHAR",
    "last_edited_at": TIME,
    "last_edited_by": "VARCHAR",
    "confidence": "DOUBLE",
    "manual_annotation": "BOOLEAN",
}

TABLES: Mapping[str, Columns] = {
    "objects": {
        **HEAD,
        "object": "VARCHAR",
        "object_hash": "VARCHAR",
        "feature_hash": "VARCHAR",
        "name": "VARCHAR",
        "shape": "VARCHAR",
        "object_number": "BIGINT",
        "until": "BIGINT",
        "ranges": f"{RANGE}[]",
        "attributes": f"{ANSWER}[]",
        "dynamic_attributes": f"{ANSWER}[]",
        **_MADE,
        "bbox": BOX,
        "rotation": "DOUBLE",
        "polygons": f"{VERTEX}[][][]",
        "points": f"{NAMED_POINT}[]",
        "rle": MASK,
        "cuboid": CUBOID,
    },
    "classifications": {
        **HEAD,
        "classification": "VARCHAR",
        "classification_hash": "VARCHAR",
        "feature_hash": "VARCHAR",
        "name": "VARCHAR",
        "ranges": f"{RANGE}[]",
        "answers": f"{ANSWER}[]",
        "reviews": "VARCHAR",
        **_MADE,
    },
    "units": {
        **HEAD,
        "mime_type": "VARCHAR",
        "fps": "DOUBLE",
        "duration": "DOUBLE",
        "number_of_frames": "BIGINT",
        "sequence": "BIGINT",
        "slices": f"{SLICE}[]",
        "objects": "BIGINT",
        "classifications": "BIGINT",
        "dropped": "STRUCT(objects BIGINT, classifications BIGINT)",
    },
    "listing": {
        **dict.fromkeys(
            (
                "label_hash", "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title",
                "data_type", "task_status", "label_status", "stage",
            ),
            "VARCHAR",
        ),
        "created_at": TIME,
        "last_edited_at": TIME,
        "width": "BIGINT",
        "height": "BIGINT",
        "number_of_frames": "BIGINT",
        "backing_item_uuid": "VARCHAR",
        "client_metadata": "VARCHAR",
        "outcome": "VARCHAR",
    },
    "ontology": {
        "position": "BIGINT",
        "kind": "VARCHAR",
        "feature_hash": "VARCHAR",
        "parent": "VARCHAR",
        "name": "VARCHAR",
        "value": "VARCHAR",
        "shape": "VARCHAR",
        "type": "VARCHAR",
        "color": "VARCHAR",
        "dynamic": "BOOLEAN",
        "archived": "BOOLEAN",
        "sent": "VARCHAR",
    },
}  # fmt: skip
