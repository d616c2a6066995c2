"""A sync that is killed or meets a broken disk, anywhere, ends with the same bytes when it is run again."""

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import CannotFinishNow, first_of
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.plan.changes import SyncOptions
from tests.output.faulty import Killed, Operation, Recording, failing_at, killed_at
from tests.sync.worlds import LiveWorld, contents, live

pytestmark = pytest.mark.anyio

Before = Callable[[int, Operation], None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Scene:
    """A synced export, and a project that has changed again since."""

    def __init__(self, folder: Path, options: SyncOptions = SyncOptions()) -> None:
        self._options = options
        self.world = LiveWorld(40, seed=3)
        self._folder = folder

    async def begin(self, **edits: Any) -> None:
        """With these `edits` of the project last."""
        dice = random.Random(1)
        await self.world.export(self._folder / "start")
        for _ in range(2):
            self.world.change_at_random(dice)
            await self.world.sync(self._folder / "start")
        self.world.change_at_random(dice)
        self.world.world.edit(**edits)
        self.world.broken = set()
        clean = self._copy("clean")
        disk = await self._on(clean, lambda number, operation: None)
        self.operations = len(disk.done)
        self.clean, self.live = contents(clean), live(clean)

    async def broken(self, name: str, before: Before) -> BaseException | None:
        """What ends a sync on that disk. The next one must end as a clean one does."""
        out, ended = self._copy(name), None
        try:
            await self._on(out, before)
        except (Exception, Killed, BaseExceptionGroup) as error:
            ended = first_of(error)
        named = (out / "manifest.json").read_bytes().count(b'"number"')
        if ended and named == 2:
            assert live(out) == live(self._folder / "start"), "half a generation shows"
        await self.world.sync(out, options=self._options)
        assert contents(out) == self.clean, name
        assert verify(LocalTarget(out)).ok
        return ended

    async def _on(self, out: Path, before: Before) -> Recording:
        disk = Recording(before)
        await self.world.sync(out, options=self._options, disk=disk)
        return disk

    def _copy(self, name: str) -> Path:
        out = self._folder / name / "out"
        out.parent.mkdir()
        shutil.copytree(self._folder / "start", out)
        return out


async def test_killed_anywhere_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Before each disk operation in turn; the live records are the old ones until they are the new ones."""
    scene = Scene(tmp_path)
    await scene.begin()
    ends = [await scene.broken(str(n), killed_at(n)) for n in range(1, scene.operations + 1, 2)]
    assert sum(isinstance(end, Killed) for end in ends) > 0.8 * len(ends)


@pytest.mark.parametrize("options", [SyncOptions(), SyncOptions(keep_names=True)], ids=str)
async def test_killed_anywhere_after_the_ontology_has_changed_it_ends_with_the_same_bytes(
    tmp_path: Path, options: SyncOptions
) -> None:
    """Which rows hold what has changed is found again, or was frozen: either way they are the same."""
    scene = Scene(tmp_path, options)
    await scene.begin(ontology=[{"do": "rename", "node": "Weather", "to": "Sky"}])
    assert b'"Sky"' in b"".join(
        data for name, data in scene.clean.items() if name.startswith("generations/00003/classifications-")
    )
    ends = [await scene.broken(str(n), killed_at(n)) for n in range(1, scene.operations + 1, 4)]
    assert sum(isinstance(end, Killed) for end in ends) > 0.8 * len(ends)


async def test_a_disk_that_fails_anywhere_is_told_of_and_the_next_sync_goes_on(tmp_path: Path) -> None:
    """One line says why; nothing of it is left in the bytes."""
    scene = Scene(tmp_path)
    await scene.begin()
    for number in range(2, scene.operations + 1, 5):
        ended = await scene.broken(str(number), failing_at(number, errno.ENOSPC))
        assert ended is None or (isinstance(ended, CannotFinishNow) and "No space" in ended.message)
