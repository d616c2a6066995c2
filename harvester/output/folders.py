"""Opens the folders below a directory by descriptor and without following symbolic links.

An export may have been made by somebody else, and a link in it could point to any file of the user. It is not
enough to check a path before it is used, because every system call resolves the path again. Therefore each
component is opened relative to its parent (``openat`` with O_NOFOLLOW), and files are opened, renamed and
deleted relative to the descriptor of their folder.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.errors import BadInput
from harvester.events import one_line

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FileSystem:
    """Writing system calls. They raise OSError. Directories are made with mode 0700 and files with 0600.

    A file is addressed by the descriptor of its `folder` and the last component of its path. The rest of the
    path is only used in messages and by tests, which make a disk fail here.
    """

    def make_directory(self, path: Path, folder: int) -> None:
        os.mkdir(path.name, 0o700, dir_fd=folder)

    def create(self, path: Path, folder: int) -> int:
        """Create a file and return its descriptor. Fails if the name exists, even as a symbolic link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path.name, flags, 0o600, dir_fd=folder)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of `data`, in several calls if the system writes less than it was given."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, old: Path, new: Path, folder: int) -> None:
        """Rename a file within `folder`. If `new` exists it is replaced; a symbolic link is not followed."""
        os.rename(old.name, new.name, src_dir_fd=folder, dst_dir_fd=folder)

    def sync_directory(self, path: Path, folder: int) -> None:
        """Make renames and deletions in a directory durable. `folder` is the descriptor of `path` itself."""
        os.fsync(folder)

    def delete(self, path: Path, folder: int) -> None:
        os.unlink(path.name, dir_fd=folder)

    def remove_directory(self, path: Path, folder: int) -> None:
        """Remove a directory. Fails if it is not empty."""
        os.rmdir(path.name, dir_fd=folder)


class Folders:
    """The folders below `root`, which may itself be a link. Methods raise OSError as the system calls do."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        self.root = root
        self._files = files

    @contextmanager
    def opened(self, folder: str, *, make: bool = False) -> Iterator[int]:
        """Open a folder as `open` does, and close its descriptor when the context is left."""
        descriptor = self.open(folder, make=make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, folder: str, *, make: bool = False) -> int:
        """Open a folder, such as ``generations/00001`` (``""`` is the root), and return its descriptor.

        The caller closes the descriptor. With `make`, missing directories are created, durably.

        Raises:
            BadInput: a component is a symbolic link or not a directory.
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

    def remove_empty(self, folder: str) -> None:
        """Remove a folder if it is empty. Never raises; the root stays."""
        above, _, name = folder.rpartition("/")
        if name:
            with suppress(OSError, BadInput), self.opened(above) as opened:
                self._files.remove_directory(self.root / folder, opened)

    def make_root(self, path: Path) -> None:
        """Create the directory `path` and its missing parents, durably. Links in this path are followed."""
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
    """Open the regular file `path`, whose folder has the descriptor `folder`. Never blocks.

    Raises:
        BadInput: it is a symbolic link, a directory, a FIFO or a device.
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
    """Raises BadInput, as `open_file` does, if something other than a regular file has that name."""
    mode = _mode(path, folder)
    if mode is not None:
        check_regular(path, mode)


def check_regular(path: Path, mode: int) -> None:
    """Raise BadInput, as `open_file` does, if `mode` is not that of a regular file."""
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
    """Return the mode of a file without following a link, or None if there is no such file."""
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
