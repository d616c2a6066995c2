"""The images of a label row: which there are, their names in a data set, and the objects on them.

Names are those of the platform's own COCO exporter in the SDK: ``images/<hash>.<ext>``,
``videos/<hash>/<frame>.jpg``, ``dicom/<hash>/<instance uid>``, ``nifti/<hash>/<frame>``. An image of a space
is called after its unit and a hash of the space's id.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from harvester.datasets.figures import read_geometry
from harvester.datasets.geometry import NoGeometry, Reason
from harvester.datasets.sent_shapes import SentGeometry
from harvester.errors import Unsound
from harvester.schema import SliceItem

# Endings of file names that say that a file is an image. Others are no endings, but part of the title.
_ENDINGS = frozenset(
    ("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp")
)
_HASH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_UID = re.compile(r"[0-9][0-9.]{0,63}")  # DICOM PS3.5, section 9.1

Medium = Literal["image", "video", "dicom", "nifti"]


class LabelledUnit(msgspec.Struct, gc=False):
    """A line of a unit: the data unit or space that labels are on."""

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    dataset_hash: str | None
    data_title: str | None
    data_type: str | None
    unit_hash: str | None
    file_name: str | None
    width: int | None
    height: int | None
    data_url: str | None = None
    space_id: str | None = None
    mime_type: str | None = None
    fps: float | None = None
    sequence: int | None = None
    number_of_frames: int | None = None
    slices: list[SliceItem] | None = None

    @property
    def medium(self) -> Medium | None:
        """What kind of images it shows, None if none."""
        mime, kind = self.mime_type or "", self.data_type or ""
        if self.space_id is not None:
            return self._medium_of_space
        if mime.startswith("image/") or (not mime and kind in ("image", "img_group")):
            return "image"
        if mime.startswith("video/") or (not mime and kind == "video"):
            return "video"
        if "dicom" in mime or (not mime and kind == "dicom"):
            return "dicom"
        return "nifti" if "nifti" in mime or (not mime and kind == "nifti") else None

    @property
    def _medium_of_space(self) -> Medium | None:
        """As `medium`: spaces have no mime type, and only what is flat has a width, of its own or of slices.

        Slices of a sequence of images have data hashes, which those of a stack do not have. A file of many
        frames that are shown for no time is one of NIfTI or DICOM.
        """
        if self.slices:
            return "video" if any(one["data_hash"] for one in self.slices) else "dicom"
        if not self.width:
            return None
        if self.data_type == "scene" or (self.number_of_frames or 1) == 1:
            return "image"
        if self.fps:
            return "video"
        return "nifti" if ".nii" in (self.file_name or "").lower() else "dicom"


class PlacedObject(msgspec.Struct, gc=False):
    """The line of an object on an image, from `object` on. `unreadable` says why, if its geometry is.

    `object` is what the server sent.
    """

    object: SentGeometry
    object_hash: str
    feature_hash: str | None
    name: str | None
    shape: str | None
    object_number: int | None
    attributes: msgspec.Raw
    dynamic_attributes: msgspec.Raw
    unreadable: Reason | None = None

    def geometry(self) -> SentGeometry:
        """Return the geometry as sent. Raises NoGeometry if its form is not known."""
        if self.unreadable is not None:
            raise NoGeometry(self.unreadable)
        return self.object


class _Place(msgspec.Struct, gc=False):
    """The head of a line: what its object is on."""

    unit_hash: str | None
    space_id: str | None
    frame: int | None


class _RawObject(msgspec.Struct, gc=False):
    """The line of an object from `object` on, whatever was sent."""

    object: msgspec.Raw
    object_hash: str
    feature_hash: str | None
    name: str | None
    shape: str | None
    object_number: int | None
    attributes: msgspec.Raw
    dynamic_attributes: msgspec.Raw


class Picture(msgspec.Struct):
    """An image, with its objects in record order.

    `name` is its path in the data set, `ending` that of the name, with its dot, "" if it has none. `frame` is
    the frame or slice, None for what is a single image. `width` and `height` are in pixels.
    """

    name: str
    ending: str
    unit: LabelledUnit
    frame: int | None
    width: int | None
    height: int | None
    objects: list[PlacedObject]


class _Listed(msgspec.Struct, gc=False):
    """The fields of a line of the listing that are read."""

    branch_name: str | None
    data_hash: str
    dataset_hash: str | None
    data_title: str | None
    data_type: str | None
    width: int | None
    height: int | None
    outcome: str


class Pictures:
    """The images of one label row, in the order of its records.

    Once all images have been taken, `no_image` counts objects that are on no image, by shape, and `shown`
    are the positions in `units` of those of which there is an image.
    """

    def __init__(
        self, units: Iterable[LabelledUnit], objects: Iterable[bytes], *, every_frame: bool = False
    ) -> None:
        """Read a label row.

        Args:
            units: its units, see `read_unit`.
            objects: the lines of its objects, in record order. They are read as images are taken.
            every_frame: whether frames and slices without objects are images, too.
        """
        self.units = list(units)
        self.no_image: Counter[str | None] = Counter()
        self.shown: set[int] = set()
        self._objects = objects
        self._every_frame = every_frame
        self._position = {(unit.unit_hash, unit.space_id): at for at, unit in enumerate(self.units)}
        self._next = (0, 0)  # position of the unit, and frame, of the next image without objects
        self._slices: dict[int, tuple[dict[int, SliceItem], Counter[str | None]]] = {}

    def __iter__(self) -> Iterator[Picture]:
        """Yield the images. The objects of one are in memory, those of others are not."""
        for place, objects in self._by_place():
            at, frame = self._position.get((place.unit_hash, place.space_id), -1), place.frame
            medium = self.units[at].medium if at >= 0 else None
            if medium is None or (frame is None and medium != "image"):
                self.no_image.update(one.shape for one in objects)
                continue
            number = 0 if medium == "image" or frame is None else frame
            yield from self._empty((at, number))
            self._next = max(self._next, (at, number + 1))
            yield self._picture(at, number, objects)
        yield from self._empty((len(self.units), 0))

    def _by_place(self) -> Iterator[tuple[_Place, list[PlacedObject]]]:
        """Yield the objects of each place. They stand together, and their lines begin alike."""
        place, head, start = _NOWHERE, _NO_HEAD, 0
        objects: list[PlacedObject] = []
        for line in self._objects:
            if not line.startswith(head):
                head, start, found = _read_head(line)
                if found != place:
                    if objects:
                        yield place, objects
                    place, objects = found, []
            tail = b"{" + line[start:]
            try:
                objects.append(_decode_object(tail))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                objects.append(_read_odd(tail))
        if objects:
            yield place, objects

    def _empty(self, end: tuple[int, int]) -> Iterator[Picture]:
        """Yield the images without objects from `_next` to before `end`: position of a unit, frame."""
        while self._next < end:
            at, frame = self._next
            if frame < self._frames(self.units[at]):
                self._next = (at, frame + 1)
                yield self._picture(at, frame, [])
            else:
                self._next = (at + 1, 0)

    def _frames(self, unit: LabelledUnit) -> int:
        """Return how many images there are of a unit, with or without objects."""
        if unit.medium == "image":
            return 1
        return (unit.number_of_frames or 0) if unit.medium and self._every_frame else 0

    def _picture(self, at: int, frame: int, objects: list[PlacedObject]) -> Picture:
        self.shown.add(at)
        unit = self.units[at]
        if unit.medium == "image":
            ending = "." + _ending(unit.file_name or unit.data_title, unit.mime_type)
            name = f"images/{_unit_name(unit)}{ending}"
            return Picture(name, ending, unit, None, unit.width, unit.height, objects)
        name = _unit_name(unit)
        if unit.medium == "video":
            return Picture(
                f"videos/{name}/{frame}.jpg", ".jpg", unit, frame, unit.width, unit.height, objects
            )
        width, height, slice_name = self._slice(at, frame)
        return Picture(f"{unit.medium}/{name}/{slice_name}", "", unit, frame, width, height, objects)

    def _slice(self, at: int, frame: int) -> tuple[int | None, int | None, str]:
        """Return width, height and name of a slice."""
        unit = self.units[at]
        if at not in self._slices:
            by_frame = {one["frame"]: one for one in unit.slices or ()}
            uids = Counter(one["instance_uid"] for one in by_frame.values())
            self._slices = {at: (by_frame, uids)}
        by_frame, uids = self._slices[at]
        one = by_frame.get(frame)
        if one is None:
            return unit.width, unit.height, str(frame)
        uid, name = one["instance_uid"], str(frame)
        if uid is not None and _UID.fullmatch(uid):  # of several frames in one file: the file, then the frame
            name = uid if uids[uid] == 1 else f"{uid}/{frame}"
        return one["width"] or unit.width, one["height"] or unit.height, name


def listed_picture(line: bytes) -> Picture | None:
    """Return the image of a row of the listing that has no labels, None if it has labels or is no image."""
    try:
        row = _decode_listed(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unsound(f"the listing is damaged: {error}; see harvester verify") from error
    if row.outcome != "unlabelled" or (row.data_type or "").lower() != "image":
        return None
    unit = LabelledUnit(
        label_hash="",
        branch_name=row.branch_name,
        data_hash=row.data_hash,
        dataset_hash=row.dataset_hash,
        data_title=row.data_title,
        data_type="image",
        unit_hash=row.data_hash,
        file_name=row.data_title,
        width=row.width,
        height=row.height,
    )
    return next(iter(Pictures([unit], ())))


def _unit_name(unit: LabelledUnit) -> str:
    """Return the hash of a unit, and of its space, as it may stand in a path."""
    name = unit.unit_hash or unit.data_hash
    if not _HASH.fullmatch(name):
        name = _hashed(name)
    return name if unit.space_id is None else f"{name}-{_hashed(unit.space_id)}"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ending(title: str | None, mime_type: str | None) -> str:
    """Return the ending of an image's title if it has one, else one that follows from its mime type."""
    ending = (title or "").rpartition(".")[2]
    if ending.lower() in _ENDINGS:
        return ending
    subtype = (mime_type or "").removeprefix("image/")
    return subtype if subtype in _ENDINGS and subtype != "jpeg" else "jpg"


