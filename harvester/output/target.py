"""Where an export lives. All its state is in there, so that any machine can go on with it.

The commit protocol needs no more than `Target` has: files that appear whole and durable or not at all,
and a lock. Names are relative, with slashes; see `harvester.output.layout`.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from harvester.errors import BadInput, CannotFinishNow, TargetRefused
from harvester.events import one_line
from harvester.output.filesystem import FileSystem
from harvester.output.folders import Folders, check_regular, open_file, refuse_irregular
from harvester.output.holder import Holder
from harvester.output.layout import COMMITS, STATE, is_own
from harvester.output.store_client import is_address


class Draft(Protocol):
    """A file in the making, seen by nobody until it is committed."""

    def write(self, data: bytes) -> None:
        """Appends `data`. Unbuffered: give it large pieces."""

    def commit(self) -> None:
        """Makes the file durable under its name, in place of a former one; gone if it raises."""

    def discard(self) -> None:
        """Drops the draft. Never raises; does nothing once the draft is committed or discarded."""


class Target(Protocol):
    """A place for an export. Blocking, and safe to use from several threads.

    What fails is raised as CannotFinishNow, with the system's reason; what has a name of ours and cannot be
    a file of ours (a symbolic link, a FIFO) as BadInput.
    """

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def opened_as(self) -> tuple[str, str]:
        """What another process opens: the place whose lock holds for this one, and a folder of it."""

    def is_there(self) -> bool:
        """Whether there is such a place, or none has to be made."""

    def ensure(self) -> None:
        """Makes the place if need be. Raises BadInput where nothing can be written there."""

    def within(self, folder: str) -> "Target":
        """A folder of this place as a place of its own. The lock on this one holds for it too."""

    def lock(self) -> AbstractContextManager[None]:
        """Keeps others out until it is left or the process dies. TargetRefused says who holds it."""

    def read(self, name: str) -> bytes | None:
        """All of a file; None if there is none."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read in pieces."""

    def put(self, name: str, data: bytes) -> None:
        """Writes a whole file, atomic and durable."""

    def create(self, name: str) -> Draft:
        """Begins a file that is written in pieces."""

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        """The files right in `folder`, with their sizes in bytes, sorted by name. No leftovers."""

    def delete(self, name: str) -> None:
        """Deletes a file, durably; does nothing if there is none."""

    def leftovers(self) -> list[str]:
        """Drafts of processes that died, of files that `harvester.output.layout` names."""

    def sweep(self) -> None:
        """Deletes the leftovers. Only under the lock."""


def open_target(name: Path | str) -> Target:
    """The target of that name, as the user or another process gives it. Touches nothing yet.

    Raises:
        BadInput: it is an address, but not of an object store that can be used here.
    """
    if _MANGLED_ADDRESS.match(str(name)) and isinstance(name, Path):
        raise BadInput("a path is no address: give the address of an object store as text")
    if is_address(str(name)):
        from harvester.output.objectstore import ObjectStoreTarget

        return ObjectStoreTarget(str(name))
    return LocalTarget(name)


_MANGLED_ADDRESS = re.compile(r"(s3|gs|az):/")  # what becomes of an address that is taken for a path

# Errors that waiting does not mend: the user gave a path that cannot be.
_USERS_TO_MEND = {
    errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP,
    errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM,
}  # fmt: skip

_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")


@contextmanager
def _translated(path: Path, *, users_to_mend: bool = False) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        reason = os.strerror(number) if number else str(error)
        kind = BadInput if users_to_mend and number in _USERS_TO_MEND else CannotFinishNow
        raise kind(one_line(f"{path}: {reason}")) from error


