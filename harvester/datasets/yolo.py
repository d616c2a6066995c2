"""Writes data sets as Ultralytics reads them: a text file of labels for each image, and ``data.yaml``.

| file | |
|---|---|
| ``labels/[SPLIT/]NAME.txt`` | a line for each object, see `harvester.datasets.yolo_labels` |
| ``images/[SPLIT/]NAME.EXT`` | with ``--media``: the image |
| ``data.yaml`` | where the splits are, and the names of the classes |
| ``SPLIT/CLASS/NAME.EXT`` | instead of all these with ``--task classify``, see `yolo_classify` |

Ultralytics finds the labels of an image by replacing ``/images/`` in its path, so names have no folders: they
are those of the COCO conversion without their first folder, with ``_`` for ``/``.
"""

from typing import NamedTuple

import msgspec

from harvester.dataset_options import ConvertOptions
from harvester.datasets import yolo_labels
from harvester.datasets.choosing import Choice
from harvester.datasets.classed_objects import ClassedObject, ClassedObjects
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.image_sets import IMAGE_OPTIONS, ImagePlace, NoPicture, leave_out, write_images
from harvester.datasets.media_files import ImageFile, MediaFiles, check_media, given_media, media_files
from harvester.datasets.pictures import Picture
from harvester.datasets.written import Output
from harvester.datasets.yolo_classify import Classifier, question
from harvester.datasets.yolo_labels import NoLabel, YoloShape
from harvester.datasets.yolo_yaml import NOT_SPLITS, data_yaml, most_joints
from harvester.errors import BadInput
from harvester.live_rows import LiveRow
from harvester.schema import Kind
from harvester.splitting.division import division_of

TASKS = ("detect", "segment", "pose", "obb", "classify")
_NEEDED = ("train", "val")  # splits without which Ultralytics refuses a data set


class Yolo:
    """The format YOLO."""

    version = 1
    kinds: tuple[Kind, ...] = ("objects", "units")
    required: tuple[Kind, ...] = ("units",)  # and the first of `kinds`, by task
    options = IMAGE_OPTIONS | {"task", "boxes", "media", "classification"}

    def check(self, export: FinishedExport, options: ConvertOptions) -> None:
        """Check task, splits, classes and media. Raises BadInput."""
        task = options.task or "detect"
        if task not in TASKS:
            raise BadInput(f"--to yolo has the tasks {', '.join(TASKS)}, not {task!r}")
        splits = division_of(options).names
        missing = [name for name in _NEEDED if splits and name not in splits]
        if missing:
            raise BadInput(f"--to yolo needs the splits train and val: {' and '.join(missing)} is not named")
        if wrong := NOT_SPLITS & set(splits):
            raise BadInput(f"{min(wrong)!r} means something else in data.yaml: call the split otherwise")
        if options.boxes and task != "segment":
            raise BadInput("--boxes is for --task segment: the other tasks have boxes or take none")
        if task == "classify":
            self.kinds = ("classifications", "units")
        if self.kinds[0] not in export.kinds:
            raise BadInput(f"--task {task} needs {self.kinds[0]}, which {export.name} does not have")
        check_media(options.media)
        if task == "classify":
            if options.no_empty or options.every_frame:
                flag = "--no-empty" if options.no_empty else "--every-frame"
                raise BadInput(f"{flag} is about objects, and --task classify has none")
            if options.media is None:
                raise BadInput("--task classify needs --media: its labels are the folders of the images")
            question(export.ontology(), options.classification, options.classes)
            return
        if options.classification is not None:
            raise BadInput("--classification is for --task classify")
        objects = ClassedObjects(export.ontology(), options.classes)
        if task == "pose" and not most_joints(objects.classes):
            raise BadInput(f"--task pose needs a skeleton, and the ontology of {export.name} has none")

    def write(
        self, choice: Choice, export: FinishedExport, options: ConvertOptions, output: Output, counts: Counts
    ) -> None:
        """Write the data set, see `harvester.datasets.formats.DatasetFormat`."""
        if options.task == "classify":
            self._classify(choice, export, options, output, counts)
            return
        objects = ClassedObjects(export.ontology(), options.classes)
        with given_media(options.media) as media:
            labeller = _Labeller(objects, options, media, output, counts)
            division = write_images(labeller, self.kinds, choice, export, options, counts)
            if media is not None:
                media.check_found()
        for folder in sorted(labeller.folders | {""}):
            text = data_yaml(objects.classes, division.names, pose=options.task == "pose")
            output.put(f"{folder}data.yaml", text.encode())

    def _classify(
        self, choice: Choice, export: FinishedExport, options: ConvertOptions, output: Output, counts: Counts
    ) -> None:
        asked = question(export.ontology(), options.classification, options.classes)
        splits = division_of(options).names
        # Any frame may have an answer, and what has none is left out.
        options = msgspec.structs.replace(options, every_frame=True, no_empty=False)
        assert options.media is not None  # `check` has seen to it
        with media_files(options.media) as media:
            classifier = Classifier(asked, media, splits, output, counts)
            write_images(classifier, self.kinds, choice, export, options, counts)
            classifier.finish()
            media.check_found()


