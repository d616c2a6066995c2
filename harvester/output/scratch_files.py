"""Files of a part that are kept beside the target for a while. They have no names, so a kill leaves none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile, gettempdir
from typing import IO, BinaryIO

from harvester.errors import CannotFinishNow
from harvester.events import one_line
from harvester.output.drafts import Draft


class ScratchFiles:
    """Temporary files by name, until `close`. Not for several threads at once."""

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}

    def create(self, name: str) -> Draft:
        """Start a file."""
        with temporary():
            file = self._files[name] = TemporaryFile()  # noqa: SIM115  # closed by `close`
        return _ScratchDraft(file)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading from its beginning. One file is read at a time."""
        descriptor = os.dup(self._files[name].fileno())
        os.lseek(descriptor, 0, os.SEEK_SET)
        return open(descriptor, "rb", buffering=1024**2)

    def close(self) -> None:
        """Close all files, which deletes them."""
        for file in self._files.values():
            file.close()


class _ScratchDraft:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        with temporary():
            self._file.write(data)

    def commit(self) -> None:
        with temporary():
            self._file.flush()

    def discard(self) -> None:
        """Do nothing: `ScratchFiles.close` deletes the file."""


@contextmanager
def temporary() -> Iterator[None]:
    """Name the directory of temporary files in the error of an operation there."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotFinishNow(one_line(f"{gettempdir()}: {reason}")) from error
