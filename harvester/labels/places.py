"""Places: the data units and spaces that labels stand in, and the walk over all of them."""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from harvester.labels.values import JSON, NULL, size, whole
from harvester.labels.wire import DataUnit, FrameLabels, LabelRow, Labels, Space

# Data whose labels stand on frames; and data whose objects stand on ranges and live in `object_answers`.
FRAME_TYPES = frozenset(
    {"image", "img_group", "video", "dicom", "dicom_study", "nifti", "pdf", "scene", "group"}
)
RANGE_TYPES = frozenset({"audio", "time_series", "plain_text"})
RANGE_SPACES = frozenset({"audio", "time_series", "text", "html"})
# Spaces whose labels stand on frames, slices or pages, or on one picture.
FRAME_SPACES = frozenset(
    {
        "image", "image_sequence", "medical_file", "medical_stack", "pdf", "point_cloud", "scene_image",
        "video",
    }
)  # fmt: skip
# Spaces that hold one picture, and no frames.
IMAGE_SPACES = frozenset({"image", "scene_image"})
# The id of the space that stands for the row itself in layered images and time series.
ROOT_SPACE = "root"
# Frame numbers, and nanoseconds since an epoch: 19 digits. Longer keys, and what is beyond 64 bits, are none.
_LONGEST_NUMBER = 19
_LARGEST_NUMBER = 2**63 - 1

_FLAT = ("objects", "classifications")

_encode = msgspec.json.encode


class _Object(msgspec.Struct, rename="camel", gc=False):
    object_hash: str | None = None


_decode_hash = msgspec.json.Decoder(_Object).decode


class Place(msgspec.Struct):
    """Where labels stand: a data unit, or a space; and how many records there are of it.

    `head` is its part of a line, `listed` whether the row lists it: a space may be named by labels or answers
    alone. `objects` and `classifications` count the records that were kept of it, and dropped by filters.
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


class Places:
    """The places of one row. `by_frame` are the images of an image group, by their positions.

    Args:
        row: its skeleton.
        signed_urls: whether links to the data go into the records.
        width, height: what the listing says of the data, for a row of one unit that does not say it.
    """

    def __init__(
        self, row: LabelRow, *, signed_urls: bool, width: int | None = None, height: int | None = None
    ) -> None:
        self._signed_urls = signed_urls
        self._spaces = {key: space for key, space in (row.spaces or {}).items() if space is not None}
        self._seen: dict[str, Place] = {}
        self._other_names: dict[str, str] | None = None
        units = [
            (frame_number(unit.data_sequence), key, unit) for key, unit in (row.data_units or {}).items()
        ]
        if len(units) > 1:
            units.sort(key=lambda item: (item[0] is None, item[0] or 0))
            width = height = None
        self.units = [self._unit_place(key, unit, frame, width, height) for frame, key, unit in units]
        self._only = (units[0][1], units[0][2]) if len(units) == 1 else None
        self.by_frame: dict[int, Place] = {}
        if len(units) > 1 or (row.data_type or "").lower() == "img_group":
            numbered = reversed(self.units)
            self.by_frame = {place.sequence: place for place in numbered if place.sequence is not None}

    @property
    def root(self) -> Place:
        """The row itself: its only data unit, or no one unit; the space `root` where the row has one."""
        if ROOT_SPACE in self._spaces:
            return self.space(ROOT_SPACE)
        return self.units[0] if self._only else Place(None, True, place_head(None, None, None, None))

    def space(self, name: str) -> Place:
        """A space by its id, or by another name that labels have for it, with the file that it shows.

        The file is that of the row's only data unit where the space names none.
        """
        if (place := self._seen.get(name)) is not None:
            return place
        space_id = name if name in self._spaces else self._names().get(name, name)
        if space_id != name:
            place = self._seen[name] = self.space(space_id)
            return place
        space = self._spaces.get(space_id)
        file = (space.child_info or space.root_info) if space else None
        scene = space.scene_info if space else None
        key, unit = self._only or (None, DataUnit())
        head = place_head(
            unit.data_hash or key,
            (file and file.file_name) or (scene and scene.uri) or unit.data_title,
            ((file and file.data_link) or unit.data_link) if self._signed_urls else None,
            space_id,
            NULL if space is None else size(space.width),
            NULL if space is None else size(space.height),
        )
        place = self._seen[space_id] = Place(space_id, space is not None, head, unit, space)
        return place

    def all(self) -> Iterable[Place]:
        """Every place: data units by sequence, listed spaces, then those that only labels name."""
        spaces = [self.space(space_id) for space_id in self._spaces]
        others = [place for name, place in self._seen.items() if place.space_id == name and not place.listed]
        return [*self.units, *spaces, *others]

    def has_space(self, space_id: str) -> bool:
        """Whether the row lists this space."""
        return space_id in self._spaces

    def space_type(self, space_id: str) -> str | None:
        """The type of a space; None where the row does not say."""
        space = self._spaces.get(space_id)
        return space.space_type if space else None

    def names_of_spaces(self, others: Iterable[str]) -> dict[str, str]:
        """The ids of the row's spaces by all names for them: listed ones, those with labels, and `others`."""
        ids = dict(self._names())
        for unit in self.units:
            assert unit.unit is not None
            keys = (key for key, _, _ in _frames(unit.unit.labels, None) if key is not None)
            ids |= {key: ids.get(key, key) for key in keys}
        ids |= {name: ids.get(name, name) for name in others}
        return ids | {space_id: space_id for space_id in self._spaces}

    def labels(self) -> Iterator[tuple[Place, int | None, FrameLabels]]:
        """All labels that stand on frames or in flat lists: units by sequence, frames by number, then spaces.

        Keys that are no frame numbers (``stream#frame`` and the like, in scenes) are spaces. The labels of a
        space may stand under several of its names, and in the space itself: an object counts once, where it
        is met first.
        """
        met: dict[str | None, list[FrameLabels]] = {}
        for unit in self.units:
            assert unit.unit is not None
            for key, frame, labels in _frames(unit.unit.labels, unit.sequence):
                if key is None:
                    yield unit, frame, labels
                    continue
                place = self.space(key)
                earlier = met.setdefault(place.space_id, [])
                yield place, frame, _without(labels, earlier)
                earlier.append(labels)
        for space_id, space in self._spaces.items():
            place, earlier = self.space(space_id), met.get(space_id, [])
            for _, frame, labels in _frames(space.labels, None):
                yield place, frame, _without(labels, earlier)

    def _unit_place(
        self, key: str, unit: DataUnit, sequence: int | None, width: int | None, height: int | None
    ) -> Place:
        url = unit.data_link if self._signed_urls else None
        wide, high = size(unit.width), size(unit.height)
        head = place_head(
            unit.data_hash or key,
            unit.data_title,
            url,
            None,
            whole(width) if wide == NULL else wide,
            whole(height) if high == NULL else high,
        )
        return Place(None, True, head, unit, sequence=sequence)

    def _names(self) -> dict[str, str]:
        """The keys under which a data unit may hold the labels of a scene's images, to the ids of spaces.

        As in the SDK: the stream and the frame at which the image starts, or its event's number.
        """
        if self._other_names is None:
            names: dict[str, str] = {}
            scenes = [(key, space.scene_info) for key, space in self._spaces.items() if space.scene_info]
            for number_of in ("start_frame", "event_index"):
                for space_id, scene in scenes:
                    number = frame_number(getattr(scene, number_of))
                    if number is not None:
                        names.setdefault(f"{scene.stream_id or ''}#{number}", space_id)
            # Without a stream, where no stream is unnamed: the only image of that event.
            events = Counter(frame_number(scene.event_index) for _, scene in scenes)
            for space_id, scene in scenes:
                number = frame_number(scene.event_index)
                if number is not None and events[number] == 1:
                    names.setdefault(f"#{number}", space_id)
            self._other_names = names
        return self._other_names


