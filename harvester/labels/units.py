"""Writes unit records: one line for each data unit and space of a label row, even if no record is on it."""

import msgspec

from harvester.labels.locations import IMAGE_SPACES, Location, Locations, frame_number
from harvester.labels.records import LineBuffer
from harvester.labels.values import JSON, NULL, integer, number, rate, seconds, size, text, whole
from harvester.labels.wire import FrameLabels, LabelRow

_UNIT = (
    b'{"kind":"unit",%b%bnull,"mime_type":%b,"fps":%b,"duration":%b,"number_of_frames":%b,"sequence":%b,'
    b'"slices":%b,"objects":%b,"classifications":%b,"dropped":{"objects":%b,"classifications":%b}}\n'
)
_SLICE = (
    b'{"frame":%b,"data_hash":%b,"file_name":%b,"instance_uid":%b,"file_uri":%b,"url":%b,'
    b'"width":%b,"height":%b}'
)
_RAW_NULL = msgspec.Raw(NULL)


class _Slice(msgspec.Struct, gc=False):
    """One DICOM slice or one image of a sequence. The platform uses different keys for the same value."""

    dicom_instance_uid: msgspec.Raw = _RAW_NULL
    instance_uid: msgspec.Raw = _RAW_NULL
    file_uri: msgspec.Raw = _RAW_NULL
    width: msgspec.Raw = _RAW_NULL
    height: msgspec.Raw = _RAW_NULL
    data_uuid: msgspec.Raw = _RAW_NULL
    data_link: msgspec.Raw = _RAW_NULL
    data_title: msgspec.Raw = _RAW_NULL
    file_name: msgspec.Raw = _RAW_NULL


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_slices = msgspec.json.Decoder(list[_Slice]).decode
_decode_slice = msgspec.json.Decoder(_Slice).decode


class UnitReader:
    """Writes the unit records of label rows, with the counts of objects and classifications on each unit.

    Args:
        kinds: the kinds of records that are written. Only these are counted, the counts of others are null.
        signed_urls: write links to the data into the records.
    """

    def __init__(self, kinds: tuple[str, ...], *, signed_urls: bool) -> None:
        self._counted = tuple(kind in kinds for kind in ("objects", "classifications"))
        self._signed_urls = signed_urls

    def read(
        self, buffer: LineBuffer, row: LabelRow, head: bytes, locations: Locations, frames: int | None
    ) -> None:
        """Add a line for each unit of `row`. Its objects and classifications must have been read before.

        Args:
            buffer: the line buffer of units.
            row: the skeleton of the label row.
            head: the keys that all records of the row share, see `harvester.labels.records.row_head`.
            locations: the data units and spaces of the row, with their counts.
            frames: the number of frames according to the listing, None if it does not say.
        """
        several = len(locations.units) > 1
        for location in locations.all():
            count = 1 if several and location.space_id is None else number_of_frames(location, frames)
            numbers = (
                location.objects, location.classifications, location.dropped_objects,
                location.dropped_classifications
            )  # fmt: skip
            counts = [
                whole(one) if counted else NULL
                for one, counted in zip(numbers, self._counted * 2, strict=True)
            ]
            mime_type, fps, duration, sequence = _media_values(location)
            line = _UNIT % (
                head, location.head, mime_type, fps, duration, whole(count), sequence,
                self._slices(location), *counts,
            )  # fmt: skip
            buffer.add(line, b"", [b""])

    def _slices(self, location: Location) -> bytes:
        if location.space is not None:
            slices = [
                (frame, one, one.data_link) for frame, one in enumerate(_listed_slices(location.space.frames))
            ]
        elif location.unit is not None and location.space_id is None:
            links = _links(location.unit.data_links)
            found = _frame_metadata(location)
            frames = sorted({*found, *range(len(links))})
            slices = [
                (frame, found.get(frame, _Slice()), links[frame] if frame < len(links) else _RAW_NULL)
                for frame in frames
            ]
        else:
            slices = []
        if not slices:
            return NULL
        return b"[%b]" % b",".join([self._slice(frame, one, link) for frame, one, link in slices])

    def _slice(self, frame: int, one: _Slice, link: JSON) -> bytes:
        return _SLICE % (
            whole(frame),
            text(one.data_uuid),
            _first(one.file_name, one.data_title),
            _first(one.dicom_instance_uid, one.instance_uid),
            text(one.file_uri),
            text(link) if self._signed_urls else NULL,
            size(one.width),
            size(one.height),
        )


def number_of_frames(location: Location, listed: int | None) -> int | None:
    """Return the number of frames of a location, or None if neither the row nor the listing has it.

    `listed` is the number of frames of the row according to the listing. It applies to its only data unit.
    """
    space = location.space
    if space is None:
        return None if location.space_id is not None else listed
    if space.space_type in IMAGE_SPACES:
        return 1
    for sent in (space.number_of_frames, space.number_of_pages):
        if (count := integer(sent)) != NULL:
            return int(count) or None
    return len(_listed_slices(space.frames)) or None


def _media_values(location: Location) -> tuple[bytes, bytes, bytes, bytes]:
    """Return MIME type, frames per second, duration in seconds, and sequence, each as JSON."""
    if (space := location.space) is not None:
        duration = number(space.data_duration)
        duration = seconds(space.duration_ms) if duration == NULL else duration
        return NULL, rate(space.data_fps), duration, NULL
    if (unit := location.unit) is None or location.space_id is not None:
        return NULL, NULL, NULL, NULL
    return text(unit.data_type), rate(unit.data_fps), number(unit.data_duration), whole(location.sequence)


def _listed_slices(frames: msgspec.Raw) -> list[_Slice]:
    """Return the frames that a space lists, or an empty list if their form is not known."""
    try:
        return _decode_slices(frames)
    except msgspec.ValidationError:
        return []


def _frame_metadata(location: Location) -> dict[int, _Slice]:
    """Return the metadata of a data unit's slices by frame. It is sent beside the labels of the frame."""
    found = {}
    labels = location.unit.labels if location.unit else None
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, FrameLabels) and bytes(value.metadata) != NULL:
            frame = frame_number(key)
            if frame is not None:
                try:
                    found[frame] = _decode_slice(value.metadata)
                except msgspec.ValidationError:
                    continue
    return found


def _links(sent: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _decode_list(sent)
    except msgspec.ValidationError:
        return []


def _first(*values: JSON) -> bytes:
    """Return the first of `values` that is a text, or null if none is."""
    return next((found for value in values if (found := text(value)) != NULL), NULL)
