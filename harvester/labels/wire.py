"""The API's JSON as msgspec structs. They have only the keys that harvester reads."""

import re
from typing import Any

import msgspec

from harvester.errors import Unsound
from harvester.schema import OUTCOMES


class WorkflowStage(msgspec.Struct, frozen=True):
    """The workflow stage of a row's task."""

    title: str | None = None


class ListedRow(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the listing, with the fields that planning needs. Unknown fields are ignored.

    Fields that only describe the row accept any type, because an unexpected value in them must not stop an
    export. `replaced_in` is not sent by the server, but set by harvester: the paths at which U+FFFD replaced
    invalid text, see `harvester.labels.surrogates`.
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

    The fields up to `outcome` are the keys of a line of the listing (`harvester.schema.ListingLine`), in the
    same order. The row's JSON up to its `outcome` is therefore the beginning of that line.

    `outcome` is set while planning, for rows that are never fetched: ``unlabelled`` (no label yet) or
    ``filtered`` (excluded by a filter on the listing). `stage` is the title of the workflow stage of its
    task. `client_metadata` is JSON text, only kept if the selection asks for it. `listed_twice` is true if
    the server lists the label row more than once. `metadata` is the listing item as sent, only kept if row
    records are written. `replaced_in` are the paths in it at which U+FFFD replaced invalid text.
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
# The end of the JSON of most rows: those that are fetched, without metadata. A shortcut for `split_outcome`.
_USUAL_END = b"".join(msgspec.json.encode(PlanRow(None, None, "", "")).partition(_OUTCOME)[1:])


def split_outcome(line: bytes) -> tuple[bytes, str | None]:
    """Return the JSON of a `PlanRow` up to the comma before its `outcome`, and the outcome.

    It looks for the first ``,"outcome":``. That is safe: all values before it are numbers, null or texts, and
    in a text the quotes would be escaped.

    Raises:
        Unsound: `line` is not the JSON of a `PlanRow`.
    """
    if line.endswith(_USUAL_END):
        return line[: -len(_USUAL_END)], None
    start, _, rest = line.partition(_OUTCOME)
    if rest.startswith(b"null"):
        return start, None
    outcome = rest[1:].partition(b'"')[0].decode(errors="replace")
    if outcome not in OUTCOMES:
        raise Unsound("a row of the plan is not as it was written")
    return start, outcome


# A label row's JSON as sent.
SentRow = bytes | bytearray | memoryview | msgspec.Raw


# -- the label row ------------------------------------------------------------------------------------

_NULL = msgspec.Raw(b"null")

# Pairs of first and last, both included, in frames, milliseconds, characters or nanoseconds by the data type.
Ranges = list[tuple[int | float, int | float]]


class FrameLabels(msgspec.Struct, gc=False):
    """The labels of one frame, page, image or space, each as sent."""

    objects: list[msgspec.Raw] | None = None
    classifications: list[msgspec.Raw] | None = None
    metadata: msgspec.Raw = _NULL  # of a DICOM slice


# `{"objects": [..], "classifications": [..]}`, or labels by frame. The server sends no labels in several
# ways: `{}`, `[]`, null, and empty values.
Labels = (
    dict[str, FrameLabels | list[msgspec.Raw] | str | int | float | bool | None] | list[msgspec.Raw] | None
)


class DataUnit(msgspec.Struct):
    """A data unit: an image, a video, a file. Raw fields accept any value, since they are only copied."""

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
    """The file of a space."""

    file_name: str | None = None
    data_link: str | None = None


class SceneInfo(msgspec.Struct):
    """Identifies the image or point cloud of a scene that a space is."""

    stream_id: str | None = None
    start_frame: int | float | str | None = None
    event_index: int | float | str | None = None
    uri: str | None = None


class Space(msgspec.Struct):
    """A space: a part of a group, scene or layered image that has labels of its own."""

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
    """The scene of a row. Continuous (event-based) scenes have events at nanoseconds instead of frames."""

    is_continuous: bool | None = None


class SpaceRange(msgspec.Struct):
    """The ranges of an object or classification on a space. Those of an `html` space are of another form."""

    type: str | None = None
    range: msgspec.Raw = _NULL


# Defaults that are compared by identity (`is`), so that a missing key is recognised without reading any
# bytes.
NO_NUMBER = msgspec.Raw(b"null")
NO_RANGE = msgspec.Raw(b"null")


class ObjectAnswer(msgspec.Struct, rename="camel", gc=False):
    """An entry of `object_answers`: the static answers of an object, and for objects on ranges the object."""

    classifications: msgspec.Raw = msgspec.Raw(b"[]")
    object_number: msgspec.Raw = NO_NUMBER
    range: msgspec.Raw = NO_RANGE
    range_html: msgspec.Raw = msgspec.field(default=_NULL, name="range_html")
    spaces: dict[str, SpaceRange | None] | None = None


class ObjectActions(msgspec.Struct, gc=False):
    """An entry of `object_actions`: the dynamic answers of an object."""

    actions: msgspec.Raw = msgspec.Raw(b"[]")


class LabelRow(msgspec.Struct):
    """The skeleton of a label row: a decoded row in which everything that is only copied stays raw bytes.

    `object_answers` is raw too, because it is decoded in two ways; see `harvester.labels.objects`.
    """

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
    """An entry of `classification_answers`, with the keys that are read. The entry is copied as sent."""

    feature_hash: str | None = None
    reviews: msgspec.Raw = _NULL
    classifications: msgspec.Raw = msgspec.Raw(b"[]")
    range: list[msgspec.Raw] | None = None
    spaces: dict[str, SpaceRange | None] | None = None


class ClassificationCopy(msgspec.Struct, rename="camel", gc=False):
    """A copy of a classification in the labels of a frame."""

    classification_hash: str | None = None
    feature_hash: str | None = None
    name: str | None = None
    reviews: msgspec.Raw = _NULL


class _Envelope(msgspec.Struct):
    label_hash: str | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_FIRST = re.compile(rb'\s*\{\s*"label_hash"\s*:\s*"([0-9A-Za-z_-]+)"')
_FIRST_BYTES = 128


# A row of an answer of the server: as sent, or already decoded.
Row = SentRow | LabelRow


def label_hash_of(row: Row) -> str | None:
    """Return the label hash in a row, or None if it has none or is not a JSON object."""
    if isinstance(row, LabelRow):
        return row.label_hash
    # The platform sends it as the first key, so usually the rest of the row need not be read.
    if first := _FIRST.match(memoryview(row)[:_FIRST_BYTES]):
        return first[1].decode()
    try:
        return _decode_envelope(row).label_hash
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