def read_unit(line: bytes) -> LabelledUnit:
    """Read the line of a unit. Raises Unsound if it is damaged."""
    try:
        return _decode_unit(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unsound(f"a line of a unit is damaged: {error}; see harvester verify") from error


def _read_head(line: bytes) -> tuple[bytes, int, _Place]:
    """Return what the line of an object begins with, where `object` stands in it, and what it is on.

    Raises Unsound if it is damaged.
    """
    cut = line.find(_OBJECT_KEY)
    try:
        if cut < 0:  # not as we write it: each line is read as a whole
            return _NO_HEAD, 1, _decode_place(line)
        return line[: cut + 1], cut + 1, _decode_place(line[:cut] + b"}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unsound(f"a line of an object is damaged: {error}; see harvester verify") from error


def _read_odd(tail: bytes) -> PlacedObject:
    """Read what is no object with a geometry of a known form."""
    try:
        raw = _decode_raw(tail)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_no_json(tail)
    try:
        sent, unreadable = read_geometry(raw.object), None
    except NoGeometry as error:
        sent, unreadable = SentGeometry(), error.reason
    return PlacedObject(
        sent, raw.object_hash, raw.feature_hash, raw.name, raw.shape, raw.object_number, raw.attributes,
        raw.dynamic_attributes, unreadable,
    )  # fmt: skip


def _read_no_json(tail: bytes) -> PlacedObject:
    """Read what Python takes for JSON and the standard does not: NaN, Infinity, half of a surrogate pair.

    Raises Unsound if it is damaged.
    """
    nothing = msgspec.Raw(b"[]")
    try:
        found = json.loads(tail)
        return PlacedObject(
            SentGeometry(), found["object_hash"], found["feature_hash"], found["name"], found["shape"],
            found["object_number"], nothing, nothing, "malformed",
        )  # fmt: skip
    except (ValueError, KeyError, RecursionError) as error:
        raise Unsound(f"a line of an object is damaged: {error}; see harvester verify") from error


# No string of JSON holds this: a quotation mark in a string has a backslash before it.
_OBJECT_KEY = b',"object":'
_NO_HEAD = b"no line begins like this"
_NOWHERE = _Place(None, None, None)
_decode_place = msgspec.json.Decoder(_Place).decode
_decode_raw = msgspec.json.Decoder(_RawObject).decode
_decode_unit = msgspec.json.Decoder(LabelledUnit).decode
_decode_object = msgspec.json.Decoder(PlacedObject).decode
_decode_listed = msgspec.json.Decoder(_Listed).decode
