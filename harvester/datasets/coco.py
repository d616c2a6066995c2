"""Writes COCO data sets. Conventions, and where they differ from the SDK's exporter: docs/datasets.md."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from sqlite3 import Connection

import msgspec

from harvester.dataset_options import ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.coco_annotations import Annotator, CocoAnnotation
from harvester.datasets.coco_attributes import AttributeKeys
from harvester.datasets.coco_categories import Categories
from harvester.datasets.coco_files import CocoFile, CocoFiles, coco_files, file_name
from harvester.datasets.counts import Counts
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.image_sets import (
    IMAGE_OPTIONS,
    ImagePlace,
    NoPicture,
    branch_folder,
    write_images,
)
from harvester.datasets.media_files import ImageFile, MediaFiles, check_media, given_media
from harvester.datasets.ontology_classes import ontology_classes
from harvester.datasets.pictures import Picture
from harvester.datasets.written import Output
from harvester.errors import BadInput
from harvester.live_rows import LiveRow
from harvester.plan.sorting import scratch
from harvester.schema import Kind
from harvester.splitting.division import division_of

_encode = msgspec.json.Encoder().encode


class CocoImage(msgspec.Struct, omit_defaults=True, gc=False):
    """An image as it stands in the file. Frames of a video name the video and their place in it."""

    id: int
    file_name: str
    width: int
    height: int
    data_hash: str
    label_hash: str | None
    title: str | None
    video_id: int | None = None
    frame_index: int | None = None
    frame_id: int | None = None


class CocoVideo(msgspec.Struct, gc=False):
    """A video as it stands in the file. `name` is the folder of its frames."""

    id: int
    name: str
    width: int
    height: int
    fps: float | None
    number_of_frames: int | None


class Coco:
    """The format COCO."""

    version = 1
    kinds: tuple[Kind, ...] = ("objects", "units")
    required: tuple[Kind, ...] = ("objects", "units")
    options = IMAGE_OPTIONS | {"media"}

    def check(self, export: FinishedExport, options: ConvertOptions) -> None:
        """Read the ontology and the classes file. Raises BadInput."""
        Categories(ontology_classes(export.ontology()), options.classes)
        check_media(options.media)
        _check_names(division_of(options).names, export)

    def write(
        self,
        choice: Choice,
        export: FinishedExport,
        options: ConvertOptions,
        output: Output,
        counts: Counts,
    ) -> None:
        """Write the data set, see `harvester.datasets.formats.DatasetFormat`."""
        ontology = export.ontology()
        categories = Categories(ontology_classes(ontology), options.classes)
        annotator = Annotator(categories, AttributeKeys(ontology), counts)
        several = len(export.branches) > 1
        with (
            coco_ids(several_branches=several) as images,
            coco_ids(several_branches=several) as videos,
            coco_files(output, export.manifest.project.title, categories.categories) as files,
            given_media(options.media) as media,
        ):
            given = None if media is None else CocoMedia(media, output, counts)
            writer = CocoWriter(annotator, images, videos, files, given)
            division = write_images(writer, self.kinds, choice, export, options, counts)
            for split in division.names or (None,):
                files.of(split, "")  # with its categories, even if it has no images
            annotator.count()
            if media is not None:
                media.check_found()


def _check_names(splits: Iterable[str], export: FinishedExport) -> None:
    """Raise BadInput if a split has the name of another one's file of a branch: `train.NAME` of `train`."""
    folders = set(map(branch_folder, export.branches))
    names = Counter(file_name(split, folder).lower() for split in splits for folder in folders)
    for name, number in names.items():
        if number > 1:
            raise BadInput(f"two splits would have the file {name}: one of them ends like a branch is called")


class CocoIds:
    """Ids of images or videos, from 1. Where there are several branches, one has the same id on all."""

    def __init__(self, table: Connection | None) -> None:
        """`table` has the columns `name` and `id`. None: there is one branch, and so each name comes once."""
        self._table = table
        self._last = 0

    def look_up(self, name: str) -> int:
        """Return the id that it has, or will have if it is written."""
        if self._table is not None:
            found = self._table.execute("SELECT id FROM ids WHERE name = ?", (name,)).fetchone()
            if found is not None:
                return int(found[0])
        return self._last + 1

    def take(self, name: str, number: int) -> bool:
        """Note that it is written with the id that was looked up. Return whether it is new."""
        if number <= self._last:
            return False
        self._last = number
        if self._table is not None:
            self._table.execute("INSERT INTO ids VALUES (?, ?)", (name, number))
        return True


