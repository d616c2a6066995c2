"""The system calls that writing into a directory takes: the one seam where tests make a disk fail."""

import os
from pathlib import Path


class FileSystem:
    """Raises OSError, as the system calls do. Directories are 0700 and files 0600, whatever the umask.

    A file is named by the descriptor of its `folder` and the last component of its path: the rest of the
    path is for messages, and for tests. See `harvester.output.folders`.
    """

    def make_directory(self, path: Path, folder: int) -> None:
        os.mkdir(path.name, 0o700, dir_fd=folder)

    def create(self, path: Path, folder: int) -> int:
        """A descriptor of a new file; neither an existing file nor a symbolic link is ever opened."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path.name, flags, 0o600, dir_fd=folder)

    def write(self, descriptor: int, data: bytes) -> None:
        """Writes all of `data`, in as many calls as the system wants."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, old: Path, new: Path, folder: int) -> None:
        """Both are in `folder`. What is called `new` is replaced, be it a symbolic link."""
        os.rename(old.name, new.name, src_dir_fd=folder, dst_dir_fd=folder)

    def sync_directory(self, path: Path, folder: int) -> None:
        """`folder` is the descriptor of `path` itself."""
        os.fsync(folder)

    def delete(self, path: Path, folder: int) -> None:
        os.unlink(path.name, dir_fd=folder)
