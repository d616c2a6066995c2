"""Writes a PNG of ids for each image: of classes (semantic) or of objects (instance).

| file | |
|---|---|
| ``masks/[SPLIT/]NAME.png`` | NAME: of the image in COCO data sets, without its ending; 0 is the background |
| ``classes.json`` | the classes: id from 1, name, colour, feature hashes |
| ``instances.ndjson`` | with ``--task instance``: the object that each id of each file is |
"""

from typing import BinaryIO, NamedTuple

import msgspec

from harvester.dataset_options import ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.classed_objects import ClassedObject, ClassedObjects
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.geometry import LONGEST_SIDE, NoGeometry
from harvester.datasets.image_sets import IMAGE_OPTIONS, ImagePlace, NoPicture, leave_out, write_images
from harvester.datasets.painting import MOST_IDS, Painting, pixels_of
from harvester.datasets.pictures import Picture
from harvester.datasets.written import Output
from harvester.errors import BadInput
from harvester.live_rows import LiveRow
from harvester.schema import Kind
from harvester.splitting.division import division_of

TASKS = ("semantic", "instance")


class Masks:
    """The format masks."""

    version = 1
    kinds: tuple[Kind, ...] = ("objects", "units")
    required: tuple[Kind, ...] = ("objects", "units")
    options = IMAGE_OPTIONS | {"task", "boxes"}

    def check(self, export: FinishedExport, options: ConvertOptions) -> None:
        """Check task, splits and classes. Raises BadInput."""
        if options.task not in (None, *TASKS):
            raise BadInput(f"--to masks has the tasks {' and '.join(TASKS)}, not {options.task!r}")
        division_of(options)
        classes = ClassedObjects(export.ontology(), options.classes).classes
        if len(classes) > MOST_IDS:
            raise BadInput(f"masks have room for {MOST_IDS:,} classes, not for {len(classes):,}")

    def write(
        self, choice: Choice, export: FinishedExport, options: ConvertOptions, output: Output, counts: Counts
    ) -> None:
        """Write the data set, see `harvester.datasets.formats.DatasetFormat`."""
        objects = ClassedObjects(export.ontology(), options.classes)
        table = [
            {
                "id": number,
                "name": one.name,
                "color": one.color,
                "feature_hashes": [each.feature_hash for each in one.made_of],
            }
            for number, one in enumerate(objects.classes, 1)
        ]
        output.put("classes.json", msgspec.json.format(msgspec.json.encode(table)) + b"\n")
        painter = _Painter(objects, options, output, counts)
        if options.task != "instance":
            write_images(painter, self.kinds, choice, export, options, counts)
            return
        with output.create("instances.ndjson") as instances:
            painter.instances = instances
            write_images(painter, self.kinds, choice, export, options, counts)


class Instance(msgspec.Struct, frozen=True):
    """A line of ``instances.ndjson``: the object that has an id in a file."""

    file: str
    id: int
    class_id: int
    class_name: str
    label_hash: str | None
    object_hash: str
    frame: int | None


class _Painted(NamedTuple):
    painting: Painting
    drawn: list[ClassedObject]

    @property
    def objects(self) -> int:
        return len(self.drawn)


class _Painter:
    """Makes a mask of each image."""

    def __init__(
        self, objects: ClassedObjects, options: ConvertOptions, output: Output, counts: Counts
    ) -> None:
        self._objects = objects
        self._boxes = options.boxes
        self._by_class = options.task != "instance"
        self._output = output
        self._counts = counts
        self.instances: BinaryIO | None = None  # where the objects of each file are listed

    def begin(self, row: LiveRow | None) -> None:
        """Nothing of a row is needed but its images."""

    def make(self, picture: Picture) -> _Painted:
        """Paint the objects of an image, in record order. Raises NoPicture."""
        if not (picture.width and picture.height):
            raise NoPicture("no_size")
        if max(picture.width, picture.height) > LONGEST_SIDE:
            raise NoPicture("out_of_range")
        largest = len(self._objects.classes) if self._by_class else len(picture.objects)
        made = _Painted(Painting(picture.width, picture.height, largest), [])
        for one in self._objects.of(picture, self._counts):
            reason = self._paint(one, made, picture.width, picture.height)
            if reason:
                leave_out(self._counts, one.sent.shape, reason)
            else:
                made.drawn.append(one)
                self._counts.write("objects")
                self._counts.tally("shapes", one.sent.shape or "unknown", "painted")
        return made

    def _paint(self, one: ClassedObject, made: _Painted, width: int, height: int) -> str | None:
        """Paint an object. Return why it cannot be painted, or None."""
        number = one.position + 1 if self._by_class else len(made.drawn) + 1
        if number > MOST_IDS:
            return "too_many"
        try:
            spans = pixels_of(one.figure, width, height, boxes=self._boxes)
        except NoGeometry as error:
            return error.reason
        if spans is None:
            return "other_shape"
        if not spans.area:
            return "no_pixels"
        if covered := made.painting.paint(spans, number):
            self._counts.remark("objects_over_others")
            self._counts.remark("pixels_painted_over", covered)
        return None

    def put(self, made: _Painted, picture: Picture, place: ImagePlace) -> None:
        """Write a mask, and the list of its objects."""
        name = place.path("masks", picture.name.removesuffix(picture.ending) + ".png")
        self._output.put(name, made.painting.png())
        if self.instances is None:
            return
        for number, one in enumerate(made.drawn, 1):
            line = Instance(
                file=name,
                id=number,
                class_id=one.position + 1,
                class_name=self._objects.classes[one.position].name,
                label_hash=picture.unit.label_hash or None,
                object_hash=one.sent.object_hash,
                frame=picture.frame,
            )
            self.instances.write(msgspec.json.encode(line) + b"\n")