class _Labelled(NamedTuple):
    lines: list[str]
    image: ImageFile | None

    @property
    def objects(self) -> int:
        return len(self.lines)


class _Labeller:
    """Makes the lines of each image. `folders` are those of the branches that were written."""

    def __init__(
        self,
        objects: ClassedObjects,
        options: ConvertOptions,
        media: MediaFiles | None,
        output: Output,
        counts: Counts,
    ) -> None:
        self._objects = objects
        self._media = media
        self._output = output
        self._counts = counts
        self._task = options.task or "detect"
        self._boxes = options.boxes
        self._joints = most_joints(objects.classes)
        self.folders: set[str] = set()

    def begin(self, row: LiveRow | None) -> None:
        """Nothing of a row is needed but its images."""

    def make(self, picture: Picture) -> _Labelled:
        """Return the lines of an image. Raises NoPicture if its size is not known, or its file not there."""
        width, height = picture.width, picture.height
        if not (width and height):
            raise NoPicture("no_size")
        image = None
        if self._media is not None:
            image = self._media.of(picture)
            if image is None:
                raise NoPicture("no_media")
        lines = []
        for one in self._objects.of(picture, self._counts):
            try:
                shape = self._shape(one, width, height)
            except (NoLabel, NoGeometry) as error:
                leave_out(self._counts, one.sent.shape, error.reason)
                continue
            lines.append(yolo_labels.line(one.position, shape))
            self._count(one, shape)
        return _Labelled(lines, image)

    def _shape(self, one: ClassedObject, width: int, height: int) -> YoloShape:
        """Return what stands on an object's line. Raises NoLabel and NoGeometry."""
        if self._task == "segment":
            return yolo_labels.segment(one.figure, width, height, boxes=self._boxes)
        if self._task == "obb":
            return yolo_labels.obb(one.figure, width, height)
        if self._task == "pose":
            template = self._objects.classes[one.position].skeleton
            return yolo_labels.pose(one.figure, width, height, template=template, joints=self._joints)
        return yolo_labels.detect(one.figure, width, height)

    def _count(self, one: ClassedObject, shape: YoloShape) -> None:
        self._counts.write("objects")
        self._counts.tally("shapes", one.sent.shape or "unknown", self._task)
        if shape.clipped:
            self._counts.remark("clipped")
        if shape.joined > 1:
            self._counts.remark("parts_and_holes_joined")
        if shape.joints_left_out:
            self._counts.remark("joint_left_out", shape.joints_left_out)

    def put(self, made: _Labelled, picture: Picture, place: ImagePlace) -> None:
        """Write the labels of an image, and the image."""
        stem = picture.name.partition("/")[2].removesuffix(picture.ending).replace("/", "_")
        self._output.put(
            place.path("labels", f"{stem}.txt"), "".join(f"{line}\n" for line in made.lines).encode()
        )
        self.folders.add(place.folder)
        if self._media is not None and made.image is not None:
            ending = made.image.ending or picture.ending
            self._media.place(made.image, self._output, place.path("images", stem + ending))