class LocalTarget:
    """A directory of a local or network file system, or a `folder` below it.

    The directory may be a symbolic link. Below it none is followed: one that has a name of ours is told
    as BadInput, and so is what is no regular file.
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
    def opened_as(self) -> tuple[str, str]:
        # The lock is the process's own, and none of its workers' business.
        return str(self._root), self._folder

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
    def lock(self) -> Iterator[None]:
        folder, path = self._place(f"{STATE}/lock")
        with _translated(path, users_to_mend=True), self._folders.opened(folder, make=True) as opened:
            descriptor = open_file(path, opened, os.O_RDWR | os.O_CREAT)
        try:
            with _translated(path):
                if os.fstat(descriptor).st_nlink > 1:  # it is written in place: the other file would be, too
                    raise BadInput(one_line(f"{path} is a hard link to another file: delete it"))
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise TargetRefused(f"{one_line(self.name)} is in use by {_holder(descriptor)}") from None
                os.ftruncate(descriptor, 0)
                self._files.write(descriptor, msgspec.json.encode(Holder.this_process()))
            try:
                yield
            finally:
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
        finally:
            # The file stays: who deletes it could delete the lock that another process has just taken.
            os.close(descriptor)

    def read(self, name: str) -> bytes | None:
        folder, path = self._place(name)
        with _translated(path):
            try:
                with self._folders.opened(folder) as opened:
                    descriptor = open_file(path, opened)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:
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
            return _LocalDraft(path, self._folders.open(folder, make=True), self._files)

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        found = []
        for name, status in self._entries(folder):
            if is_own(name):  # passed over, it would be taken for missing
                check_regular(self._place(name)[1], status.st_mode)
            if stat.S_ISREG(status.st_mode) and not _DRAFT.fullmatch(name.rpartition("/")[2]):
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

    def leftovers(self) -> list[str]:
        found = []
        for folder in ("", STATE, COMMITS):
            found += sorted(name for name, _ in self._entries(folder) if _is_own_draft(name))
        return found

    def sweep(self) -> None:
        for name in self.leftovers():
            self.delete(name)

    def _entries(self, folder: str) -> list[tuple[str, os.stat_result]]:
        """What is right in `folder`, links as they are. Nothing if there is no such folder."""
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
        """The folder below the root that a file is in, and its path."""
        folder, _, file = name.rpartition("/")
        if file in ("", ".", ".."):
            raise BadInput(one_line(f"{name!r} is not a file of an export"))
        folder = self._below(folder)
        return folder, self._root / folder / file


class _LocalDraft:
    """A temporary file beside the one that it is going to be."""

    def __init__(self, path: Path, folder: int, files: FileSystem) -> None:
        """`folder` is the descriptor of the folder of `path`, and closed in the end."""
        self._path = path
        self._folder = folder
        self._files = files
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            refuse_irregular(path, folder)
            self._descriptor: int | None = files.create(self._temporary, folder)
        except BaseException:
            os.close(folder)
            raise
        self._open = True
        self._renamed = False

    def write(self, data: bytes) -> None:
        assert self._descriptor is not None
        with _translated(self._path):
            self._files.write(self._descriptor, data)

    def commit(self) -> None:
        assert self._descriptor is not None
        try:
            with _translated(self._path):
                # After a failed fsync the kernel may have dropped what it could not write, and a second
                # fsync would succeed without it: the draft goes, the part is harvested again.
                self._files.sync(self._descriptor)
                self._close()
                self._files.rename(self._temporary, self._path, self._folder)
                self._renamed = True
                self._files.sync_directory(self._path.parent, self._folder)
        finally:
            self.discard()

    def discard(self) -> None:
        if not self._open:
            return
        self._open = False
        with suppress(OSError):
            self._close()
        if not self._renamed:
            with suppress(OSError):
                self._files.delete(self._temporary, self._folder)
        os.close(self._folder)

    def _close(self) -> None:
        # A descriptor is closed once, even if closing fails: its number may be another file's by then.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.close(descriptor)


def _is_own_draft(name: str) -> bool:
    folder, slash, file = name.rpartition("/")
    draft = _DRAFT.fullmatch(file)
    return draft is not None and is_own(folder + slash + draft[1])


def _holder(descriptor: int) -> str:
    try:
        return str(msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder))
    except msgspec.DecodeError:
        return "another process"
