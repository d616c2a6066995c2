"""Makes a directory whole or not at all: it is written beside its place, and renamed at the end.

What is written stands in ``.NAME.converting/new`` beside the directory NAME; one that it replaces is moved
to ``.NAME.converting/old`` before it is deleted. Whatever a killed process left there is deleted by the next
one, but for a directory that was moved away and not yet replaced: that one gets its name back.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harvester.errors import BadInput, CannotFinishNow, TargetRefused
from harvester.events import one_line
from harvester.output.layout import STATE
from harvester.output.target import LocalTarget, open_target


@contextmanager
def replaced(out: Path | str) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Give an empty directory to write into, and a function that lets it take the place of `out`.

    Held by one process at a time. If the function is not called, `out` stays as it was.

    Raises:
        BadInput: `out` cannot be a directory.
        TargetRefused: another process makes it.
        CannotFinishNow: the disk is in trouble.
    """
    directory = place_of(out)
    work = directory.with_name(f".{directory.name}.converting")
    new, old = work / "new", work / "old"

    def finish() -> None:
        os.sync()  # all files of it at once: each by itself would take too long
        if directory.exists():
            os.rename(directory, old)
        os.rename(new, directory)

    target = LocalTarget(work)
    target.ensure()
    with target.lock():
        if not (work / STATE / "lock").exists():  # its owner ended between our opening and locking the file
            raise TargetRefused(one_line(f"{directory} is in use by another process"))
        try:
            with _translated(directory):
                _give_back(old, directory)
                _clear(new, old)
                new.mkdir(0o700)
                yield new, finish
        finally:
            _give_back(old, directory)
            shutil.rmtree(work, ignore_errors=True)


def place_of(out: Path | str) -> Path:
    """Return the path of the directory `out`, without links. Raises BadInput if it cannot be one."""
    if not isinstance(open_target(out), LocalTarget):
        raise BadInput(one_line(f"{out}: a data set needs a directory; copy it into an object store"))
    try:
        directory = Path(os.path.realpath(out))
        if directory.exists() and not directory.is_dir():
            raise BadInput(one_line(f"{out} is a file: name a directory"))
        if os.path.ismount(directory):
            raise BadInput(one_line(f"{out} is where a disk is mounted: name a directory below it"))
    except (OSError, ValueError) as error:
        raise BadInput(one_line(f"{out}: {error}")) from error
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
def _translated(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotFinishNow(one_line(f"{directory}: {error.strerror or error}")) from error