def _without(labels: FrameLabels, earlier: list[FrameLabels]) -> FrameLabels:
    """`labels` without the objects that `earlier` ones of the same space have."""
    if not earlier or not labels.objects:
        return labels
    hashes = {_decode_hash(raw).object_hash for one in earlier for raw in one.objects or ()} - {None}
    objects = [raw for raw in labels.objects if _decode_hash(raw).object_hash not in hashes]
    return FrameLabels(objects, labels.classifications)


def _check_empty(labels: list[msgspec.Raw] | None, where: str) -> None:
    if labels:
        raise msgspec.ValidationError(f"Expected `object`, got `array` - at `{where}`")


def place_head(
    unit_hash: str | None,
    file_name: str | None,
    data_url: str | None,
    space_id: str | None,
    width: JSON = NULL,
    height: JSON = NULL,
) -> bytes:
    """The keys that all records of a place share, ``unit_hash`` to ``height``, and the key ``frame``."""
    fields = {"unit_hash": unit_hash, "file_name": file_name, "data_url": data_url, "space_id": space_id}
    return b'%b,"width":%b,"height":%b,"frame":' % (_encode(fields)[1:-1], width, height)


def frame_number(value: int | float | str | None) -> int | None:
    """A frame's number, from a key or a `data_sequence`; None where it is none."""
    if isinstance(value, str):
        digits = value.isascii() and value.isdecimal() and len(value) <= _LONGEST_NUMBER
        value = int(value) if digits else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if value is None or -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER else None


def _frames(labels: Labels, flat_frame: int | None) -> Iterator[tuple[str | None, int | None, FrameLabels]]:
    """The labels of a unit or space: flat ones, those by frame number, those by another key (given).

    Raises:
        msgspec.ValidationError: they stand in a list, which says of none what it is and where.
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
                continue  # not labels of a space, but something that the row says beside its labels
            numbered.append((number is None, number or 0, key, value))
        elif isinstance(value, list) and key not in _FLAT and frame_number(key) is not None:
            _check_empty(value, f"labels.{key}")
    numbered.sort(key=lambda item: item[:2])
    for is_key, number, key, value in numbered:
        yield (key, None, value) if is_key else (None, number, value)
