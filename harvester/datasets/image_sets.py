"""Writes data sets of images: COCO, YOLO and masks.

A format says what becomes of an image, and where that goes. Which images there are, in which split and on
which branch, and that each record is counted, is the same for all of them.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from sqlite3 import Connection
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from harvester.dataset_options import LEFT_OUT, ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.pictures import Picture, Pictures, listed_picture, read_unit
from harvester.labels.wire import PlanRow
from harvester.live_rows import LiveRow
from harvester.plan.sorting import SMALL_PAGE, scratch
from harvester.schema import Kind
from harvester.splitting.division import Division, division_of

# The options that all data sets of images take.
IMAGE_OPTIONS = frozenset(
    ("split", "split_by", "split_seed", "include_unlabelled", "no_empty", "classes", "every_frame")
)

_MAIN = "main"
_PLAIN = re.compile(r"[a-z0-9_-]{1,64}")


class NoPicture(Exception):
    """An image is left out of a data set, with its objects. `reason` is a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ImagePlace(NamedTuple):
    """Where an image goes: its split, None without splits, and its branch's folder, see `branch_folder`."""

    split: str | None
    folder: str

    def path(self, kind: str, name: str) -> str:
        """Return the path of a file of this kind, such as ``labels``."""
        return f"{self.folder}{kind}/{self.split + '/' if self.split else ''}{name}"


class MadePicture(Protocol):
    """What an image has become."""

    @property
    def objects(self) -> int:
        """The number of objects that are in it."""


Made = TypeVar("Made", bound=MadePicture)


class ImageFormat(Protocol[Made]):
    """A format of data sets of images."""

    def begin(self, row: LiveRow | None) -> None:
        """Take the next label row, before its images. None: rows without labels follow."""

    def make(self, picture: Picture) -> Made:
        """Return what an image becomes, and count each of its objects, unless it is left out.

        Raises NoPicture if it is left out: then its objects are counted by the caller.
        """

    def put(self, made: Made, picture: Picture, place: ImagePlace) -> None:
        """Write what `make` has returned."""


def write_images(
    format: ImageFormat[Made],
    kinds: Iterable[Kind],
    choice: Choice,
    export: FinishedExport,
    options: ConvertOptions,
    counts: Counts,
) -> Division:
    """Write all images of a data set. Return how they were divided.

    Raises:
        BadInput: a split is empty.
    """
    with scratch("images (name PRIMARY KEY) WITHOUT ROWID", page_size=SMALL_PAGE) as written:
        writer = _Writer(format, export, options, counts, written)
        for row in choice.rows(kinds):
            writer.add_row(row)
        if options.include_unlabelled:
            format.begin(None)
            for line in export.listing():
                writer.add_unlabelled(line)
        writer.finish(export.name)
    return writer.division


class _Writer:
    """Takes label rows one after the other."""

    def __init__(
        self,
        format: ImageFormat[Any],
        export: FinishedExport,
        options: ConvertOptions,
        counts: Counts,
        written: Connection,
    ) -> None:
        """`written` has the table `images` with the names of images, shortened to hashes."""
        self.division = division_of(options)
        self._format = format
        self._options = options
        self._counts = counts
        self._branches = len(export.branches)
        self._has_main = not {None, _MAIN}.isdisjoint(export.branches)
        self._written = written

    def add_row(self, row: LiveRow) -> None:
        """Write the images of a harvested row."""
        self._format.begin(row)
        units = [read_unit(line) for line in row.lines["units"]]
        pictures = Pictures(units, row.lines.get("objects", ()), every_frame=self._options.every_frame)
        folder = branch_folder(row.branch_name) if self._branches > 1 else ""
        place: ImagePlace | None = None
        left_out: dict[int, str] = {}  # why, by identity of the unit
        written: set[int] = set()
        for picture in pictures:
            try:
                made = self._made(picture, folder)
            except NoPicture as error:
                left_out[id(picture.unit)] = error.reason
                self._leave_out(Counter(one.shape for one in picture.objects), error.reason)
                continue
            if made is not None:
                place = place or self._place(row.listed, folder)
                self._put(made, picture, place)
                written.add(id(picture.unit))
        self._leave_out(pictures.no_image, "no_image")
        for unit in units:
            if place is not None and id(unit) in written:
                self._counts.write("units")
                self._tally(place, "units")
            else:
                reason = left_out.get(id(unit)) or ("no_objects" if unit.medium else "no_image")
                self._counts.leave_out("units", reason)

    def add_unlabelled(self, line: bytes) -> None:
        """Write the image of a row of the listing, if it is one without labels."""
        row = msgspec.json.decode(line, type=PlanRow)
        if row.outcome != "unlabelled":
            return
        picture = listed_picture(line)
        if picture is None:
            self._counts.remark("unlabelled_no_image")
            return
        folder = branch_folder(picture.unit.branch_name) if self._branches > 1 else ""
        try:
            made = self._made(picture, folder)
        except NoPicture as error:
            self._counts.remark(f"unlabelled_{error.reason}")
            return
        if made is not None:
            place = self._place(row, folder)
            self._put(made, picture, place)
            self._tally(place, "unlabelled")

    def finish(self, where: str) -> None:
        """Check that no split is empty. Raises BadInput."""
        self.division.check(where)
        if self.division.missing:
            self._counts.remark(f"without_{self._options.split_by}", self.division.missing)

    def _place(self, row: PlanRow, folder: str) -> ImagePlace:
        """Return where the images of a row go. If there is a main branch, its splits must not be empty."""
        return ImagePlace(self.division.of(row, fills=not (folder and self._has_main)), folder)

    def _made(self, picture: Picture, folder: str) -> Any:
        """Return what an image becomes; None if it has no objects, and is left out for that."""
        stem = picture.name.removesuffix(picture.ending)  # its labels or its mask may have another ending
        name = hashlib.blake2b(f"{folder}{stem}".encode(), digest_size=16).digest()
        if self._written.execute("SELECT 1 FROM images WHERE name = ?", (name,)).fetchone():
            raise NoPicture("image_twice")
        made = self._format.make(picture)
        if self._options.no_empty and not made.objects:
            return None
        self._written.execute("INSERT INTO images VALUES (?)", (name,))
        return made

    def _put(self, made: Any, picture: Picture, place: ImagePlace) -> None:
        self._format.put(made, picture, place)
        self._tally(place, "images")
        self._tally(place, "objects", made.objects)

    def _tally(self, place: ImagePlace, column: str, number: int = 1) -> None:
        self._counts.tally("splits", f"{place.folder}{place.split or 'all'}", column, number)

    def _leave_out(self, shapes: Counter[str | None], reason: str) -> None:
        for shape, number in shapes.items():
            leave_out(self._counts, shape, reason, number)


def leave_out(counts: Counts, shape: str | None, reason: str, number: int = 1) -> None:
    """Count objects of a shape that the data set does not hold."""
    counts.leave_out("objects", reason, number)
    counts.tally("shapes", shape or "unknown", LEFT_OUT + reason, number)


def branch_folder(branch: str | None) -> str:
    """Return the folder of a branch, with a slash: "" for the main one, whose data set is that of the root.

    A branch that is no plain name, or like another one on a disk that ignores case, gets a hash in its name.
    """
    if branch is None or branch == _MAIN:
        return ""
    if _PLAIN.fullmatch(branch):
        return f"branches/{branch}/"
    plain = re.sub(r"[^a-z0-9_-]+", "_", branch.lower())[:40]
    return f"branches/{plain}-{hashlib.sha256(branch.encode()).hexdigest()[:8]}/"
