"""The folders below a directory, opened one by one by descriptor, none of them through a symbolic link.

An export may come from somebody else, and a link in it could lead anywhere: what a path names is decided
anew by each system call. So each component is opened relative to the one above it (``openat`` with
O_NOFOLLOW), and files are opened, renamed and deleted relative to the descriptor of their folder.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.output.filesystem import FileSystem

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folders:
    """The folders below `root`, which may itself be a link. Raises OSError, as the system calls do."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        self.root = root
        self._files = files

    @contextmanager
    def opened(self, folder: str, *, make: bool = False) -> Iterator[int]:
        """The descriptor of a folder, closed at the end: see `open`."""
        descriptor = self.open(folder, make=make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, folder: str, *, make: bool = False) -> int:
        """The descriptor of a folder (``generations/00001``; the root is ``""``), which the caller closes.

        With `make`, what is missing of it and of the root is made, durably.

        Raises:
            BadInput: a component is a symbolic link, or no directory.
        """
        if make:
            self.make_root(self.root)
        path, descriptor = self.root, os.open(self.root, _DIRECTORY)
        for name in _components(folder):
            path, above = path / name, descriptor
            try:
                if make:
                    self._make(path, above)
                descriptor = _open_below(path, above)
            finally:
                os.close(above)
        return descriptor

    def make_root(self, path: Path) -> None:
        """Makes the directory `path` and what is missing above it, durably. Links are followed up here."""
        if path.is_dir():
            return
        if path.parent != path:
            self.make_root(path.parent)
        above = os.open(path.parent, _DIRECTORY)
        try:
            self._make(path, above)
        finally:
            os.close(above)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "in the way", path)

    def _make(self, path: Path, above: int) -> None:
        if _mode(path, above) is None:
            with suppress(FileExistsError):  # another thread was faster
                self._files.make_directory(path, above)
            self._files.sync_directory(path.parent, above)


def open_file(path: Path, folder: int, flags: int = os.O_RDONLY) -> int:
    """The descriptor of a regular file, whose folder has the descriptor `folder`. Never blocks.

    Raises:
        BadInput: it is a symbolic link, a directory, or one of the files that are none (FIFO, device).
    """
    try:
        descriptor = os.open(
            path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
    except OSError:
        refuse_irregular(path, folder)
        raise
    try:
        check_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def refuse_irregular(path: Path, folder: int) -> None:
    """Raises BadInput, as `open_file` does, where something else than a regular file has that name."""
    mode = _mode(path, folder)
    if mode is not None:
        check_regular(path, mode)


def check_regular(path: Path, mode: int) -> None:
    """Raises BadInput, as `open_file` does, where `mode` is not that of a regular file."""
    _refuse_link(path, mode)
    if not stat.S_ISREG(mode):
        raise BadInput(one_line(f"{path} is not a regular file"))


def _open_below(path: Path, above: int) -> int:
    try:
        return os.open(path.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    except OSError:
        mode = _mode(path, above)
        if mode is not None and not stat.S_ISDIR(mode):
            _refuse_link(path, mode)
            raise BadInput(one_line(f"{path} is not a directory")) from None
        raise


def _mode(path: Path, folder: int) -> int | None:
    """The kind of file that has that name, without following a link; None if none has."""
    try:
        return os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _refuse_link(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise BadInput(one_line(f"{path} is a symbolic link: nothing below an export is reached through one"))


def _components(folder: str) -> list[str]:
    names = folder.split("/") if folder else []
    if not {"", ".", ".."}.isdisjoint(names):
        raise BadInput(one_line(f"{folder!r} is not a folder of an export"))
    return names
