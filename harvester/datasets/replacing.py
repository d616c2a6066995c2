"""Makes a directory whole or not at all: it is written beside its place, and renamed at the end.

What is written stands in ``.NAME.converting/new`` beside the directory NAME; one that it replaces is moved
to ``.NAME.converting/old`` before it is deleted. Whatever a killed process left there is deleted by the next
one, but for a directory that was moved away and not yet replaced: that one gets its name back.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
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
            check_replaceable(name, _files_below(directory), [done], begun)
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
                held = conversions_in(LocalTarget(directory))
                # Where `conversion.json` is damaged, files are replaced that the new data set has, too.
                of_unknown_files = not held and is_data_set(str(directory))
                if not of_unknown_files:
                    check_replaceable(name, _files_below(directory), held, begun)
                yield Replacement(output_in(new), finish)
        finally:
            _give_back(old, directory)
            shutil.rmtree(work, ignore_errors=True)


def conversions_in(*places: Target) -> list[Conversion]:
    """Return the conversions in these places, as far as there are any that are sound."""
    found = []
    for place in places:
        with suppress(Unsound):
            if (conversion := read_conversion(place)) is not None:
                found.append(conversion)
    return found


def check_replaceable(name: str, there: Iterable[str], held: list[Conversion], wanted: Conversion) -> None:
    """Raise TargetRefused if there are files that are not of an earlier conversion of the same.

    Args:
        name: of the place, in messages.
        there: the names of its files.
        held: the conversions in it.
    """
    if not held:
        for _ in there:
            raise TargetRefused(f"{name} holds files that are no data set of ours; choose another directory")
    for each in held:
        if difference := other_purpose(each, wanted):
            raise TargetRefused(f"{name} holds a data set {one_line(difference)}; choose another directory")
    known = {file.name for each in held for file in each.files} | {CONVERSION}
    if other := min((file for file in there if file not in known), default=None):
        raise TargetRefused(f"{name} holds {one_line(other)}, which is not of its data set: move it away")


def _files_below(directory: Path) -> Iterator[str]:
    for folder, _, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), directory)


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
            shutil.rmtree(directory)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Name the place of a data set in an error of the disk."""
    try:
        yield
    except OSError as error:
        raise CannotFinishNow(one_line(f"{name}: {error.strerror or error}")) from error
