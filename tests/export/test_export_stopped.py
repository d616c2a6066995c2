"""An export that is asked to stop while its disk or its server hangs, and the next one in this process."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync as in_thread

from harvester.errors import CannotFinishNow
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.plan.drift import Comparison, compared
from harvester.settings import Format, Limits
from tests.export.platform import Platform, contents, files, manifest
from tests.output.faulty import Recording, Stall, StalledFile, stopped_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def export_on(disk: Recording, target: Path, **options: Any) -> None:
    """Exports ten rows, two parts, on `disk`; with an edited row where `settle` is asked for."""
    platform, limits = Platform(10), Limits(bundle_size=2, concurrency=1)
    if options.get("settle"):
        platform.edited["data-0002"] = "2024-02-02"
    await platform.export(target, format=Format(rows_per_part=5), limits=limits, disk=disk, **options)


async def test_a_stop_in_the_fsync_of_the_plans_rows_waits_for_it(tmp_path: Path) -> None:
    """The call ends when the disk has the rows; nothing is written after it, and the next call completes."""
    stall = Stall()
    disk = Recording(stall.at(lambda _, done: done.name == "sync" and "plan.ndjson" in done.path.name))
    ended = await stopped_in(stall, partial(export_on, disk, tmp_path))
    assert isinstance(ended, CannotFinishNow)
    assert ended.message == "stopped: 0 of 2 parts are kept"
    written = len(disk.done)
    await export_on(Recording(), tmp_path)
    assert len(disk.done) == written
    assert verify(LocalTarget(tmp_path)).ok


@pytest.mark.parametrize(("settle", "grace"), [(False, 0.0), (True, 15.0)])
async def test_wherever_a_disk_hangs_a_stop_waits_and_the_next_call_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settle: bool, grace: float
) -> None:
    """In each disk operation in turn: of planning, of harvesting, of settling, of the lock."""
    monkeypatch.setattr("harvester.run.GRACE", grace)
    start, clean = tmp_path / "start", tmp_path / "clean"
    if settle:
        await export_on(Recording(), start)
        shutil.copytree(start, clean)
    whole = Recording()
    await export_on(whole, clean, settle=settle)
    for number in range(1, len(whole.done) + 1):
        out, stall = tmp_path / f"out-{number}", Stall()
        if settle:
            shutil.copytree(start, out)
        disk = Recording(stall.at(lambda now, _, number=number: now == number))
        await stopped_in(stall, partial(export_on, disk, out, settle=settle))
        written = len(disk.done)
        await export_on(Recording(), out, settle=settle)
        assert len(disk.done) == written, f"operation {number}"
        assert files(out) == files(clean), f"operation {number}"
        assert manifest(out)["digest"] == manifest(clean)["digest"], f"operation {number}"


async def test_a_listing_that_hangs_is_left_behind_and_writes_nothing(tmp_path: Path) -> None:
    """The call ends at once, the next one completes; what comes of the first listing then goes nowhere."""
    platform, stopping, spools = Platform(50), anyio.Event(), list[StalledFile]()

    def hangs(body: bytes) -> StalledFile:
        spools.append(StalledFile(body))
        return spools[-1]

    platform.spooled = hangs
    async with anyio.create_task_group() as tasks:

        async def export() -> None:
            with pytest.raises(CannotFinishNow, match="stopped"):
                await platform.export(tmp_path, stopping=stopping)

        tasks.start_soon(export)
        while not spools:
            await anyio.lowlevel.checkpoint()
        await in_thread(spools[0].stall.reached.wait)
        stopping.set()
    platform.spooled = Platform(0).spooled
    assert (await platform.export(tmp_path)).counts["harvested"] == 40
    before = contents(tmp_path)
    spools[0].stall.released.set()
    await in_thread(spools[0].ended.wait)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("compared_already", [False, True])
async def test_a_comparison_in_which_a_run_is_stopped_is_waited_for_and_settles_nothing(
    tmp_path: Path, compared_already: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grace is over: it ends without a manifest, and the export is as it was."""
    platform, stall, ended = Platform(50), Stall(), list[bool]()
    await platform.export(tmp_path)
    platform.edited["data-0002"] = "2024-02-02"

    @contextmanager
    def watched(*sides: Any) -> Iterator[Comparison]:
        try:
            if not compared_already:
                stall.wait()
            with compared(*sides) as comparison:
                if compared_already:
                    stall.wait()
                yield comparison
        finally:
            ended.append(True)

    monkeypatch.setattr("harvester.run.compared", watched)
    monkeypatch.setattr("harvester.run.GRACE", 0.0)
    before = contents(tmp_path)
    stopped = await stopped_in(stall, partial(platform.export, tmp_path, settle=True))
    assert isinstance(stopped, CannotFinishNow)
    assert ended == [True]
    assert contents(tmp_path) == before
    assert (await platform.export(tmp_path)).already_complete
