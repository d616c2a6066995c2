"""Lists the wanted files, and which of them are there, in a temporary database: so memory stays flat."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from harvester.errors import SkipRow
from harvester.labels.wire import PlanRow
from harvester.media.file_names import FRAMES
from harvester.media.index import FailedMedia, StoredMedia, line_of
from harvester.media.options import MediaOptions
from harvester.media.unit_files import MediaFile, UnitFacts
from harvester.plan.sorting import scratch

_TABLES = (
    "rows (number INTEGER PRIMARY KEY, plan, units, chosen)",
    "live (path PRIMARY KEY, chosen) WITHOUT ROWID",
    "stored (path PRIMARY KEY, line) WITHOUT ROWID",
    "failed (path PRIMARY KEY, number, line) WITHOUT ROWID",
    "labelled (unit, space, frame, PRIMARY KEY (unit, space, frame)) WITHOUT ROWID",
    "without (path PRIMARY KEY, kind) WITHOUT ROWID",
    "counted (what, path, PRIMARY KEY (what, path)) WITHOUT ROWID",
)
# A file that several rows have is chosen if one of them is.
_ADD_LIVE = """
    INSERT INTO live VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET chosen = max(chosen, excluded.chosen)
"""
_COUNT_THERE = """
    SELECT count(*), coalesce(sum(json_extract(CAST(line AS TEXT), '$.bytes')), 0)
    FROM stored NATURAL JOIN live WHERE chosen
