"""Files that are being written: drafts, and partial files that are written over several runs.

A draft is of no use once its process has ended. A partial file stays for the next run, as a hidden file
beside its final name. A second hidden file holds its facts: a few bytes, by which its writer knows what it is
a part of. It is renamed when it is complete and synced.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from harvester.output.folders import FileSystem, open_file, refuse_irregular

Translated = Callable[[Path], AbstractContextManager[None]]  # in it, OSErrors become ours

_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")
_PARTIAL = re.compile(r"\..+\.part(\.json)?")
_PIECE = 1024**2
_MOST_FACTS = 64 * 1024  # bytes


class Draft(Protocol):
    """A file that is being written. It is invisible to readers until it is committed."""

    def write(self, data: bytes) -> None:
        """Append `data`. Not buffered, so callers should pass large pieces."""

    def commit(self) -> None:
        """Make the file durable under its name, replacing an earlier one. On error the draft is deleted."""

    def discard(self) -> None:
        """Delete the draft. Never raises. Does nothing if the draft was committed or discarded before."""


class Files(Protocol):
    """A place for the files of a part: a target, or beside it."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading in pieces."""

    def create(self, name: str) -> Draft:
        """Start a file that is written in pieces."""


class Partial(Protocol):
    """An unfinished file. Methods block. They raise CannotFinishNow, with the reason, if the disk fails."""

    def kept(self) -> tuple[bytes, int] | None:
        """Return the facts and the size in bytes of what an earlier run has left; None if it is of no use."""

    def begin(self, facts: bytes) -> None:
        """Empty the file, and keep these facts with it."""

    def pieces(self) -> Iterator[bytes]:
        """Yield what is in the file so far."""

    def write(self, data: bytes) -> None:
        """Append `data`."""

    def commit(self) -> None:
        """Make the file durable under its name, replacing an earlier one."""

    def close(self) -> None:
        """Close it. What is in it stays for a later run, where the target can keep it. Never raises."""

    def discard(self) -> None:
        """Delete it. Never raises."""


def is_partial(name: str) -> bool:
    """Return whether a file's name is that of a partial file or of its facts."""
    return _PARTIAL.fullmatch(name) is not None


def draft_of(name: str) -> str | None:
    """Return the name of the file that a file is a draft of; None if it is no draft."""
    found = _DRAFT.fullmatch(name)
    return found[1] if found else None


class LocalDraft:
    """A temporary file in the same folder, which is renamed when it is committed."""

    def __init__(self, path: Path, folder: int, files: FileSystem, translated: Translated) -> None:
        """`folder` is the descriptor of the folder of `path`. The draft closes it."""
        self._translated = translated
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
        with self._translated(self._path):
            self._files.write(self._descriptor, data)

    def commit(self) -> None:
        assert self._descriptor is not None
        try:
            with self._translated(self._path):
                # After a failed fsync the kernel may have dropped the data, and a second fsync would then
                # succeed without writing it. So the draft is deleted, and its part is harvested again.
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
        # A descriptor is closed only once, even if closing fails: its number may already be in use again.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.close(descriptor)


class LocalPartial:
    """A partial file in a directory.

    Unsynced data may be lost if the machine goes down, although the file has kept its size. So a file that
    was left before this boot of the machine is not used. Where the system tells no id of the boot (macOS),
    this cannot be seen, and the file is used.
    """

    def __init__(
        self,
        path: Path,
        folder: int,
        files: FileSystem,
        translated: Translated,
    ) -> None:
        """`folder` is the descriptor of the folder of `path`, which is closed with the partial file."""
        self._path = path
        self._folder = folder
        self._files = files
        self._translated = translated
        self._part = path.with_name(f".{path.name}.part")
        self._facts = path.with_name(f".{path.name}.part.json")
        self._descriptor: int | None = None
        self._open = True

    def kept(self) -> tuple[bytes, int] | None:
        with self._translated(self._part):
            try:
                with open(open_file(self._facts, self._folder), "rb") as file:
                    boot, _, facts = file.read(_MOST_FACTS).partition(b"\n")
                self._descriptor = open_file(self._part, self._folder, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                return None
            status = os.fstat(self._descriptor)
            # A second name of the file may be one of the user's own.
            if status.st_nlink > 1 or boot != _boot() or not facts:
                self._close_file()
                return None
            return facts, status.st_size

    def begin(self, facts: bytes) -> None:
        with self._translated(self._part):
            self._close_file()
            self._delete()
            refuse_irregular(self._path, self._folder)
            self._write_facts(_boot() + b"\n" + facts)
            self._descriptor = self._files.create(self._part, self._folder)

    def pieces(self) -> Iterator[bytes]:
        assert self._descriptor is not None
        at = 0
        with self._translated(self._part):
            while data := os.pread(self._descriptor, _PIECE, at):
                at += len(data)
                yield data

    def write(self, data: bytes) -> None:
        assert self._descriptor is not None
        with self._translated(self._part):
            self._files.write(self._descriptor, data)

    def commit(self) -> None:
        assert self._descriptor is not None
        with self._translated(self._path):
            try:
                self._files.sync(self._descriptor)
            except OSError:
                # The kernel may have dropped the data: a later fsync of the same file would succeed.
                self.discard()
                raise
            self._close_file()
            self._files.rename(self._part, self._path, self._folder)
            self._files.delete(self._facts, self._folder)
            self._files.sync_directory(self._path.parent, self._folder)
        self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            with suppress(OSError):
                self._close_file()
            os.close(self._folder)

    def discard(self) -> None:
        if self._open:
            with suppress(OSError):
                self._close_file()
                self._delete()
            self.close()

    def _write_facts(self, data: bytes) -> None:
        descriptor = self._files.create(self._facts, self._folder)
        try:
            self._files.write(descriptor, data)
        finally:
            self._files.close(descriptor)

    def _delete(self) -> None:
        for path in (self._facts, self._part):  # without its facts the other is of no use
            with suppress(FileNotFoundError):
                self._files.delete(path, self._folder)

    def _close_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.close(descriptor)


def _boot() -> bytes:
    """Return the id of this boot of the machine; empty where the system tells none (only Linux does)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""
