"""Makes a directory whole or not at all: it is written beside its place, and renamed at the end.

What is written stands in ``.NAME.converting/new`` beside the directory NAME; one that it replaces is moved
to ``.NAME.converting/old`` before it is deleted. Whatever a killed process left there is deleted by the next
one, but for a directory that was moved away and not yet replaced: that one gets its name back.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from harvester.datasets.conversion import (
    CONVERSION,
    Conversion,
    is_data_set,
    other_purpose,
    read_conversion,
    write_conversion,
)
from harvester.datasets.file_list import FILES, WrittenFile, check_list, compared, listed_files
from harvester.datasets.written import Output, output_in
from harvester.errors import BadInput, CannotFinishNow, TargetRefused, Unsound
from harvester.events import one_line
from harvester.output.layout import STATE
from harvester.output.target import LocalTarget, Target


class Replacement(NamedTuple):
    """A data set that is being written. `finish` lets it take the place of an earlier one."""

    output: Output
    finish: Callable[[Conversion], Conversion]


@contextmanager
def replaced(out: Path | str, begun: Conversion) -> Iterator[Replacement]:
    """Give a data set to write into the directory `out`, or in its place.

    Held by one process at a time. If it is not finished, `out` stays as it was.

    Args:
        begun: what the data set will be, as far as it is known.

    Raises:
        BadInput: `out` cannot be a directory.
        TargetRefused: another process makes it, or it holds something else.
        CannotFinishNow: the disk is in trouble.
    """
    directory = place_of(out)
    work = directory.with_name(f".{directory.name}.converting")
    new, old = work / "new", work / "old"
    name, of_unknown_files = one_line(str(directory)), False

    def finish(done: Conversion) -> Conversion:
        if of_unknown_files:
            check_replaceable(name, _files_below(directory), [HeldDataSet(LocalTarget(new), done)], begun)
        sealed = write_conversion(LocalTarget(new), done)
        os.sync()  # all files of it at once: each by itself would take too long
        if directory.exists():
            os.rename(directory, old)
        os.rename(new, directory)
        return sealed

    target = LocalTarget(work)
    target.ensure()
    with target.lock():
        if not (work / STATE / "lock").exists():  # its owner ended between our opening and locking the file
            raise TargetRefused(one_line(f"{directory} is in use by another process"))
        try:
            with translated(str(directory)):
                _give_back(old, directory)
                _clear(new, old)
                new.mkdir(0o700)
                held = data_sets_in(LocalTarget(directory))
                # Where `conversion.json` is damaged, files are replaced that the new data set has, too.
                of_unknown_files = not held and is_data_set(str(directory))
                if not of_unknown_files:
                    check_replaceable(name, _files_below(directory), held, begun)
                with output_in(new) as output:
                    yield Replacement(output, finish)
        finally:
            _give_back(old, directory)
            with suppress(OSError):
                _clear(work)


class HeldDataSet(NamedTuple):
    """A data set, and where it is."""

    place: Target
    conversion: Conversion

    def files(self) -> Iterator[WrittenFile]:
        """Yield its files, without those that describe it. Raises Unsound."""
        return listed_files(self.place, self.conversion.files)

    def names(self) -> Iterator[str]:
        """Yield their names."""
        return (file.name for file in self.files())


def data_sets_in(*places: Target) -> list[HeldDataSet]:
    """Return the data sets in these places, as far as there are any whose description is sound."""
    found = []
    for place in places:
        with suppress(Unsound):
            if (conversion := read_conversion(place)) is not None:
                check_list(place, conversion.files)
                found.append(HeldDataSet(place, conversion))
    return found


def check_replaceable(
    name: str, there: Iterable[str], held: Sequence[HeldDataSet], wanted: Conversion
) -> None:
    """Raise TargetRefused if there are files that are not of an earlier conversion of the same.

    Args:
        name: of the place, in messages.
        there: the names of its files.
        held: the data sets in it.
    """
    if not held:
        for _ in there:
            raise TargetRefused(f"{name} holds files that are no data set of ours; choose another directory")
    for each in held:
        if difference := other_purpose(each.conversion, wanted):
            raise TargetRefused(f"{name} holds a data set {one_line(difference)}; choose another directory")
    known = chain((CONVERSION, FILES), *(each.names() for each in held))
    for other in compared(_OTHERS, there=there, known=known):
        raise TargetRefused(f"{name} holds {one_line(other)}, which is not of its data set: move it away")


_OTHERS = "SELECT name FROM there EXCEPT SELECT name FROM known ORDER BY name LIMIT 1"


def _files_below(directory: Path, below: str = "") -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(directory / below) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_below(directory, f"{below}{entry.name}/")
            else:
                yield below + entry.name


def place_of(out: Path | str) -> Path:
    """Return the path of the directory `out`, without links. Raises BadInput if it cannot be one."""
    try:
        directory = Path(os.path.realpath(out))
        if directory.exists() and not directory.is_dir():
            raise BadInput(one_line(f"{out} is a file: name a directory"))
        if os.path.ismount(directory):
            raise BadInput(one_line(f"{out} is where a disk is mounted: name a directory below it"))
    except (OSError, ValueError) as error:
        raise BadInput(one_line(f"{out}: {getattr(error, 'strerror', None) or error}")) from error
    return directory


def _give_back(old: Path, directory: Path) -> None:
    """Undo a replacement that was not finished."""
    if old.exists() and not directory.exists():
        os.rename(old, directory)


def _clear(*directories: Path) -> None:
    for directory in directories:
        if directory.exists():
            folder = os.open(directory, _FOLDER)
            try:
                _delete_files(folder)
            finally:
                os.close(folder)
            shutil.rmtree(directory)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _delete_files(folder: int) -> None:
    """Delete the files below an open folder. `shutil.rmtree` would hold the names of all in a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            below = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                _delete_files(below)
            finally:
                os.close(below)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Name the place of a data set in an error of the disk."""
    try:
        yield
    except OSError as error:
        raise CannotFinishNow(one_line(f"{name}: {error.strerror or error}")) from error