@contextmanager
def coco_ids(*, several_branches: bool) -> Iterator[CocoIds]:
    """Open ids. They are kept, on disk, only where there are several branches."""
    if not several_branches:
        yield CocoIds(None)
        return
    with scratch("ids (name PRIMARY KEY, id) WITHOUT ROWID") as table:
        yield CocoIds(table)


class MadeCoco(msgspec.Struct, gc=False):
    """An image and its annotations that may be written."""

    image: CocoImage
    annotations: list[CocoAnnotation]
    file: ImageFile | None

    @property
    def objects(self) -> int:
        """The number of annotations."""
        return len(self.annotations)


class CocoMedia:
    """The files of images, which stand where file names point. What has no file is counted."""

    def __init__(self, media: MediaFiles, output: Output, counts: Counts) -> None:
        self._media = media
        self._output = output
        self._counts = counts

    def of(self, picture: Picture) -> ImageFile | None:
        """Return the file of an image, None if it is not there."""
        return self._media.of(picture)

    def place(self, file: ImageFile | None, name: str, *, is_new: bool) -> None:
        """Give the data set a file. On a further branch it is there already."""
        if file is None:
            self._counts.remark("no_media")
        elif is_new:
            self._media.place(file, self._output, name)


def named_as(picture: Picture, file: ImageFile | None) -> str:
    """Return the name of an image: with the ending of its file, if both have one."""
    if file is None or not (picture.ending and file.ending):
        return picture.name
    return picture.name.removesuffix(picture.ending) + file.ending


class CocoWriter:
    """Writes images, as `harvester.datasets.image_sets.ImageFormat` says."""

    def __init__(
        self,
        annotator: Annotator,
        images: CocoIds,
        videos: CocoIds,
        files: CocoFiles,
        media: CocoMedia | None = None,
    ) -> None:
        self._annotator = annotator
        self._images = images
        self._videos = videos
        self._files = files
        self._media = media
        self._of_row: dict[str, int] = {}  # videos of this label row, by name

    def begin(self, row: LiveRow | None) -> None:
        """Take the next label row, before its images."""
        self._annotator.begin_row()
        self._of_row.clear()

    def make(self, picture: Picture) -> MadeCoco:
        """Return an image with its annotations. Raises NoPicture if its size is not known."""
        width, height = picture.width, picture.height
        if not (width and height):
            raise NoPicture("no_size")
        unit = picture.unit
        file = None if self._media is None else self._media.of(picture)
        image = CocoImage(
            self._images.look_up(picture.name), named_as(picture, file), width, height, unit.data_hash,
            unit.label_hash or None, unit.file_name or unit.data_title,
        )  # fmt: skip
        made = [self._annotator.make(one, image.id, width, height) for one in picture.objects]
        return MadeCoco(image, [one for one in made if one is not None], file)

    def put(self, made: MadeCoco, picture: Picture, place: ImagePlace) -> None:
        """Write what `make` has returned."""
        file, image = self._files.of(place.split, place.folder), made.image
        if picture.unit.medium == "video":
            image.frame_index = image.frame_id = picture.frame
            image.video_id = self._video(file, picture, image)
        is_new = self._images.take(picture.name, image.id)
        if self._media is not None:
            self._media.place(made.file, image.file_name, is_new=is_new)
        file.add_image(_encode(image))
        file.add_annotations(made.annotations)

    def _video(self, file: CocoFile, picture: Picture, image: CocoImage) -> int:
        name = picture.name.rpartition("/")[0]
        if name not in self._of_row:
            number = self._of_row[name] = self._videos.look_up(name)
            self._videos.take(name, number)
            unit = picture.unit
            video = CocoVideo(number, name, image.width, image.height, unit.fps, unit.number_of_frames)
            file.add_video(_encode(video))
        return self._of_row[name]
