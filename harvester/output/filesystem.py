"""The system calls that write to a directory, in one class, so that tests can make a disk fail."""

import os
from pathlib import Path


class FileSystem:
    """Writing system calls. They raise OSError. Directories are made with mode 0700 and files with 0600.

    A file is addressed by the descriptor of its `folder` and the last component of its path, see
    `harvester.output.folders`. The rest of the path is only used in messages and by tests.
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