"""

_encode = msgspec.json.encode
_read_row = msgspec.json.Decoder(PlanRow).decode
_read_units = msgspec.json.Decoder(list[UnitFacts]).decode
_read_stored = msgspec.json.Decoder(StoredMedia).decode


class WantedRow(msgspec.Struct):
    """A label row, those of its units whose files are wanted, and all of its units."""

    number: int
    row: PlanRow
    units: list[UnitFacts]
    all_units: list[UnitFacts]


@contextmanager
def wanted_media() -> Iterator["WantedMedia"]:
    """Open an empty list of wanted files. It is used by one thread at a time."""
    with scratch(*_TABLES) as database:
        yield WantedMedia(database)


class WantedMedia:
    """The wanted files of an export, by label row, and what has become of them."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.create_function("name_of_live", 1, _name_of_live, deterministic=True)
        self.files = 0  # wanted, as far as that is known before their URLs are

    # -- what is wanted ----------------------------------------------------------------------------

    def add(self, row: PlanRow, units: list[UnitFacts], chosen: list[UnitFacts]) -> None:
        """Add a row with all its units, and those of them whose files are wanted."""
        self.files += self.count_new("wanted", chosen)
        values = (_encode(row), _encode(units), _encode(chosen))
        self._database.execute("INSERT INTO rows (plan, units, chosen) VALUES (?, ?, ?)", values)
        paths = dict.fromkeys((file.path for unit in units for file in _candidates(unit)), False)
        paths |= dict.fromkeys((unit.frames_folder for unit in units if unit.is_video), False)
        paths |= dict.fromkeys((file.path for unit in chosen for file in _candidates(unit)), True)
        self._database.executemany(_ADD_LIVE, paths.items())

    def count_new(self, what: str, units: Iterable[UnitFacts]) -> int:
        """Return the number of files of these units that were not counted before as `what`.

        Rows on several branches have the same files. Data that is made of other data counts as its members.
        """
        files = ((what, file.path) for unit in units if not unit.is_composite for file in unit.files())
        return self._database.executemany("INSERT OR IGNORE INTO counted VALUES (?, ?)", files).rowcount

    def note_labelled(self, frames: Iterable[tuple[str, str, int]]) -> None:
        """Note frames that have objects: unit, space and number of each."""
        self._database.executemany("INSERT OR IGNORE INTO labelled VALUES (?, ?, ?)", frames)

    def rows(self, *, chosen: bool = True) -> Iterator[WantedRow]:
        """Yield all rows in order, with the units whose files are wanted, or with all their units."""
        last = 0
        while found := self._database.execute(
            "SELECT number, plan, units, chosen FROM rows WHERE number > ? ORDER BY number LIMIT 100", (last,)
        ).fetchall():
            for number, plan, units, those in found:
                every = _read_units(units)
                some = every if not chosen or those == units else _read_units(those)
                yield WantedRow(number, _read_row(plan), some, every)
            last = found[-1][0]

    def missing(self) -> Iterator[WantedRow]:
        """Yield the rows of which a file is not there, with the units that it is of.

        Data that is made of other data need not have a file. It is yielded together with its members, or if
        it is the only unit of its row.
        """
        for wanted in self.rows():
            alone = len(wanted.units) == 1
            wanted.units = [unit for unit in wanted.units if not self._has_all(unit)]
            if any(alone or not unit.is_composite for unit in wanted.units):
                yield wanted

    def _has_all(self, unit: UnitFacts) -> bool:
        only = self.stored(unit.only_file().path)
        return only is not None or all(self.stored(file.path) for file in unit.files())

    # -- what has become of it -----------------------------------------------------------------------

    def store(self, stored: StoredMedia) -> None:
        """Note that a file is there."""
        self._database.execute("INSERT OR REPLACE INTO stored VALUES (?, ?)", (stored.path, _encode(stored)))

    def stored(self, path: str) -> StoredMedia | None:
        """Return the file of that name if it is there."""
        found = self._database.execute("SELECT line FROM stored WHERE path = ?", (path,)).fetchone()
        return _read_stored(found[0]) if found else None

    def lose(self, path: str) -> None:
        """Note that a file is not there, or not as it should be."""
        self._database.execute("DELETE FROM stored WHERE path = ?", (path,))

    def there(self) -> tuple[int, int]:
        """Return the number of wanted files that are there, and their bytes."""
        files, size = self._database.execute(_COUNT_THERE).fetchone()
        return int(files), int(size)

    def fail(self, wanted: WantedRow, file: MediaFile, failed: FailedMedia) -> None:
        """Note that a file could not be fetched."""
        values = (file.path, wanted.number, _encode(failed) + b"\n")
        self._database.execute("INSERT OR REPLACE INTO failed VALUES (?, ?, ?)", values)

    def is_without(self, file: MediaFile) -> None:
        """Note that the platform has no file of that unit or space."""
        kind = f"{file.data_type or 'unknown'}" + (" space" if file.space_id is not None else "")
        self._database.execute("INSERT OR REPLACE INTO without VALUES (?, ?)", (file.path, kind))

    def without_file(self) -> dict[str, int]:
        """Return the number of units and spaces that have no file, by data type."""
        return dict(self._database.execute("SELECT kind, count(*) FROM without GROUP BY kind ORDER BY kind"))

    def index_lines(self) -> Iterator[bytes]:
        """Yield the lines of the index, in the order of the rows: of all units, whatever this run fetched."""
        for wanted in self.rows(chosen=False):
            for unit in wanted.units:
                for file in _candidates(unit):
                    if (stored := self.stored(file.path)) is not None:
                        yield line_of(file, stored)
                for stored in self._frames_of(unit):
                    yield line_of(unit.frame_file(stored.path), stored)

    def failed_lines(self) -> Iterator[bytes]:
        """Yield the lines of the list of failed files, in the order of the rows."""
        found = self._database.execute("SELECT line FROM failed ORDER BY number, path")
        return (line for (line,) in found)

    def failed(self) -> int:
        """Return the number of files that could not be fetched."""
        return int(self._database.execute("SELECT count(*) FROM failed").fetchone()[0])

    def gone(self) -> list[StoredMedia]:
        """Return the files that are there, but whose units have left the export."""
        found = self._database.execute(
            "SELECT line FROM stored WHERE name_of_live(path) NOT IN (SELECT path FROM live) ORDER BY path"
        )
        return [_read_stored(line) for (line,) in found]

    # -- frames of videos ------------------------------------------------------------------------------

    def frames(self) -> Iterator[str]:
        """Yield the names of all pictures of frames that the index has."""
        found = self._database.execute("SELECT path FROM stored WHERE path LIKE 'videos/%'").fetchall()
        return (path for (path,) in found)

    def _frames_of(self, unit: UnitFacts) -> list[StoredMedia]:
        if not unit.is_video:
            return []
        first, end = f"{unit.frames_folder}/", f"{unit.frames_folder}0"  # 0 comes after the slash
        found = self._database.execute("SELECT line FROM stored WHERE path > ? AND path < ?", (first, end))
        return sorted((_read_stored(line) for (line,) in found), key=lambda stored: _number(stored.path))

    def videos(self, options: MediaOptions) -> Iterator["VideoToDecode"]:
        """Yield each video that is there, with the frames that are wanted of it."""
        seen = set[str]()
        for wanted in self.rows():
            for unit in wanted.units:
                path = unit.only_file().path
                stored = self.stored(path)
                if not unit.is_video or path in seen or stored is None:
                    continue
                seen.add(path)
                pictures = [each.path for each in self._frames_of(unit)]
                found = [_number(name) for name in pictures if name.endswith(options.frame_format)]
                labelled = None
                if options.frames == "labelled":
                    key = (unit.hash, unit.space_id or "")
                    rows = self._database.execute(
                        "SELECT frame FROM labelled WHERE unit = ? AND space = ?", key
                    )
                    labelled = frozenset(frame for (frame,) in rows)
                yield VideoToDecode(wanted, unit, stored, frozenset(found), labelled, options)

    def fail_frames(self, video: "VideoToDecode", error: SkipRow) -> None:
        """Note that frames of a video could not be decoded."""
        file = video.unit.only_file()
        failed = FailedMedia(
            label_hash=file.label_hash, branch_name=file.branch_name, data_hash=file.data_hash,
            data_title=video.wanted.row.data_title, unit_hash=file.unit_hash, space_id=file.space_id,
            frame=None, error=error.failure, message=error.message, attempts=1,
        )  # fmt: skip
        self.fail(video.wanted, msgspec.structs.replace(file, path=video.unit.frames_folder), failed)

    def paths(self) -> Iterator[str]:
        """Yield the names that wanted files may have."""
        for wanted in self.rows():
            for unit in wanted.units:
                yield from (file.path for file in _candidates(unit))


