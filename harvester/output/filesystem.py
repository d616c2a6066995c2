"""The system calls that writing into a directory takes: the one seam where tests make a disk fail."""

import os
from pathlib import Path


class FileSystem:
    """Raises OSError, as the system calls do. Directories are 0700 and files 0600, whatever the umask."""

    def make_directory(self, path: Path) -> None:
        os.mkdir(path, 0o700)

    def create(self, path: Path) -> int:
        """A descriptor of a new file; neither an existing file nor a symbolic link is ever opened."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def write(self, descriptor: int, data: bytes) -> None:
        """Writes all of `data`, in as many calls as the system wants."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def delete(self, path: Path) -> None:
        os.unlink(path)
