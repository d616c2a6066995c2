"""The place that holds an export: a directory, or objects in an object store.

A target holds the whole state of its export, so that any machine can resume it. The commit protocol needs
only what `Target` offers: files that appear complete and durable or not at all, and a lock. File names are
relative and use slashes, see `harvester.output.layout`.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from harvester.errors import BadInput, CannotFinishNow, TargetRefused
from harvester.events import one_line
from harvester.output.drafts import Draft, Files, LocalDraft, LocalPartial, Partial, draft_of, is_partial
from harvester.output.folders import FileSystem, Folders, check_regular, open_file, refuse_irregular
from harvester.output.layout import COMMITS, STATE, check_size, is_own
from harvester.output.lease import OnLost, nobody_to_tell
from harvester.output.lock_owner import LockOwner
from harvester.output.store_address import is_address


class Target(Files, Protocol):
    """A place for an export. Methods block, and may be called from several threads.

    They raise CannotFinishNow, with the system's reason, if an operation fails. They raise BadInput if a name
    of the layout belongs to something that is not a regular file, such as a symbolic link or a FIFO.
    """

    @property
    def name(self) -> str:
        """The name of the target in messages."""

    @property
    def opened_as(self) -> tuple[str, str, str]:
        """What another process opens, to work for this one while it holds the lock.

        The name of the locked target, the folder in it, and the lock's token, "" if writes do not check it.
        """

    def is_there(self) -> bool:
        """Whether there is such a place, or none has to be made."""

    def ensure(self) -> None:
        """Create the target if it does not exist. Raises BadInput if it cannot be written to."""

    def within(self, folder: str) -> "Target":
        """Return a folder of this target as a target. The lock of this target also covers it."""

    def lock(self, on_lost: OnLost = nobody_to_tell) -> AbstractContextManager[None]:
        """Hold the lock until the context is left or the process dies.

        Where a lock can be lost, `on_lost` is called in another thread soon after that. From then on each
        write raises TargetRefused, as it does once the lock has been released.

        Raises TargetRefused, naming the owner, if another process holds it.
        """

    def hurry(self) -> None:
        """Wait no longer for a place that is away for a while: raise what that ends with, from now on."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it does not exist.

        Raises BadInput if it is larger than `layout.MOST_AT_ONCE`.
        """

    def put(self, name: str, data: bytes) -> None:
        """Write a whole file, atomically and durably."""

    def partial(self, name: str) -> Partial:
        """Return the unfinished file of that name, which may be there since an earlier run, or a new one."""

    def size_of(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None if it does not exist."""

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        """Return the files directly in `folder` with their sizes in bytes, sorted by name, without drafts."""

    def delete(self, name: str) -> None:
        """Delete a file durably. Does nothing if it does not exist."""

    def prune(self, folder: str) -> None:
        """Delete a folder with the layout of an export and those in it, if they are empty. Never raises."""

    def leftovers(self) -> list[str]:
        """Return the drafts, of files in the layout, that processes left when they died."""

    def drafts(self, folder: str) -> Iterator[str]:
        """Yield the names of all drafts and partial files directly in a folder, whatever they are of."""

    def sweep(self) -> None:
        """Delete the leftovers. Only under the lock."""


def open_target(name: Path | str, token: str = "") -> Target:
    """Return the target with the name that the user or another process gives. Does no input or output.

    A process that works for the owner of the lock opens it with the owner's `token`, see `Target.opened_as`.

    Raises:
        BadInput: `name` is empty, or an address, but not of an object store that is supported here.
    """
    if not str(name):  # as from an unset variable of a shell: it would stand for the current directory
        raise BadInput("the name of a directory is empty: name one, or . for the current one")
    if _MANGLED_ADDRESS.match(str(name)) and isinstance(name, Path):
        raise BadInput("a path is no address: give the address of an object store as text")
    if is_address(str(name)):
        from harvester.output.objectstore import ObjectStoreTarget

        return ObjectStoreTarget(str(name), token)
    return LocalTarget(name)


_MANGLED_ADDRESS = re.compile(r"(s3|gs|az):/")  # pathlib.Path turns "s3://bucket" into "s3:/bucket"

# Errors that mean that the user gave a wrong path. Running again later would not help.
_USERS_TO_MEND = {
    errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP,
    errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS,
}  # fmt: skip


@contextmanager
def _translated(path: Path, *, users_to_mend: bool = False) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        if number == errno.ENOTDIR and path.parent.is_file():
            raise BadInput(one_line(f"{path.parent} is a file: name a directory")) from error
        reason = os.strerror(number) if number else str(error)
        kind = BadInput if users_to_mend and number in _USERS_TO_MEND else CannotFinishNow
        raise kind(one_line(f"{path}: {reason}")) from error


