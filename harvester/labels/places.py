"""Places: the data units and spaces that labels stand in, and the walk over all of them."""

from collections.abc import Iterator

import msgspec

from harvester.labels.dynamic import ANYWHERE
from harvester.labels.records import place_head
from harvester.labels.wire import DataUnit, FrameLabels, LabelRow, Labels

# Data whose labels stand on frames; and data whose objects stand on ranges and live in `object_answers`.
FRAME_TYPES = frozenset(
    {"image", "img_group", "video", "dicom", "dicom_study", "nifti", "pdf", "scene", "group"}
)
RANGE_TYPES = frozenset({"audio", "time_series", "plain_text"})
RANGE_SPACES = frozenset({"audio", "time_series", "text", "html"})
# The id of the space that stands for the row itself in layered images and time series.
ROOT_SPACE = "root"
# Frame numbers, and nanoseconds since an epoch: 19 digits. Longer keys are no numbers of ours.
_LONGEST_NUMBER = 19


class Place(msgspec.Struct, frozen=True):
    """Where labels stand: a data unit, or a space.

    `head` is its part of a line. `scope` names the space whose dynamic answers hold here.
    """

    space_id: str | None
    scope: str | None
    head: bytes


class Places:
    """The places of one row."""

    def __init__(self, row: LabelRow, *, signed_urls: bool) -> None:
        self._signed_urls = signed_urls
        self._spaces = {key: space for key, space in (row.spaces or {}).items() if space is not None}
        self._seen: dict[str, Place] = {}
        units = [
            (frame_number(unit.data_sequence), key, unit) for key, unit in (row.data_units or {}).items()
        ]
        if len(units) > 1:
            units.sort(key=lambda item: (item[0] is None, item[0] or 0))
        self._units = [(frame, unit, self._unit_place(key, unit)) for frame, key, unit in units]
        self._only = (units[0][1], units[0][2]) if len(units) == 1 else None
        self.by_frame = {frame: place for frame, _, place in reversed(self._units)} if len(units) > 1 else {}

    @property
    def root(self) -> Place:
        """The row itself: its only data unit, or no one unit; the space `root` where the row has one."""
        if ROOT_SPACE in self._spaces:
            return self.space(ROOT_SPACE)
        return self._units[0][2] if self._only else Place(None, None, place_head(None, None, None, None))

    def space(self, space_id: str) -> Place:
        """A space, with the file that it shows; of the row's only data unit where it names none."""
        if (place := self._seen.get(space_id)) is not None:
            return place
        space = self._spaces.get(space_id)
        file = (space.child_info or space.root_info) if space else None
        key, unit = self._only or (None, DataUnit())
        head = place_head(
            unit.data_hash or key,
            (file and file.file_name) or unit.data_title,
            ((file and file.data_link) or unit.data_link) if self._signed_urls else None,
            space_id,
        )
        place = self._seen[space_id] = Place(space_id, space_id if space else ANYWHERE, head)
        return place

    def has_space(self, space_id: str) -> bool:
        """Whether the row lists this space."""
        return space_id in self._spaces

    def space_type(self, space_id: str) -> str | None:
        """The type of a space; None where the row does not say."""
        space = self._spaces.get(space_id)
        return space.space_type if space else None

    def labels(self) -> Iterator[tuple[Place, int | None, FrameLabels]]:
        """All labels that stand on frames or in flat lists: units by sequence, frames by number, then spaces.

        Keys that are no frame numbers (``stream#frame`` and the like, in scenes) are spaces.
        """
        for sequence, unit, place in self._units:
            for key, frame, labels in _frames(unit.labels, sequence):
                yield (self.space(key) if key is not None else place), frame, labels
        for space_id, space in self._spaces.items():
            place = self.space(space_id)
            for _, frame, labels in _frames(space.labels, None):
                yield place, frame, labels

    def _unit_place(self, key: str, unit: DataUnit) -> Place:
        url = unit.data_link if self._signed_urls else None
        return Place(None, None, place_head(unit.data_hash or key, unit.data_title, url, None))


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
