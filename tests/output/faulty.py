"""Disks that fail, processes that are killed, and power that is lost, under a real directory."""

import errno
import io
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from anyio.to_thread import run_sync as in_thread

from harvester.errors import CannotFinishNow
from harvester.output.folders import FileSystem

OPERATIONS = (
    "make_directory",
    "create",
    "write",
    "sync",
    "close",
    "rename",
    "sync_directory",
    "delete",
    "remove_directory",
)


class Killed(BaseException):
    """The process is gone: nothing that it does from here on happens."""


@dataclass
class Operation:
    """One call: `path` is the file's temporary or final path, or the directory's."""

    name: str
    path: Path
    new: Path | None = None


class Recording(FileSystem):
    """Writes down what is done, and runs `before` ahead of it, which may raise."""

    def __init__(self, before: Callable[[int, Operation], None] = lambda number, operation: None) -> None:
        self.done: list[Operation] = []
        self.before = before
        self.open: dict[int, Path] = {}

    def _do(self, name: str, path: Path, *arguments: Any, new: Path | None = None) -> Any:
        operation = Operation(name, path, new)
        self.before(len(self.done) + 1, operation)
        self.done.append(operation)
        return getattr(super(), name)(*arguments)

    def make_directory(self, path: Path, folder: int) -> None:
        self._do("make_directory", path, path, folder)

    def create(self, path: Path, folder: int) -> int:
        descriptor: int = self._do("create", path, path, folder)
        self.open[descriptor] = path
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        self._do("write", self.open.get(descriptor, Path("lock")), descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._do("sync", self.open[descriptor], descriptor)

    def close(self, descriptor: int) -> None:
        self._do("close", self.open[descriptor], descriptor)

    def rename(self, old: Path, new: Path, folder: int) -> None:
        self._do("rename", old, old, new, folder, new=new)

    def sync_directory(self, path: Path, folder: int) -> None:
        assert os.path.samestat(os.fstat(folder), path.stat()), "another directory is synced"
        self._do("sync_directory", path, path, folder)

    def delete(self, path: Path, folder: int) -> None:
        self._do("delete", path, path, folder)

    def remove_directory(self, path: Path, folder: int) -> None:
        self._do("remove_directory", path, path, folder)


def failing_at(number: int, code: int) -> Callable[[int, Operation], None]:
    """The operation with that number, counted from 1, fails once with the error `code`."""
    spent = False

    def before(now: int, operation: Operation) -> None:
        nonlocal spent
        if now == number and not spent:
            spent = True
            raise OSError(code, os.strerror(code))

    return before


def killed_at(number: int) -> Callable[[int, Operation], None]:
    """From the operation with that number on, nothing happens any more."""

    def before(now: int, operation: Operation) -> None:
        if now >= number:
            raise Killed

    return before


class Stall:
    """Where a thread waits, and goes on when it is released."""

    def __init__(self) -> None:
        self.reached, self.released = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self.released.wait()

    def at(self, matches: Callable[[int, Operation], bool]) -> Callable[[int, Operation], None]:
        """The first disk operation that matches waits here; `matches` gets its number, too."""

        def before(now: int, operation: Operation) -> None:
            if not self.reached.is_set() and matches(now, operation):
                self.wait()

        return before


class StalledFile(io.BytesIO):
    """What a server sends, of which nothing comes until it is released. `ended`: nobody reads it any more."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.stall, self.ended = Stall(), threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.stall.wait()
        return super().read(size)

    def close(self) -> None:
        super().close()
        self.ended.set()


async def stopped_in(stall: Stall, call: Callable[..., Awaitable[object]]) -> Exception | None:
    """Has `call` asked to stop while it waits in `stall`, and says what it raises: it must not end before.

    If it never comes there, it may end as it likes.
    """
    stopping, ended = anyio.Event(), list[Exception | None]()

    async def run() -> None:
        try:
            await call(stopping=stopping)
            ended.append(None)
        except CannotFinishNow as error:
            ended.append(error)
        finally:
            stall.reached.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await in_thread(stall.reached.wait)
        if not ended:
            stopping.set()
            await all_that_can_happen()
            early = bool(ended)
            stall.released.set()
            assert not early, "the call has ended, and its thread goes on writing"
    return ended[0]


async def all_that_can_happen() -> None:
    """Until every task waits for something."""
    for _ in range(50):  # mostly enough, and quicker than to be asked about
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()


class Volatile(Recording):
    """A disk with a cache: what is not synced may be lost with the power, each thing by itself.

    `forgets` names an operation that the disk takes for done and does not do: ``sync``, ``sync_directory``.
    """

    def __init__(
        self, before: Callable[[int, Operation], None] = lambda number, operation: None, *, forgets: str = ""
    ) -> None:
        super().__init__(before)
        self.forgets = forgets
        self._unsynced: set[int] = set()  # inodes of files with data in the cache
        self._pending: list[tuple[Path, Callable[[], None]]] = []  # path, how to undo

    def create(self, path: Path, folder: int) -> int:
        descriptor = super().create(path, folder)
        self._pending.append((path, lambda: path.unlink(missing_ok=True)))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        super().write(descriptor, data)
        self._unsynced.add(os.fstat(descriptor).st_ino)

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        if self.forgets != "sync":
            self._unsynced.discard(os.fstat(descriptor).st_ino)

    def make_directory(self, path: Path, folder: int) -> None:
        super().make_directory(path, folder)
        self._pending.append((path, lambda: shutil.rmtree(path, ignore_errors=True)))

    def rename(self, old: Path, new: Path, folder: int) -> None:
        former = new.read_bytes() if new.exists() else None
        super().rename(old, new, folder)

        def undo() -> None:
            if new.exists():
                new.rename(old)
            if former is not None:
                new.write_bytes(former)

        self._pending.append((new, undo))

    def delete(self, path: Path, folder: int) -> None:
        former = path.read_bytes() if path.exists() else None
        super().delete(path, folder)
        if former is not None:
            self._pending.append((path, lambda: path.write_bytes(former) and None))

    def sync_directory(self, path: Path, folder: int) -> None:
        super().sync_directory(path, folder)
        if self.forgets != "sync_directory":
            self._pending = [entry for entry in self._pending if entry[0].parent != path]

    def lose_power(self, root: Path, loses: Callable[[Path], bool]) -> None:
        """What is in the cache is asked about, piece by piece; what is lost is undone, data becomes zeros."""
        for path, undo in reversed(self._pending):
            if path.parent.exists() and loses(path):
                undo()
        for file in sorted(root.rglob("*")):
            if file.is_file() and file.stat().st_ino in self._unsynced and loses(file):
                file.write_bytes(bytes(file.stat().st_size))


def install(number: int, code: str, kill: bool) -> None:
    """Breaks the disk under this process's every target, for tests of the installed command.

    The operation with that number fails with the errno of that name; with `kill`, the process dies there.
    """
    count = 0

    def broken(name: str) -> Callable[..., Any]:
        original = getattr(FileSystem, name)

        def operation(self: FileSystem, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                if kill:
                    os.kill(os.getpid(), 9)
                error = getattr(errno, code)
                raise OSError(error, os.strerror(error))
            return original(self, *arguments)

        return operation

    for name in OPERATIONS:
        setattr(FileSystem, name, broken(name))
