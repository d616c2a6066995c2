"""The wire as msgspec structs: the parts of the API's JSON that we look into, and no more."""

import re
from typing import Any

import msgspec


class WorkflowStage(msgspec.Struct, frozen=True):
    """The stage of the workflow that a row's task is in."""

    title: str | None = None


class ListedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the listing, as far as planning needs it. Unknown fields pass by.

    What only describes the row may have any type: an odd value of it must not stop an export. `replaced_in`
    is ours, and no server's: where U+FFFD stands in place of what is no text.
    """

    data_hash: str
    dataset_hash: str
    dataset_title: str | None = None
    data_title: str | None = None
    data_type: str | None = None
    label_hash: str | None = None
    branch_name: str | None = None
    label_status: str | None = None
    annotation_task_status: str | None = None
    workflow_graph_node: WorkflowStage | None = None
    last_edited_at: str | None = None
    created_at: Any = None
    width: Any = None
    height: Any = None
    number_of_frames: Any = None
    backing_item_uuid: Any = None
    is_shadow_data: Any = None
    client_metadata: msgspec.Raw = msgspec.Raw(b"null")
    replaced_in: str | None = msgspec.field(default=None, name="\ufffd")


NO_METADATA = msgspec.Raw(b"null")


class PlanRow(msgspec.Struct, frozen=True):
    """A row of the frozen plan.

    The keys of a line of the listing (`harvester.schema.ListingLine`) come first and in its order, so that
    the row's JSON up to its `outcome` is the beginning of that line. `outcome` is decided while planning for
    rows that are never asked for: ``unlabelled`` (no label yet) or ``filtered`` (the listing rules it out).
    `stage` is the title of its task's stage in the workflow. `client_metadata` is JSON text, kept only where
    it was asked for. `listed_twice` is set where the server lists the label row more than once. `metadata`
    is the listing item as sent, kept only where row records are emitted, and `replaced_in` where in it U+FFFD
    stands in place of what is no text.
    """

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    dataset_hash: str
    dataset_title: str = ""
    data_title: str = ""
    data_type: str = ""
    task_status: str | None = None
    label_status: str | None = None
    stage: str | None = None
    created_at: str | None = None
    last_edited_at: str | None = None
    width: int | None = None
    height: int | None = None
    number_of_frames: int | None = None
    backing_item_uuid: str | None = None
    client_metadata: str | None = None
    outcome: str | None = None
    listed_twice: bool = False
    metadata: msgspec.Raw = NO_METADATA  # no `| None`: msgspec decodes no union with Raw
    replaced_in: str | None = None


_OUTCOME = b',"outcome":'
# How the JSON of most rows ends: they are asked for, and no metadata is kept.
_USUAL_END = b"".join(msgspec.json.encode(PlanRow(None, None, "", "")).partition(_OUTCOME)[1:])


def split_outcome(line: bytes) -> tuple[bytes, str | None]:
    """The JSON of a `PlanRow` up to the comma before its `outcome`, and the outcome.

    All values before it are texts, in which a quote is escaped, numbers or null: so the first is the one.

    Raises:
        ValueError: it is no such JSON.
    """
    if line.endswith(_USUAL_END):
        return line[: -len(_USUAL_END)], None
    end = line.index(_OUTCOME)
    start = end + len(_OUTCOME)
    if line.startswith(b"null", start):
        return line[:end], None
    return line[:end], line[start + 1 : line.index(b'"', start + 1)].decode()


# A label row's JSON as sent.
SentRow = bytes | bytearray | memoryview | msgspec.Raw


# -- the label row ------------------------------------------------------------------------------------

_NULL = msgspec.Raw(b"null")

# Inclusive at both ends: frames, milliseconds, characters or nanoseconds, by the data type.
Ranges = list[tuple[int | float, int | float]]


class FrameLabels(msgspec.Struct, gc=False):
    """The labels of one frame, page, image or place, each as sent."""

    objects: list[msgspec.Raw] | None = None
    classifications: list[msgspec.Raw] | None = None
    metadata: msgspec.Raw = _NULL  # of a DICOM slice


# `{"objects": [..], "classifications": [..]}`, or frames by key; empty in every way met, and `[]` and null.
Labels = (
    dict[str, FrameLabels | list[msgspec.Raw] | str | int | float | bool | None] | list[msgspec.Raw] | None
)


class DataUnit(msgspec.Struct):
    """A data unit: an image, a video, a file. What is raw is copied, and may have any form."""

    data_hash: str | None = None
    data_title: str | None = None
    data_sequence: int | float | str | None = None
    data_link: str | None = None
    data_type: msgspec.Raw = _NULL  # its MIME type
    width: msgspec.Raw = _NULL
    height: msgspec.Raw = _NULL
    data_fps: msgspec.Raw = _NULL
    data_duration: msgspec.Raw = _NULL
    data_links: msgspec.Raw = _NULL  # of DICOM slices
    labels: Labels = None


class SpaceFile(msgspec.Struct):
    """The file that a space shows."""

    file_name: str | None = None
    data_link: str | None = None


class SceneInfo(msgspec.Struct):
    """Which image or point cloud of a scene a space is."""

    stream_id: str | None = None
    start_frame: int | float | str | None = None
    event_index: int | float | str | None = None
    uri: str | None = None


class Space(msgspec.Struct):
    """A space: a part of a group, scene or layered image with labels of its own."""

    space_type: str | None = None
    labels: Labels = None
    child_info: SpaceFile | None = None
    root_info: SpaceFile | None = None
    scene_info: SceneInfo | None = None
    width: msgspec.Raw = _NULL
    height: msgspec.Raw = _NULL
    number_of_frames: msgspec.Raw = _NULL
    number_of_pages: msgspec.Raw = _NULL
    data_fps: msgspec.Raw = _NULL
    data_duration: msgspec.Raw = _NULL
    duration_ms: msgspec.Raw = _NULL
    frames: msgspec.Raw = _NULL  # of image sequences and stacks of medical images


class Scene(msgspec.Struct, rename="camel"):
    """What a scene row says of its scene. Continuous ones hold events, not frames."""

    is_continuous: bool | None = None


class SpaceRange(msgspec.Struct):
    """Where on a space an object or classification stands. The range of an `html` space is no range."""

    type: str | None = None
    range: msgspec.Raw = _NULL


# Objects of their own, so that a key that was not sent is told from others without a look at its bytes.
NO_NUMBER = msgspec.Raw(b"null")
NO_RANGE = msgspec.Raw(b"null")


class ObjectAnswer(msgspec.Struct, rename="camel", gc=False):
    """An entry of `object_answers`: static answers; for range data also the object itself."""

    classifications: msgspec.Raw = msgspec.Raw(b"[]")
    object_number: msgspec.Raw = NO_NUMBER
    range: msgspec.Raw = NO_RANGE
    range_html: msgspec.Raw = msgspec.field(default=_NULL, name="range_html")
    spaces: dict[str, SpaceRange | None] | None = None


class ObjectActions(msgspec.Struct, gc=False):
    """An entry of `object_actions`: dynamic answers."""

    actions: msgspec.Raw = msgspec.Raw(b"[]")


class LabelRow(msgspec.Struct):
    """A label row's skeleton: everything that is copied stays raw, and what is read in two ways, too."""

    label_hash: str | None = None
    branch_name: str | None = None
    data_hash: str | None = None
    dataset_hash: str | None = None
    dataset_title: str | None = None
    data_title: str | None = None
    data_type: str | None = None
    last_edited_at: str | int | float | None = None
    data_units: dict[str, DataUnit] | None = None
    spaces: dict[str, Space | None] | None = None
    scene: Scene | None = None
    object_answers: msgspec.Raw = msgspec.Raw(b"null")
    object_actions: dict[str, ObjectActions | None] | None = None
    classification_answers: dict[str, msgspec.Raw] | None = None


