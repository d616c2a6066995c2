"""The files of images, from a directory that `harvester media` has filled, into a data set.

The directory's index says which file is of which unit and frame. Any directory, with an index or without, may
have files that are called as images are in data sets: ``images/<hash>.jpg``, ``videos/<hash>/<frame>.jpg``.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from harvester.datasets.pictures import Picture
from harvester.datasets.written import Output
from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.output.folders import FileSystem, Folders, open_file
from harvester.output.lines import read_as
from harvester.output.target import LocalTarget
from harvester.plan.sorting import scratch
from harvester.schema import Count

_INDEX = "media.ndjson"
# A file below the index, without a leading dot in any part of its path. The index is not trusted.
_PATH = re.compile(r"[0-9A-Za-z][\w.-]*(/[0-9A-Za-z][\w.-]*)*", re.ASCII)
_TABLE = "files (unit, space, frame, path, sha256, bytes, PRIMARY KEY (unit, space, frame)) WITHOUT ROWID"
_WHOLE = -1  # stands for the frame of a file that is all of its unit


class IndexedFile(msgspec.Struct):
    """The fields of a line of the index that are read."""

    unit_hash: str
    space_id: str | None
    path: str
    sha256: str | None = None
    frame: Count | None = None
    bytes: Count | None = None


class ImageFile(NamedTuple):
    """A file in the directory. `sha256` and `bytes` are None if there is no index."""

    path: str
    sha256: str | None = None
    bytes: int | None = None

    @property
    def ending(self) -> str:
        """The ending of its name, with its dot, "" if it has none."""
        return os.path.splitext(self.path)[1]


class MediaFiles:
    """The files of a directory, by image. Made by `media_files`."""

    def __init__(self, directory: Path, table: Connection | None) -> None:
        self._folders = Folders(directory, FileSystem())
        self._table = table
        self.name = one_line(str(directory))
        self.found = 0
        self.missing = 0

    def of(self, picture: Picture) -> ImageFile | None:
        """Return the file of an image, and count whether there is one."""
        file = None if self._table is None else self._indexed(self._table, picture)
        file = file or self._named(picture)
        self.found += file is not None
        self.missing += file is None
        return file

    def place(self, file: ImageFile, output: Output, name: str) -> None:
        """Put the file into a data set, under this name: as a hard link if possible, else as a copy.

        Raises:
            Unsound: it is gone, or its bytes are not those that the index says.
            BadInput: it is no regular file.
            CannotFinishNow: the disk is in trouble.
        """
        folder, _, last = file.path.rpartition("/")
        path = self._folders.root / file.path
        changed = Unsound(f"{self.name}: {file.path} is not what the index says: see harvester verify")
        try:
            with self._folders.opened(folder) as opened, open(open_file(path, opened), "rb") as source:
                if file.bytes not in (None, os.fstat(source.fileno()).st_size):
                    raise changed  # not read: it may be without end
                written = output.link_or_copy(name, source, last, opened)
        except FileNotFoundError:
            raise Unsound(f"{self.name}: {file.path} is gone: see harvester verify") from None
        if file.sha256 not in (None, written.sha256):
            raise changed

    def check_found(self) -> None:
        """Raise BadInput if there were images, and a file of none of them."""
        if self.missing and not self.found:
            what = "files that are called as images are" if self._table is None else "image of the data set"
            raise BadInput(f"{self.name} has no {what}: fill it with harvester media")

    def _indexed(self, table: Connection, picture: Picture) -> ImageFile | None:
        unit = picture.unit
        key = (unit.unit_hash or unit.data_hash, unit.space_id or "", _frame(picture.frame))
        found = table.execute(_SELECT, key).fetchone()
        return ImageFile(*found) if found else None

    def _named(self, picture: Picture) -> ImageFile | None:
        """Return the file with the name of the image; frames and slices may also end in `.png`."""
        folder, _, last = picture.name.rpartition("/")
        names = [last, last.removesuffix(picture.ending) + ".png"] if picture.frame is not None else [last]
        with suppress(FileNotFoundError, NotADirectoryError), self._folders.opened(folder) as opened:
            for name in names:
                with suppress(FileNotFoundError):
                    if stat.S_ISREG(os.stat(name, dir_fd=opened, follow_symlinks=False).st_mode):
                        return ImageFile(f"{folder}/{name}")
        return None


_SELECT = "SELECT path, sha256, bytes FROM files WHERE unit = ? AND space = ? AND frame = ?"


def _frame(frame: int | None) -> int:
    return _WHOLE if frame is None else frame


@contextmanager
def media_files(directory: Path) -> Iterator[MediaFiles]:
    """Open the files of a directory. Its index, if it has one, is held on disk.

    Raises:
        BadInput: there is no such directory.
        Unsound: its index is damaged.
    """
    if not directory.is_dir():
        raise BadInput(one_line(f"{directory} is no directory: fill it with harvester media"))
    target = LocalTarget(directory)
    if not any(name == _INDEX for name, _ in target.names()):
        yield MediaFiles(directory, None)
        return
    with scratch(_TABLE) as table:
        try:
            for line in read_as(target, _INDEX, IndexedFile):
                if not _PATH.fullmatch(line.path):
                    raise Unsound(
                        one_line(f"{directory}: {_INDEX} names {line.path!r}, which is no file of it")
                    )
                table.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", _row(line))
        except CannotFinishNow as error:
            raise Unsound(one_line(f"{directory}: {error.message}")) from error
        yield MediaFiles(directory, table)


@contextmanager
def given_media(directory: Path | None) -> Iterator[MediaFiles | None]:
    """Open the files of a directory if one is given, as `media_files` does."""
    if directory is None:
        yield None
    else:
        with media_files(directory) as media:
            yield media


def check_media(directory: Path | None) -> None:
    """Raise as `media_files` does if there is something wrong with a directory that is given."""
    with given_media(directory):
        pass


def _row(line: IndexedFile) -> tuple[str, str, int, str, str | None, int | None]:
    return line.unit_hash, line.space_id or "", _frame(line.frame), line.path, line.sha256, line.bytes
