"""The files of a data set while it is written: each with its size and checksum."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from harvester.output.drafts import Draft
from harvester.output.folders import FileSystem
from harvester.output.target import LocalTarget
from harvester.schema import Count

_PIECE = 1024**2  # bytes that are buffered for a file


class WrittenFile(msgspec.Struct, frozen=True):
    """A file of a data set. `name` is relative to its directory, with slashes."""

    name: str
    bytes: Count
    sha256: str


class Output:
    """The directory that a format writes into."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: dict[str, WrittenFile] = {}
        self._target = LocalTarget(directory, files=_SyncedAtTheEnd())

    @property
    def files(self) -> list[WrittenFile]:
        """All files so far, by name."""
        return [file for _, file in sorted(self._files.items())]

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Make the file `name`, whose folders are made as needed. It is there once the context is left.

        Raises CannotFinishNow if it cannot be written.
        """
        draft = self._target.create(name)
        hashed = _HashedDraft(draft)
        try:
            with io.BufferedWriter(cast(io.RawIOBase, hashed), _PIECE) as file:
                yield cast(BinaryIO, file)
            draft.commit()
        finally:
            draft.discard()
        self._files[name] = WrittenFile(name, hashed.bytes, hashed.sha256())

    def put(self, name: str, data: bytes) -> None:
        """Make a file at once."""
        with self.create(name) as file:
            file.write(data)

    def adopt(self, name: str) -> WrittenFile:
        """Count a file that was made in `directory` by other means, such as a hard link. Reads all of it."""
        with self._target.open(name) as file:
            found = hashlib.file_digest(cast(Any, file), "sha256")
            size = os.fstat(file.fileno()).st_size
        self._files[name] = WrittenFile(name, size, found.hexdigest())
        return self._files[name]


class _SyncedAtTheEnd(FileSystem):
    """Does not make each file durable: the whole directory is, before it gets its name."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Path, folder: int) -> None:
        pass


class _HashedDraft(io.RawIOBase):
    """Writes into a draft, and computes the sha256 of what is written."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._hash = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._draft.write(piece)
        self._hash.update(piece)
        self.bytes += len(piece)
        return len(piece)

    def sha256(self) -> str:
        return self._hash.hexdigest()