class VideoToDecode(msgspec.Struct, frozen=True):
    """A video, the frames of it that have pictures, and those with labels, if only these are wanted."""

    wanted: WantedRow
    unit: UnitFacts
    stored: StoredMedia
    there: frozenset[int]
    labelled: frozenset[int] | None
    options: MediaOptions

    @property
    def path(self) -> str:
        """The name of the video."""
        return self.unit.only_file().path

    @property
    def missing(self) -> frozenset[int] | None:
        """The wanted frames that have no picture; None if that is not known before it is decoded."""
        if self.labelled is not None:
            return self.labelled - self.there
        count = self.stored.decoded_frames or self.unit.number_of_frames
        if count:
            return frozenset(range(0, count, self.options.every)) - self.there
        return None

    @property
    def is_complete(self) -> bool:
        """Whether all wanted frames are there."""
        return self.missing is not None and not self.missing

    @property
    def last(self) -> int | None:
        """The last frame that is needed, if that is known."""
        return max(self.labelled, default=0) if self.labelled is not None else None

    def is_missing(self, number: int) -> bool:
        """Return whether a frame is wanted and not there."""
        if number in self.there:
            return False
        return number in self.labelled if self.labelled is not None else number % self.options.every == 0

    def path_of(self, number: int) -> str:
        """Return the name of the picture of a frame."""
        return f"{self.unit.frames_folder}/{number}.{self.options.frame_format}"


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].partition(".")[0])


def _name_of_live(path: str) -> str:
    """Return the name that stands for a file among those of live units: for a frame, its folder."""
    return path.rpartition("/")[0] if path.startswith(f"{FRAMES}/") else path


def _candidates(unit: UnitFacts) -> Iterable[MediaFile]:
    files = unit.files()
    only = unit.only_file()
    return files if files == (only,) else (*files, only)
