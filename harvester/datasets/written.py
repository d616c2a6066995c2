"""The files of a data set while it is written: each with its size and checksum."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from harvester.datasets.file_list import FILES, FileList, FileTotals, WrittenFile, file_list
from harvester.output.drafts import Draft, Files
from harvester.output.folders import FileSystem
from harvester.output.target import LocalTarget

_PIECE = 1024**2  # bytes that are buffered for a file


class Output:
    """What a format writes into. Made by `output_in`.

    `directory` is where its files are, None if they are not on this machine.
    """

    def __init__(self, place: Files, files: FileList, directory: Path | None) -> None:
        self.directory = directory
        self._files = files
        self._place = place

    def put_list(self) -> FileTotals:
        """Write the list of all files, once all are written. Return what it says in all."""
        number = size = 0
        with self._hashed(FILES) as (stream, hashed):
            for file in self._files:
                stream.write(msgspec.json.encode(file) + b"\n")
                number += 1
                size += file.bytes
        return FileTotals(number, size, hashed.sha256())

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Make the file `name`, whose folders are made as needed. It is there once the context is left.

        Raises CannotFinishNow if it cannot be written.
        """
        with self._hashed(name) as (file, hashed):
            yield file
        self._files.add(WrittenFile(name, hashed.bytes, hashed.sha256()))

    @contextmanager
    def _hashed(self, name: str) -> Iterator[tuple[BinaryIO, "_HashedDraft"]]:
        draft = self._place.create(name)
        hashed = _HashedDraft(draft)
        try:
            with io.BufferedWriter(cast(io.RawIOBase, hashed), _PIECE) as file:
                yield cast(BinaryIO, file), hashed
            draft.commit()
        finally:
            draft.discard()

    def put(self, name: str, data: bytes) -> None:
        """Make a file at once."""
        with self.create(name) as file:
            file.write(data)

    def link_or_copy(self, name: str, source: BinaryIO, file: str, folder: int) -> WrittenFile:
        """Make a file of one that is open as `source`: a hard link if possible, else a copy.

        `file` is its name in the open `folder`.
        """
        if not self._link(name, file, folder):
            with self._hashed(name) as (copy, hashed):
                shutil.copyfileobj(source, copy, _PIECE)
            written = WrittenFile(name, hashed.bytes, hashed.sha256())
        else:
            with self._place.open(name) as made:
                found = hashlib.file_digest(cast(Any, made), "sha256")
                written = WrittenFile(name, os.fstat(made.fileno()).st_size, found.hexdigest())
        self._files.add(written)
        return written

    def _link(self, name: str, file: str, folder: int) -> bool:
        if self.directory is None:
            return False
        made = self.directory / name
        made.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, made, src_dir_fd=folder, follow_symlinks=False)
        except OSError:  # another disk, or one that has no links
            return False
        return True

    def make_folder(self, name: str) -> None:
        """Make a folder even if nothing will be in it. An object store has none."""
        if self.directory is not None:
            (self.directory / name).mkdir(parents=True, exist_ok=True)


@contextmanager
def output_in(place: Path | Files) -> Iterator[Output]:
    """Open the output into a directory, or into another place."""
    with file_list() as files:
        if isinstance(place, Path):
            yield Output(LocalTarget(place, files=_SyncedAtTheEnd()), files, place)
        else:
            yield Output(place, files, None)


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
