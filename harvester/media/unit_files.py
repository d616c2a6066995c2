"""The units of an export, and the files that each has."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import msgspec

from harvester.media.file_names import extension, folder_of_frames, may_be_video, slice_name, stem_of

_MIME_TYPES = {"jpg": "image/jpeg", "png": "image/png"}  # of pictures of frames
# Data that is made of other data: it has no file of its own unless the platform gives a URL of it.
_COMPOSITE = frozenset({"group", "scene", "dicom_study"})


class Place(NamedTuple):
    """Identifies a file in a label row: by unit, by space in the unit, and by slice. None: not by that."""

    unit_hash: str
    space_id: str | None
    frame: int | None


class SliceFacts(msgspec.Struct, frozen=True):
    """A slice of a DICOM series, or an image of a sequence."""

    frame: int
    file_name: str | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None

    def __repr__(self) -> str:
        return f"SliceFacts({self.frame})"


class UnitFacts(msgspec.Struct, frozen=True, dict=True):
    """A unit record (`harvester.schema.UnitRecord`). `data_url` may be signed, and so a secret."""

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    data_type: str | None = None
    unit_hash: str | None = None
    file_name: str | None = None
    data_url: str | None = None
    space_id: str | None = None
    width: int | None = None
    height: int | None = None
    mime_type: str | None = None
    fps: float | None = None
    number_of_frames: int | None = None
    slices: list[SliceFacts] | None = None
    objects: int | None = None
    classifications: int | None = None

    def __repr__(self) -> str:
        return f"UnitFacts({self.label_hash!r}, {self.unit_hash!r}, {self.space_id!r})"

    @property
    def hash(self) -> str:
        """The hash of the unit; that of the data where the unit has none."""
        return self.unit_hash or self.data_hash

    @property
    def is_composite(self) -> bool:
        """Whether it is made of other data, and need not have a file."""
        return self.space_id is None and self.data_type in _COMPOSITE

    def urls(self) -> Iterator[tuple[Place, str]]:
        """Yield the URLs in the record, each with its place."""
        if self.data_url:
            yield Place(self.hash, self.space_id, None), self.data_url
        for each in self.slices or ():
            if each.url:
                yield Place(self.hash, self.space_id, each.frame), each.url

    def files(self) -> "tuple[MediaFile, ...]":
        """Return the files that the unit has if each slice has its own, otherwise its only file."""
        return self._files

    @cached_property
    def _files(self) -> "tuple[MediaFile, ...]":
        stem, of_unit = stem_of(self.hash, self._own_space), extension(self.file_name, self.mime_type)
        files = []
        for each in self.slices or ():
            ending = extension(each.file_name, None) if each.file_name else of_unit
            files.append(self._file(f"{stem}/{slice_name(each.frame, ending)}", each))
        return tuple(files) or (self.only_file(),)

    @property
    def is_video(self) -> bool:
        """Whether its file may be a video: of the data itself, or of a member of a group."""
        if self.data_type == "video" or self.space_id is None or (self.number_of_frames or 0) <= 1:
            return self.data_type == "video"
        return may_be_video(self.only_file().path)  # pages and slices are counted as frames, too

    @property
    def frames_folder(self) -> str:
        """The folder of pictures of its frames."""
        return folder_of_frames(self.hash, self._own_space)

    def frame_file(self, path: str) -> "MediaFile":
        """Return the file that is a picture of one of its frames."""
        number = int(path.rpartition("/")[2].partition(".")[0])
        return msgspec.structs.replace(
            self.only_file(), frame=number, path=path, mime_type=_MIME_TYPES[path[-3:]]
        )

    def only_file(self) -> "MediaFile":
        """Return the file of the unit if it has one."""
        return self._only_file

    @cached_property
    def _only_file(self) -> "MediaFile":
        return self._file(
            f"{stem_of(self.hash, self._own_space)}.{extension(self.file_name, self.mime_type)}", None
        )

    @property
    def _own_space(self) -> str | None:
        return None if self.space_id == "root" else self.space_id  # the layer that the data itself is

    def _file(self, path: str, part: SliceFacts | None) -> "MediaFile":
        return MediaFile(
            label_hash=self.label_hash,
            branch_name=self.branch_name,
            data_hash=self.data_hash,
            data_type=self.data_type,
            unit_hash=self.hash,
            space_id=self.space_id,
            frame=part.frame if part else None,
            path=path,
            mime_type=self.mime_type,
            width=(part.width if part else None) or self.width,
            height=(part.height if part else None) or self.height,
            fps=self.fps,
        )


class MediaFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a label row has. `frame` is the number of a slice. `path` is relative to the index."""

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    data_type: str | None
    unit_hash: str
    space_id: str | None
    frame: int | None
    path: str
    mime_type: str | None
    width: int | None
    height: int | None
    fps: float | None

    @property
    def place(self) -> Place:
        """Which file of its label row it is."""
        return Place(self.unit_hash, self.space_id, self.frame)
