"""A sync that is asked to stop while its disk or its server hangs, and the next one in this process."""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from harvester.errors import CannotFinishNow
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from tests.output.faulty import Operation, Recording, Stall, stopped_in
from tests.sync.worlds import LiveWorld, contents

pytestmark = pytest.mark.anyio

GENERATION = Path("generations", "00002")
STATE = GENERATION / ".harvester"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Scene:
    """A synced export, a project that has changed since, and what the next sync makes of it."""

    def __init__(self, folder: Path) -> None:
        self.world = LiveWorld(20, seed=3)
        self._folder = folder

    async def begin(self) -> None:
        dice = random.Random(1)
        await self.world.export(self._folder / "start")
        self.world.change_at_random(dice)
        await self.world.sync(self._folder / "start")
        self.world.change_at_random(dice)
        self.world.broken = set()
        self.clean, disk = self.copy("clean"), Recording()
        await self.world.sync(self.clean, disk=disk)
        self.operations = len(disk.done)

    def copy(self, name: str) -> Path:
        """The export as it was before the sync."""
        return Path(shutil.copytree(self._folder / "start", self._folder / name))

    async def stopped(
        self, out: Path, matches: Callable[[int, Operation], bool]
    ) -> tuple[Exception | None, list[Operation]]:
        """What ends a sync that is asked to stop in that operation, and what the disk had done by then.

        The next sync must end as a clean one does, and nothing may be written by the first after its end.
        """
        stall = Stall()
        disk = Recording(stall.at(matches))
        ended = await stopped_in(stall, partial(self.world.sync, out, disk=disk))
        done = list(disk.done)
        await self.world.sync(out)
        assert disk.done == done, "the first sync has written after its end"
        assert contents(out) == contents(self.clean)
        return ended, done


async def begun(scene: Scene, out: Path) -> None:
    """A sync that was stopped when it had frozen what it would fetch."""
    stopping = anyio.Event()

    def stop(event: str, fields: object) -> None:
        if event == "changes.frozen":
            stopping.set()

    with pytest.raises(CannotFinishNow):
        await scene.world.sync(out, stopping=stopping, on_event=stop)
    assert (out / STATE / "plan.json").exists()


def ends_in(what: str, path: Path) -> Callable[[int, Operation], bool]:
    """Whether an operation is of that name, and of a file, or of a draft of it, below the export."""

    def matches(_: int, operation: Operation) -> bool:
        return (
            operation.name == what
            and operation.path.parent.parts[-len(path.parent.parts) :] == path.parent.parts
            and path.name in operation.path.name
        )

    return matches


@pytest.mark.parametrize("rows", ["listed.ndjson.zst", "plan.ndjson.zst"])
async def test_a_stop_in_the_fsync_of_the_plans_rows_waits_for_it(tmp_path: Path, rows: str) -> None:
    """Of the rows that are listed, and of those that have changed."""
    scene = Scene(tmp_path)
    await scene.begin()
    ended, done = await scene.stopped(scene.copy("out"), ends_in("sync", STATE / rows))
    assert isinstance(ended, CannotFinishNow)
    assert any(ends_in("rename", STATE / rows)(0, operation) for operation in done)


async def test_a_stop_in_the_deletion_of_a_generations_plan_waits_for_it(tmp_path: Path) -> None:
    """The change feed of an unfinished sync is lost, so that its plan must be made anew."""
    scene, out = Scene(tmp_path), tmp_path / "out"
    await scene.begin()
    await begun(scene, scene.copy("out"))
    (out / GENERATION / "changes-00000.ndjson").unlink()
    ended, _ = await scene.stopped(out, ends_in("delete", STATE / "plan.json"))
    assert isinstance(ended, CannotFinishNow)


@pytest.mark.parametrize("first", [STATE / "plan.json", GENERATION / "changes-00000.ndjson"])
async def test_a_stop_in_dropping_a_generation_waits_for_it(tmp_path: Path, first: Path) -> None:
    """The listing of an unfinished sync is lost, so that all of it is dropped, file by file."""
    scene, out = Scene(tmp_path), tmp_path / "out"
    await scene.begin()
    await begun(scene, scene.copy("out"))
    (out / STATE / "listed.ndjson.zst").unlink()
    ended, _ = await scene.stopped(out, ends_in("delete", first))
    assert isinstance(ended, CannotFinishNow)


async def test_wherever_a_disk_hangs_a_stop_waits_and_the_next_sync_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each disk operation in turn; with no grace, so that all that can be cancelled is."""
    monkeypatch.setattr("harvester.run.GRACE", 0.0)
    scene = Scene(tmp_path)
    await scene.begin()
    for number in range(1, scene.operations + 1, 3):
        out = scene.copy(str(number))
        await scene.stopped(out, lambda now, _, number=number: now == number)
    assert verify(LocalTarget(out)).ok
