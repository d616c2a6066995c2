"""A compaction that is killed or meets a broken disk, anywhere, ends with the same bytes when run again."""

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harvester.errors import CannotFinishNow, first_of
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from tests.output.faulty import Killed, Operation, Recording, failing_at, killed_at
from tests.sync.worlds import LiveWorld, contents, empty_folders, live

pytestmark = pytest.mark.anyio

Before = Callable[[int, Operation], None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Compacted:
    """A synced export, and what a compaction makes of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.world = LiveWorld(30, seed=3)

    async def begin(self) -> None:
        """Make it: with a former compaction, too."""
        start, rng = self._folder / "start", random.Random(1)
        await self.world.export(start)
        for number in range(3):
            self.world.change_at_random(rng)
            await self.world.sync(start)
            if number == 0:
                await self.world.compact(start)
        self.live = live(start)
        disk = Recording()
        await self.world.compact(self._copy("clean"), disk=disk)
        self.operations, self.clean = len(disk.done), contents(self._folder / "clean")
        self.removals = {n for n, done in enumerate(disk.done, 1) if done.name == "remove_directory"}

    async def broken(self, number: int, before: Before) -> BaseException | None:
        """What ends a compaction on that disk. The export is whole, and the next one ends as a clean one."""
        out, ended = self._copy(str(number)), None
        try:
            await self.world.compact(out, disk=Recording(before))
        except (Exception, Killed, BaseExceptionGroup) as error:
            ended = first_of(error)
        assert live(out) == self.live, "live records are gone"
        problems = verify(LocalTarget(out)).problems
        assert all(problem.remedy == "compact" for problem in problems if "left over" not in problem.what)
        await self.world.compact(out)
        assert contents(out) == self.clean, number
        assert not empty_folders(out), number
        assert verify(LocalTarget(out)).ok
        shutil.rmtree(out)
        return ended

    def _copy(self, name: str) -> Path:
        shutil.copytree(self._folder / "start", self._folder / name)
        return self._folder / name


async def test_killed_anywhere_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Before every third disk operation and every removal of a folder; live records can be read between."""
    scene = Compacted(tmp_path)
    await scene.begin()
    moments = sorted({*range(1, scene.operations + 1, 3), *scene.removals})
    ends = [await scene.broken(n, killed_at(n)) for n in moments]
    assert sum(isinstance(end, Killed) for end in ends) > 0.8 * len(ends)


async def test_a_disk_that_fails_anywhere_is_told_of_and_the_next_compaction_ends_it(tmp_path: Path) -> None:
    """One line says why; nothing of it is left in the bytes."""
    scene = Compacted(tmp_path)
    await scene.begin()
    for number in sorted({*range(2, scene.operations + 1, 9), *scene.removals}):
        ended = await scene.broken(number, failing_at(number, errno.ENOSPC))
        assert ended is None or (isinstance(ended, CannotFinishNow) and "No space" in ended.message)


async def test_a_sync_or_an_export_after_a_kill_goes_on_from_what_counts(tmp_path: Path) -> None:
    """Whatever the compaction has left, they end with the records of a new export, and sound."""
    scene = Compacted(tmp_path)
    await scene.begin()
    scene.world.world.edit(rows=scene.world.labels()[:3], added=2)
    scene.world.broken = set()
    for number in range(4, scene.operations + 1, scene.operations // 8):
        out = scene._copy(f"killed-{number}")
        with pytest.raises((Killed, BaseExceptionGroup)):
            await scene.world.compact(out, disk=Recording(killed_at(number)))
        await scene.world.export(out)
        assert live(out) == scene.live
        await scene.world.sync(out)
        fresh = tmp_path / "fresh"
        if not fresh.exists():
            await scene.world.export(fresh)
        assert live(out) == live(fresh)
        assert verify(LocalTarget(out)).ok
