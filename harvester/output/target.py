"""Where an export lives. All its state is in there, so that any machine can go on with it.

The commit protocol needs no more than `Target` has: files that appear whole and durable or not at all,
and a lock. Names are relative, with slashes; see `harvester.output.layout`.
"""

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from harvester.errors import BadInput, CannotFinishNow, TargetRefused
from harvester.events import one_line
from harvester.output.filesystem import FileSystem
from harvester.output.holder import Holder
from harvester.output.layout import COMMITS, STATE
from harvester.output.objects import is_address


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

    What fails is raised as CannotFinishNow, with the system's reason.
    """

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def opened_as(self) -> tuple[str, str]:
        """What another process opens: the place whose lock holds for this one, and a folder of it."""

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
        """Drafts of processes that died."""

    def sweep(self) -> None:
        """Deletes the leftovers. Only under the lock."""


def open_target(name: Path | str) -> Target:
    """The target of that name, as the user or another process gives it. Touches nothing yet.

    Raises:
        BadInput: it is an address, but not of an object store that can be used here.
    """
    if _MANGLED_ADDRESS.match(str(name)) and isinstance(name, Path):
        raise BadInput(one_line(f"{name} is no path: give the address of an object store as text"))
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

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


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
    """A directory of a local or network file system."""

    def __init__(self, path: Path | str, *, files: FileSystem | None = None) -> None:
        self._path = Path(path)
        self._files = files or FileSystem()

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def opened_as(self) -> tuple[str, str]:
        return self.name, ""  # the lock is the process's own, and none of its workers' business

    def ensure(self) -> None:
        with _translated(self._path, users_to_mend=True):
            if self._path.exists() and not self._path.is_dir():
                raise BadInput(one_line(f"{self._path} is a file: name a directory"))
            self._make_directory(self._path)
            if not os.access(self._path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "not writable")

    def within(self, folder: str) -> "LocalTarget":
        return LocalTarget(self._path / folder, files=self._files)

    @contextmanager
    def lock(self) -> Iterator[None]:
        path = self._path / STATE / "lock"
        with _translated(path, users_to_mend=True):
            self._make_directory(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with _translated(path):
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
        path = self._path / name
        with _translated(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def open(self, name: str) -> BinaryIO:
        path = self._path / name
        with _translated(path):
            return path.open("rb", buffering=1024**2)

    def put(self, name: str, data: bytes) -> None:
        draft = self.create(name)
        try:
            draft.write(data)
            draft.commit()
        except BaseException:
            draft.discard()
            raise

    def create(self, name: str) -> Draft:
        path = self._path / name
        with _translated(path):
            self._make_directory(path.parent)
            return _LocalDraft(path, self._files)

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        path, prefix = self._path / folder, f"{folder}/" if folder else ""
        with _translated(path):
            return sorted(
                (prefix + entry.name, entry.stat().st_size)
                for entry in _scan(path)
                if entry.is_file() and not _LEFTOVER.fullmatch(entry.name)
            )

    def delete(self, name: str) -> None:
        path = self._path / name
        with _translated(path):
            try:
                self._files.delete(path)
            except FileNotFoundError:
                return
            self._files.sync_directory(path.parent)

    def leftovers(self) -> list[str]:
        found = []
        with _translated(self._path):
            for folder in ("", f"{STATE}/", f"{COMMITS}/"):
                names = (entry.name for entry in _scan(self._path / folder))
                found += [folder + name for name in sorted(names) if _LEFTOVER.fullmatch(name)]
        return found

    def sweep(self) -> None:
        for name in self.leftovers():
            self.delete(name)

    def _make_directory(self, path: Path) -> None:
        """`path` and what is missing above it, durably."""
        if path.is_dir():
            return
        if path.parent != path:
            self._make_directory(path.parent)
        try:
            self._files.make_directory(path)
        except FileExistsError as error:
            if not path.is_dir():  # else another thread was faster
                raise NotADirectoryError(errno.ENOTDIR, "in the way", path) from error
        self._files.sync_directory(path.parent)


class _LocalDraft:
    """A temporary file beside the one that it is going to be."""

    def __init__(self, path: Path, files: FileSystem) -> None:
        self._path = path
        self._files = files
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        self._descriptor: int | None = files.create(self._temporary)
        self._open = True

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
                self._files.rename(self._temporary, self._path)
                self._open = False
                self._files.sync_directory(self._path.parent)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        with suppress(OSError):
            self._close()
        if self._open:
            self._open = False
            with suppress(OSError):
                self._files.delete(self._temporary)

    def _close(self) -> None:
        # A descriptor is closed once, even if closing fails: its number may be another file's by then.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        return str(msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder))
    except msgspec.DecodeError:
        return "another process"


def _scan(path: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            yield from entries
    except FileNotFoundError:
        return
