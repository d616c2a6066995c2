"""The schema: keys, their order and the kinds, as documented."""

import subprocess
import sys
from typing import get_args, get_type_hints

from harvester import schema

HEAD = (
    "kind, label_hash, branch_name, data_hash, dataset_hash, dataset_title, data_title, data_type, "
    "unit_hash, file_name, data_url, space_id, width, height, frame"
)
KEYS = {
    "HEAD_KEYS": HEAD,
    "OBJECT_KEYS": f"{HEAD}, object, object_hash, feature_hash, name, shape, object_number, until, ranges, "
    "attributes, dynamic_attributes",
    "CLASSIFICATION_KEYS": f"{HEAD}, classification, classification_hash, feature_hash, name, ranges, "
    "answers, reviews",
    "UNIT_KEYS": f"{HEAD}, mime_type, fps, duration, number_of_frames, sequence, slices, objects, "
    "classifications, dropped",
    "ROW_KEYS": "kind, metadata, row",
    "ANSWER_KEYS": "name, value, feature_hash, parent, manual_annotation, options, text, number, ranges",
    "OPTION_KEYS": "name, value, feature_hash",
    "SLICE_KEYS": "frame, data_hash, file_name, instance_uid, file_uri, url, width, height",
    "DROPPED_KEYS": "objects, classifications",
    "NOTE_KEYS": "label_hash, data_title, note, detail",
    "FAILED_KEYS": "label_hash, branch_name, data_title, error, message, attempts, trace_id",
    "LISTING_KEYS": "label_hash, branch_name, data_hash, dataset_hash, dataset_title, data_title, data_type, "
    "task_status, label_status, stage, created_at, last_edited_at, width, height, number_of_frames, "
    "backing_item_uuid, client_metadata, outcome",
}


def test_the_keys_of_every_line_stand_in_the_documented_order() -> None:
    """Each tuple of keys, whole."""
    names = {name for name in vars(schema) if name.endswith("_KEYS") and name != "RECORD_KEYS"}
    assert {name: ", ".join(getattr(schema, name)) for name in names} == KEYS


def test_every_kind_has_its_keys_and_one_typed_dict() -> None:
    """The `kind` that a record carries is the singular of its kind's name."""
    assert tuple(schema.RECORD_KEYS) == schema.KINDS == get_args(schema.Kind)
    for kind, record in zip(schema.KINDS, get_args(schema.Record), strict=True):
        assert get_args(get_type_hints(record)["kind"]) == (kind.removesuffix("s"),)
        assert tuple(get_type_hints(record)) == schema.RECORD_KEYS[kind]


def test_the_default_kinds_are_kinds_in_their_order() -> None:
    """Files and streams name known kinds only, none of them twice."""
    for defaults in (schema.FILE_KINDS, schema.STREAM_KINDS):
        assert list(defaults) == [kind for kind in schema.KINDS if kind in defaults]


def test_the_schema_imports_nothing_of_harvester() -> None:
    """It stands below all other modules."""
    code = (
        "import sys, types; sys.modules['harvester'] = types.ModuleType('harvester')\n"
        f"exec(compile(open({schema.__file__!r}).read(), 'schema', 'exec'), {{'__name__': 'schema'}})\n"
        "print([name for name in sys.modules if name.startswith('harvester.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