class ClassificationAnswer(msgspec.Struct, rename="camel"):
    """An entry of `classification_answers`; it is copied whole, this is where it stands."""

    feature_hash: str | None = None
    reviews: msgspec.Raw = _NULL
    classifications: msgspec.Raw = msgspec.Raw(b"[]")
    range: list[msgspec.Raw] | None = None
    spaces: dict[str, SpaceRange | None] | None = None


class ClassificationCopy(msgspec.Struct, rename="camel", gc=False):
    """A frame-level copy of a classification."""

    classification_hash: str | None = None
    feature_hash: str | None = None
    name: str | None = None
    reviews: msgspec.Raw = _NULL


class _Envelope(msgspec.Struct):
    label_hash: str | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_FIRST = re.compile(rb'\s*\{\s*"label_hash"\s*:\s*"([0-9A-Za-z_-]+)"')
_FIRST_BYTES = 128


# One of an answer: its JSON, or read already.
Row = SentRow | LabelRow


def label_hash_of(row: Row) -> str | None:
    """The label hash that a row says it has; None where it says none or is no JSON object."""
    if isinstance(row, LabelRow):
        return row.label_hash
    # The platform puts it first: then nothing more of the row need be read for it.
    if first := _FIRST.match(memoryview(row)[:_FIRST_BYTES]):
        return first[1].decode()
    try:
        return _decode_envelope(row).label_hash
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
