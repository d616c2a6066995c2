"""The schema of the output: kinds of record, and for each kind its keys and their types.

A line always has all keys of its kind, in the order of the annotations below. `None` (JSON null) means that a
key does not apply. The tuples of keys are derived from the annotations, so each key is named once. This
module imports no other module of harvester.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict, get_args

import msgspec

# Increased whenever a key is added, removed or changes its meaning. It is also the format version of a
# target.
SCHEMA_VERSION = 2

Kind = Literal["objects", "classifications", "units", "rows"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The kinds that are written by default: FILE_KINDS into a target, STREAM_KINDS to standard output and by
# `records` and `stream`.
FILE_KINDS: tuple[Kind, ...] = ("objects", "classifications", "units")
STREAM_KINDS: tuple[Kind, ...] = ("objects", "classifications")

# A number of rows, records or bytes in a file of a target. JSON readers hold integers up to 2**53 exactly.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

Outcome = Literal["harvested", "unlabelled", "filtered", "failed"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)

# Peculiarities of a harvested label row that a user should know of: `NoteLine.note`.
NOTES = (
    "stale",
    "surrogates_replaced",
    "ranges_not_expanded",
    "placement_unknown",
    "unlike_listing",
    "listed_twice",
    "answer_as_text",
)
# Why a label row could not be harvested: `FailedLine.error`.
Failure = Literal["forbidden", "gone", "unreadable", "too_large", "left_out", "unavailable"]
FAILURES: tuple[Failure, ...] = get_args(Failure)

# Pairs of first and last, both included, in frames, milliseconds, nanoseconds or characters by the data type.
Ranges = list[list[float]]


class OptionItem(TypedDict):
    """One chosen option of an answer."""

    name: str
    value: str
    feature_hash: str


class AnswerItem(TypedDict):
    """The answer to one attribute. Nested answers follow their parent in the same flat list.

    `parent` is the feature hash of the option that the attribute is nested under. One of `options`, `text`
    and `number` has the answer, the others are `None`. A number that fits neither in 64 bits nor in a double
    is in `text`.
    """

    name: str
    value: str
    feature_hash: str
    parent: str | None
    manual_annotation: bool | None
    options: list[OptionItem] | None
    text: str | None
    number: float | None
    ranges: Ranges | None


class SliceItem(TypedDict):
    """One slice of a DICOM series, or one image of an image sequence."""

    frame: int
    data_hash: str | None
    file_name: str | None
    instance_uid: str | None
    file_uri: str | None
    url: str | None
    width: int | None
    height: int | None


class DroppedCounts(TypedDict):
    """The number of records of a unit that filters dropped, `None` for a kind that is not written."""

    objects: int | None
    classifications: int | None


class RecordHead(TypedDict):
    """The keys of a record after `kind` that say where it is: label row, data unit or space, and frame."""

    label_hash: str
    branch_name: str | None
    data_hash: str
    dataset_hash: str | None
    dataset_title: str | None
    data_title: str | None
    data_type: str | None
    unit_hash: str | None
    file_name: str | None
    data_url: str | None
    space_id: str | None
    width: int | None
    height: int | None
    frame: int | None


class _ObjectKind(TypedDict):
    kind: Literal["object"]


class _ClassificationKind(TypedDict):
    kind: Literal["classification"]


class _UnitKind(TypedDict):
    kind: Literal["unit"]


class ObjectRecord(_ObjectKind, RecordHead):
    """One object on one frame, image, page or space, or one object on ranges.

    `object` is the object as sent by the server. `until` is the last moment, in nanoseconds, at which the
    record holds, in an event-based scene. Only objects on ranges have `ranges`.
    """

    object: dict[str, Any]
    object_hash: str
    feature_hash: str | None
    name: str | None
    shape: str | None
    object_number: int | None
    until: int | None
    ranges: Ranges | None
    attributes: list[AnswerItem]
    dynamic_attributes: list[AnswerItem]


class ClassificationRecord(_ClassificationKind, RecordHead):
    """One classification on a label row or on one of its spaces.

    `classification` is the classification as sent by the server. `reviews` is `None` unless reviews were
    selected.
    """

    classification: dict[str, Any]
    classification_hash: str
    feature_hash: str | None
    name: str | None
    ranges: Ranges | None
    answers: list[AnswerItem]
    reviews: list[dict[str, Any]] | None


class UnitRecord(_UnitKind, RecordHead):
    """One data unit or space of a label row, even if no record is on it.

    `objects` and `classifications` are the numbers of its written records, `None` for a kind that is not
    written. `fps` is in frames per second, `duration` in seconds.
    """

    mime_type: str | None
    fps: float | None
    duration: float | None
    number_of_frames: int | None
    sequence: int | None
    slices: list[SliceItem] | None
    objects: int | None
    classifications: int | None
    dropped: DroppedCounts


class RowRecord(TypedDict):
    """One label row: `metadata` is its item of the listing, `row` the label row, both as sent."""

    kind: Literal["row"]
    metadata: dict[str, Any] | None
    row: dict[str, Any]


Record = ObjectRecord | ClassificationRecord | UnitRecord | RowRecord


class NoteLine(TypedDict):
    """A line of ``notes-*.ndjson``: a peculiarity of a harvested label row that a user should know of."""

    label_hash: str
    data_title: str | None
    note: str
    detail: str | None


class FailedLine(TypedDict):
    """A line of ``failed-*.ndjson``: a label row that could not be harvested, and the reason."""

    label_hash: str
    branch_name: str | None
    data_title: str | None
    error: str
    message: str
    attempts: int
    trace_id: str | None


class ListingLine(TypedDict):
    """A line of ``listing.ndjson.zst``: a label row as it was last listed, and its outcome.

    `client_metadata` is JSON as text.
    """

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    dataset_hash: str | None
    dataset_title: str | None
    data_title: str | None
    data_type: str | None
    task_status: str | None
    label_status: str | None
    stage: str | None
    created_at: str | None
    last_edited_at: str | None
    width: int | None
    height: int | None
    number_of_frames: int | None
    backing_item_uuid: str | None
    client_metadata: str | None
    outcome: Outcome


def _keys(line: type) -> tuple[str, ...]:
    return tuple(line.__annotations__)


HEAD_KEYS = ("kind", *_keys(RecordHead))
OBJECT_KEYS = _keys(ObjectRecord)
CLASSIFICATION_KEYS = _keys(ClassificationRecord)
UNIT_KEYS = _keys(UnitRecord)
ROW_KEYS = _keys(RowRecord)
OPTION_KEYS = _keys(OptionItem)
ANSWER_KEYS = _keys(AnswerItem)
SLICE_KEYS = _keys(SliceItem)
DROPPED_KEYS = _keys(DroppedCounts)
NOTE_KEYS = _keys(NoteLine)
FAILED_KEYS = _keys(FailedLine)
LISTING_KEYS = _keys(ListingLine)

RECORD_KEYS: Mapping[str, tuple[str, ...]] = {
    "objects": OBJECT_KEYS,
    "classifications": CLASSIFICATION_KEYS,
    "units": UNIT_KEYS,
    "rows": ROW_KEYS,
}