class LocalTarget:
    """A directory in a local or network file system, or a `folder` below it.

    The directory itself may be a symbolic link. Below it no link is followed: a link, or anything else that
    is not a regular file, under a name of the layout raises BadInput.
    """

    def __init__(self, path: Path | str, *, files: FileSystem | None = None, folder: str = "") -> None:
        self._root = Path(path)
        self._files = files or FileSystem()
        self._folders = Folders(self._root, self._files)
        self._folder = folder

    @property
    def name(self) -> str:
        return str(self._root / self._folder)

    @property
    def opened_as(self) -> tuple[str, str, str]:
        # The parent process holds the lock; its worker processes do not check it.
        return str(self._root), self._folder, ""

    def is_there(self) -> bool:
        return os.path.exists(self._root)  # False where that cannot be told: `ensure` says why

    def ensure(self) -> None:
        with _translated(self._root, users_to_mend=True):
            if self._root.exists() and not self._root.is_dir():
                raise BadInput(one_line(f"{self._root} is a file: name a directory"))
            self._folders.make_root(self._root)
            if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "not writable")

    def within(self, folder: str) -> "LocalTarget":
        return LocalTarget(self._root, files=self._files, folder=self._below(folder))

    @contextmanager
    def lock(self, on_lost: OnLost = nobody_to_tell) -> Iterator[None]:
        folder, path = self._place(f"{STATE}/lock")
        with _translated(path, users_to_mend=True), self._folders.opened(folder, make=True) as opened:
            descriptor = open_file(path, opened, os.O_RDWR | os.O_CREAT)
        try:
            with _translated(path):
                if os.fstat(descriptor).st_nlink > 1:  # writing to it would change the other file
                    raise BadInput(one_line(f"{path} is a hard link to another file: delete it"))
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise TargetRefused(f"{one_line(self.name)} is in use by {_holder(descriptor)}") from None
                os.ftruncate(descriptor, 0)
                self._files.write(descriptor, msgspec.json.encode(LockOwner.this_process()))
            try:
                yield
            finally:
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
        finally:
            # The file is kept: deleting it could delete a lock that another process has just taken.
            os.close(descriptor)

    def hurry(self) -> None:
        """Do nothing: a file system does not say that it is away, it blocks."""

    def read(self, name: str) -> bytes | None:
        folder, path = self._place(name)
        with _translated(path):
            try:
                with self._folders.opened(folder) as opened:
                    descriptor = open_file(path, opened)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:
                check_size(path, os.fstat(descriptor).st_size)
                return file.read()

    def open(self, name: str) -> BinaryIO:
        folder, path = self._place(name)
        with _translated(path), self._folders.opened(folder) as opened:
            return open(open_file(path, opened), "rb", buffering=1024**2)

    def put(self, name: str, data: bytes) -> None:
        draft = self.create(name)
        try:
            draft.write(data)
            draft.commit()
        except BaseException:
            draft.discard()
            raise

    def create(self, name: str) -> Draft:
        folder, path = self._place(name)
        with _translated(path):
            return LocalDraft(path, self._folders.open(folder, make=True), self._files, _translated)

    def partial(self, name: str) -> Partial:
        folder, path = self._place(name)
        with _translated(path):
            return LocalPartial(path, self._folders.open(folder, make=True), self._files, _translated)

    def size_of(self, name: str) -> int | None:
        folder, path = self._place(name)
        with _translated(path):
            try:
                with self._folders.opened(folder) as opened:
                    status = os.stat(path.name, dir_fd=opened, follow_symlinks=False)
            except FileNotFoundError:
                return None
        check_regular(path, status.st_mode)
        return status.st_size

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        found = []
        for name, status in self._entries(folder):
            if is_own(name):  # if it were skipped, the file would seem to be missing
                check_regular(self._place(name)[1], status.st_mode)
            if stat.S_ISREG(status.st_mode) and not draft_of(name.rpartition("/")[2]):
                found.append((name, status.st_size))
        return sorted(found)

    def delete(self, name: str) -> None:
        folder, path = self._place(name)
        with _translated(path):
            try:
                with self._folders.opened(folder) as opened:
                    refuse_irregular(path, opened)
                    self._files.delete(path, opened)
                    self._files.sync_directory(path.parent, opened)
            except FileNotFoundError:
                return

    def prune(self, folder: str) -> None:
        for below in (COMMITS, STATE, ""):
            self._folders.remove_empty(self._below("/".join(filter(None, (folder, below)))))

    def leftovers(self) -> list[str]:
        found = []
        for folder in ("", STATE, COMMITS):
            found += sorted(name for name, _ in self._entries(folder) if _is_own_draft(name))
        return found

    def drafts(self, folder: str) -> Iterator[str]:
        below, prefix = self._below(folder), f"{folder}/" if folder else ""
        with (
            _translated(self._root / below),
            suppress(FileNotFoundError),
            self._folders.opened(below) as opened,
            os.scandir(opened) as entries,
        ):
            for entry in entries:
                if draft_of(entry.name) or is_partial(entry.name):
                    yield prefix + entry.name

    def sweep(self) -> None:
        for name in self.leftovers():
            self.delete(name)

    def _entries(self, folder: str) -> list[tuple[str, os.stat_result]]:
        """Return the entries of `folder` without following links; none if the folder does not exist."""
        below, prefix, found = self._below(folder), f"{folder}/" if folder else "", []
        with (
            _translated(self._root / below),
            suppress(FileNotFoundError),
            self._folders.opened(below) as opened,
        ):
            for name in os.listdir(opened):
                with suppress(FileNotFoundError):  # deleted in between
                    found.append((prefix + name, os.stat(name, dir_fd=opened, follow_symlinks=False)))
        return found

    def _below(self, folder: str) -> str:
        return "/".join(filter(None, (self._folder, folder)))

    def _place(self, name: str) -> tuple[str, Path]:
        """Return the folder of a file, relative to the root, and the path of the file."""
        folder, _, file = name.rpartition("/")
        if file in ("", ".", ".."):
            raise BadInput(one_line(f"{name!r} is not a file of an export"))
        folder = self._below(folder)
        return folder, self._root / folder / file


def _is_own_draft(name: str) -> bool:
    folder, slash, file = name.rpartition("/")
    draft = draft_of(file)
    return draft is not None and is_own(folder + slash + draft)


def _holder(descriptor: int) -> str:
    try:
        return str(msgspec.json.decode(os.pread(descriptor, 4096, 0), type=LockOwner))
    except (ValueError, RecursionError):
        return "another process"
