"""``conversion-files.ndjson``: the files of a data set by name, a line each.

No function here holds all of them in memory. YOLO and masks have a file for each image, so the list is kept
on disk while a data set is written, and read as a stream later.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from sqlite3 import Connection

import msgspec

from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.output.layout import STATE
from harvester.output.lines import checked_lines
from harvester.output.planfile import PlainFile
from harvester.output.target import Target
from harvester.plan.sorting import SMALL_PAGE, scratch
from harvester.schema import Count

FILES = "conversion-files.ndjson"


class WrittenFile(msgspec.Struct, frozen=True):
    """A file of a data set. `name` is relative to the place of the data set, with slashes."""

    name: str
    bytes: Count
    sha256: str


class FileTotals(msgspec.Struct, frozen=True):
    """What ``conversion.json`` says of the list: how many files it has, their size, and its own sha256."""

    number: Count
    bytes: Count
    sha256: str


class FileList:
    """The files that have been written so far. Made by `file_list`."""

    def __init__(self, table: Connection) -> None:
        """`table` has the table `files`."""
        self._table = table

    def add(self, file: WrittenFile) -> None:
        """Add a file. It replaces an earlier one of that name."""
        self._table.execute("INSERT INTO files VALUES (?, ?, ?)", (file.name, file.bytes, file.sha256))

    def __iter__(self) -> Iterator[WrittenFile]:
        last = None
        query = "SELECT name, bytes, sha256 FROM files ORDER BY name, rowid DESC"
        for name, size, sha256 in self._table.execute(query):
            if name != last:
                yield WrittenFile(name, size, sha256)
            last = name


@contextmanager
def file_list() -> Iterator[FileList]:
    """Open an empty list. Raises CannotFinishNow if the disk is full, also for what is done inside."""
    with scratch("files (name, bytes, sha256)", page_size=SMALL_PAGE) as table:
        yield FileList(table)


def listed_files(place: Target, totals: FileTotals) -> Iterator[WrittenFile]:
    """Yield the files of the data set in `place`, by name.

    Each name can be that of a file of a data set: the list is data, not trusted. Raises Unsound, at the end
    of the list or before, if it is missing or is not the one that was written.
    """
    try:
        place.size_of(FILES)
    except BadInput as error:
        raise Unsound(error.message) from error
    for line in checked_lines(place, PlainFile(name=FILES, bytes=0, sha256=totals.sha256)):
        try:
            file = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unsound(one_line(f"{place.name}: {FILES} is damaged: {error}")) from error
        if not _is_below(file.name):
            raise Unsound(one_line(f"{FILES} names {file.name!r}, which can be no file of a data set"))
        yield file


def check_list(place: Target, totals: FileTotals) -> None:
    """Read the whole list. Raises as `listed_files` does."""
    for _ in listed_files(place, totals):
        pass


def _is_below(name: str) -> bool:
    """Return whether this can be the name of a file of a data set."""
    parts = name.split("/")
    return parts[0] != STATE and not {"", ".", ".."} & set(parts)


def compared(query: str, **names: Iterable[str]) -> Iterator[str]:
    """Yield the names that `query` selects. It is SQL over tables with the column `name`, called as given."""
    with scratch(*(f"{table} (name)" for table in names), page_size=SMALL_PAGE) as tables:
        for table, some in names.items():
            # As bytes: a name on a disk may be no valid text.
            tables.executemany(f"INSERT INTO {table} VALUES (?)", ((os.fsencode(name),) for name in some))
        for (name,) in tables.execute(query):
            yield os.fsdecode(name)


_decode = msgspec.json.Decoder(WrittenFile).decode
