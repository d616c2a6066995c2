"""Locations: the data units and spaces of a label row, and iteration over the labels on them.

A space is a part of a row with labels of its own: a layer, a member of a group, an image of a scene. A row
may use several names for one space; see `Locations.space`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from harvester.labels.values import JSON, NULL, size, whole
from harvester.labels.wire import DataUnit, FrameLabels, LabelRow, Labels, Space

# Data types whose labels are on frames; and those whose objects are on ranges, and are in `object_answers`.
FRAME_TYPES = frozenset(
    {"image", "img_group", "video", "dicom", "dicom_study", "nifti", "pdf", "scene", "group"}
)
RANGE_TYPES = frozenset({"audio", "time_series", "plain_text"})
RANGE_SPACES = frozenset({"audio", "time_series", "text", "html"})
# Types of spaces whose labels are on frames, slices or pages, or on a single picture.
FRAME_SPACES = frozenset(
    {
        "image", "image_sequence", "medical_file", "medical_stack", "pdf", "point_cloud", "scene_image",
        "video",
    }
)  # fmt: skip
# Types of spaces that are a single picture.
IMAGE_SPACES = frozenset({"image", "scene_image"})
# The id of the space that represents the row itself, in layered images and time series.
ROOT_SPACE = "root"
# The most digits of a key that is a frame number, or nanoseconds since an epoch. Longer keys, and numbers
# that do not fit in 64 bits, are not frame numbers.
_LONGEST_NUMBER = 19
_LARGEST_NUMBER = 2**63 - 1

_FLAT = ("objects", "classifications")

_encode = msgspec.json.encode


class _Object(msgspec.Struct, rename="camel", gc=False):
    object_hash: str | None = None


_decode_hash = msgspec.json.Decoder(_Object).decode


class Location(msgspec.Struct):
    """A data unit or space that labels are on, with the counts of its records.

    `space_id` is None for a data unit. `head` are the keys that all its records share, see `location_head`.
    `listed` is false for a space that only labels or answers name, and that the row does not list. `sequence`
    is the position of a data unit in its row. `objects` and `classifications` count records that were
    written, `dropped_objects` and `dropped_classifications` those that filters dropped.
    """

    space_id: str | None
    listed: bool
    head: bytes
    unit: DataUnit | None = None
    space: Space | None = None
    sequence: int | None = None
    objects: int = 0
    classifications: int = 0
    dropped_objects: int = 0
    dropped_classifications: int = 0


class Locations:
    """The locations of one label row.

    `units` are its data units by sequence. `by_frame` are the images of an image group by frame: each image
    is the frame of its sequence number.

    Args:
        row: the skeleton of the label row.
        signed_urls: write links to the data into the records.
        width, height: in pixels, according to the listing; used for the only data unit of a row that does not
            have them.
    """

    def __init__(
        self, row: LabelRow, *, signed_urls: bool, width: int | None = None, height: int | None = None
    ) -> None:
        self._signed_urls = signed_urls
        self._spaces = {key: space for key, space in (row.spaces or {}).items() if space is not None}
        self._seen: dict[str, Location] = {}
        self._other_names: dict[str, str] | None = None
        units = [
            (frame_number(unit.data_sequence), key, unit) for key, unit in (row.data_units or {}).items()
        ]
        if len(units) > 1:
            units.sort(key=lambda item: (item[0] is None, item[0] or 0))
            width = height = None
        self.units = [self._unit_location(key, unit, frame, width, height) for frame, key, unit in units]
        self._only = (units[0][1], units[0][2]) if len(units) == 1 else None
        self.by_frame: dict[int, Location] = {}
        if len(units) > 1 or (row.data_type or "").lower() == "img_group":
            numbered = reversed(self.units)
            self.by_frame = {
                location.sequence: location for location in numbered if location.sequence is not None
            }

    @property
    def root(self) -> Location:
        """Return the location of labels on the row itself.

        This is the space `root` if the row has it, else the only data unit. A row of several data units gets
        a location without one.
        """
        if ROOT_SPACE in self._spaces:
            return self.space(ROOT_SPACE)
        return self.units[0] if self._only else Location(None, True, location_head(None, None, None, None))

    def space(self, name: str) -> Location:
        """Return a space by its id or by another name that labels use for it.

        If the space names no file, its file keys are those of the row's only data unit.
        """
        if (location := self._seen.get(name)) is not None:
            return location
        space_id = name if name in self._spaces else self._names().get(name, name)
        if space_id != name:
            location = self._seen[name] = self.space(space_id)
            return location
        space = self._spaces.get(space_id)
        file = (space.child_info or space.root_info) if space else None
        scene = space.scene_info if space else None
        key, unit = self._only or (None, DataUnit())
        head = location_head(
            unit.data_hash or key,
            (file and file.file_name) or (scene and scene.uri) or unit.data_title,
            ((file and file.data_link) or unit.data_link) if self._signed_urls else None,
            space_id,
            NULL if space is None else size(space.width),
            NULL if space is None else size(space.height),
        )
        location = self._seen[space_id] = Location(space_id, space is not None, head, unit, space)
        return location

    def all(self) -> Iterable[Location]:
        """Return all locations: data units by sequence, listed spaces, then spaces that only labels name."""
        spaces = [self.space(space_id) for space_id in self._spaces]
        others = [
            location
            for name, location in self._seen.items()
            if location.space_id == name and not location.listed
        ]
        return [*self.units, *spaces, *others]

    def has_space(self, space_id: str) -> bool:
        """Return whether the row lists this space."""
        return space_id in self._spaces

    def space_type(self, space_id: str) -> str | None:
        """Return the type of a space, or None if the row does not have it."""
        space = self._spaces.get(space_id)
        return space.space_type if space else None

    def names_of_spaces(self, others: Iterable[str]) -> dict[str, str]:
        """Return the id of a space for each of its names: listed spaces, spaces with labels, and `others`."""
        ids = dict(self._names())
        for unit in self.units:
            assert unit.unit is not None
            keys = (key for key, _, _ in _frames(unit.unit.labels, None) if key is not None)
            ids |= {key: ids.get(key, key) for key in keys}
        ids |= {name: ids.get(name, name) for name in others}
        return ids | {space_id: space_id for space_id in self._spaces}

    def labels(self) -> Iterator[tuple[Location, int | None, FrameLabels]]:
        """Yield (location, frame, labels) for all labels on frames or in flat lists.

        The order is: data units by sequence, their frames by number, then spaces. A key in the labels of a
        data unit that is not a frame number (such as ``stream#frame``, in scenes) is the name of a space. The
        labels of a space may be under several of its names, and in the space itself: each object is only
        yielded once, where it is found first.
        """
        yielded: dict[str | None, list[FrameLabels]] = {}
        for unit in self.units:
            assert unit.unit is not None
            for key, frame, labels in _frames(unit.unit.labels, unit.sequence):
                if key is None:
                    yield unit, frame, labels
                    continue
                location = self.space(key)
                earlier = yielded.setdefault(location.space_id, [])
                yield location, frame, _without(labels, earlier)
                earlier.append(labels)
        for space_id, space in self._spaces.items():
            location, earlier = self.space(space_id), yielded.get(space_id, [])
            for _, frame, labels in _frames(space.labels, None):
                yield location, frame, _without(labels, earlier)

    def _unit_location(
        self, key: str, unit: DataUnit, sequence: int | None, width: int | None, height: int | None
    ) -> Location:
        url = unit.data_link if self._signed_urls else None
        wide, high = size(unit.width), size(unit.height)
        head = location_head(
            unit.data_hash or key,
            unit.data_title,
            url,
            None,
            whole(width) if wide == NULL else wide,
            whole(height) if high == NULL else high,
        )
        return Location(None, True, head, unit, sequence=sequence)

    def _names(self) -> dict[str, str]:
        """Return the id of a space for each key under which a data unit may have the labels of a scene image.

        As in the SDK, a key is ``stream#number``. The number is the frame at which the image starts, or the
        index of its event.
        """
        if self._other_names is None:
            names: dict[str, str] = {}
            scenes = [(key, space.scene_info) for key, space in self._spaces.items() if space.scene_info]
            for number_of in ("start_frame", "event_index"):
                for space_id, scene in scenes:
                    number = frame_number(getattr(scene, number_of))
                    if number is not None:
                        names.setdefault(f"{scene.stream_id or ''}#{number}", space_id)
            # A key without a stream means the image of that event, if it has only one, and unless an unnamed
            # stream has the same key.
            events = Counter(frame_number(scene.event_index) for _, scene in scenes)
            for space_id, scene in scenes:
                number = frame_number(scene.event_index)
                if number is not None and events[number] == 1:
                    names.setdefault(f"#{number}", space_id)
            self._other_names = names
        return self._other_names


def _without(labels: FrameLabels, earlier: list[FrameLabels]) -> FrameLabels:
    """Return `labels` without the objects that are in `earlier` labels of the same space."""
    if not earlier or not labels.objects:
        return labels
    hashes = {_decode_hash(raw).object_hash for one in earlier for raw in one.objects or ()} - {None}
    objects = [raw for raw in labels.objects if _decode_hash(raw).object_hash not in hashes]
    return FrameLabels(objects, labels.classifications)


def _check_empty(labels: list[msgspec.Raw] | None, where: str) -> None:
    if labels:
        raise msgspec.ValidationError(f"Expected `object`, got `array` - at `{where}`")


def location_head(
    unit_hash: str | None,
    file_name: str | None,
    data_url: str | None,
    space_id: str | None,
    width: JSON = NULL,
    height: JSON = NULL,
) -> bytes:
    """Return the keys that all records of a location share, ``unit_hash`` to ``height``, and ``frame``.

    The result is the inside of a JSON object and ends in ``"frame":``, without a value.
    """
    fields = {"unit_hash": unit_hash, "file_name": file_name, "data_url": data_url, "space_id": space_id}
    return b'%b,"width":%b,"height":%b,"frame":' % (_encode(fields)[1:-1], width, height)


def frame_number(value: int | float | str | None) -> int | None:
    """Return the frame number that a key or a `data_sequence` means, or None if it is not a number."""
    if isinstance(value, str):
        digits = value.isascii() and value.isdecimal() and len(value) <= _LONGEST_NUMBER
        value = int(value) if digits else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if value is None or -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER else None


def _frames(labels: Labels, flat_frame: int | None) -> Iterator[tuple[str | None, int | None, FrameLabels]]:
    """Yield (key, frame, labels) for the labels of a data unit or space.

    First the flat ones (on `flat_frame`), then those by frame number, then those by another key. Only the
    last have a key, and no frame.

    Raises:
        msgspec.ValidationError: the labels are in a list that does not say which kind they are, or where.
    """
    if not isinstance(labels, dict):
        _check_empty(labels, "labels")
        return
    objects, classifications = labels.get("objects"), labels.get("classifications")
    if isinstance(objects, list) or isinstance(classifications, list):
        flat = FrameLabels(
            objects if isinstance(objects, list) else None,
            classifications if isinstance(classifications, list) else None,
        )
        yield None, flat_frame, flat
    numbered = []
    for key, value in labels.items():
        if isinstance(value, FrameLabels):
            number = frame_number(key)
            if number is None and value.objects is None and value.classifications is None:
                continue  # other data beside the labels, not the labels of a space
            numbered.append((number is None, number or 0, key, value))
        elif isinstance(value, list) and key not in _FLAT and frame_number(key) is not None:
            _check_empty(value, f"labels.{key}")
    numbered.sort(key=lambda item: item[:2])
    for is_key, number, key, value in numbered:
        yield (key, None, value) if is_key else (None, number, value)
