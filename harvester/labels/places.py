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
# Spaces that hold one picture, and no frames.
IMAGE_SPACES = frozenset({"image", "scene_image"})
# The id of the space that stands for the row itself in layered images and time series.
ROOT_SPACE = "root"
# Frame numbers, and nanoseconds since an epoch: 19 digits. Longer keys are no numbers of ours.
_LONGEST_NUMBER = 19

_encode = msgspec.json.encode


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
    """The places of one row.

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
        if len(units) > 1:
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

    @property
    def space_ids(self) -> Iterable[str]:
        """The ids of the spaces that the row lists."""
        return self._spaces

    def labels(self) -> Iterator[tuple[Place, int | None, FrameLabels]]:
        """All labels that stand on frames or in flat lists: units by sequence, frames by number, then spaces.

        Keys that are no frame numbers (``stream#frame`` and the like, in scenes) are spaces. As in the SDK,
        labels that a data unit holds for a space stand in place of the space's own.
        """
        held_by_unit: list[str | None] = []
        for unit in self.units:
            assert unit.unit is not None
            for key, frame, labels in _frames(unit.unit.labels, unit.sequence):
                if key is None:
                    yield unit, frame, labels
                    continue
                place = self.space(key)
                if labels.objects or labels.classifications:
                    held_by_unit.append(place.space_id)
                yield place, frame, labels
        if not self._spaces:
            return
        elsewhere = set(held_by_unit)
        for space_id, space in self._spaces.items():
            if space_id not in elsewhere:
                place = self.space(space_id)
                for _, frame, labels in _frames(space.labels, None):
                    yield place, frame, labels

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
        return int(value) if digits else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value


def _frames(labels: Labels, flat_frame: int | None) -> Iterator[tuple[str | None, int | None, FrameLabels]]:
    """The labels of a unit or space: flat ones, those by frame number, those by another key (given)."""
    if not isinstance(labels, dict):
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
            numbered.append((number is None, number or 0, key, value))
    numbered.sort(key=lambda item: item[:2])
    for is_key, number, key, value in numbered:
        yield (key, None, value) if is_key else (None, number, value)
