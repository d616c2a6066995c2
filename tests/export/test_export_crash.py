"""A whole export on a platform in memory, on disks that fail and under kills at every operation."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import CannotFinishNow, first_of
from harvester.output.target import LocalTarget
from harvester.settings import Format, Limits
from tests.export.platform import Platform, files, manifest
from tests.output.faulty import Killed, Operation, Recording, failing_at, killed_at

pytestmark = pytest.mark.anyio

Before = Callable[[int, Operation], None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def export_on(disk: Recording, target: Path, **options: Any) -> None:
    """Exports ten rows, two parts, on `disk`; with an edited row where `settle` is asked for."""
    platform = Platform(10)
    platform.broken = set(options.pop("broken", ()))
    if options.get("settle"):
        platform.edited["data-0002"] = "2024-02-02"
    limits = Limits(bundle_size=2, concurrency=1)
    await platform.export(target, format=Format(rows_per_part=5), limits=limits, disk=disk, **options)


async def fails_everywhere(
    start: Path | None,
    clean: Path,
    broken: Callable[[int], Before],
    **options: Any,
) -> int:
    """Runs with the N-th operation broken, for N = 1, 2, ... until a run is clean; each is run again and must
    end as `clean`. Says how many were broken."""
    for number in range(1, 1000):
        out = clean.with_name(f"out-{number}")
        if start:
            shutil.copytree(start, out)
        try:
            await export_on(Recording(broken(number)), out, **options)
        except (Killed, Exception, BaseExceptionGroup) as error:
            ended = first_of(error)
            assert isinstance(ended, CannotFinishNow | Killed), ended
            if isinstance(ended, CannotFinishNow):
                assert not LocalTarget(out).leftovers()
        else:
            return number - 1
        await export_on(Recording(), out, **options)
        assert files(out) == files(clean), f"operation {number}"
        assert manifest(out)["digest"] == manifest(clean)["digest"], f"operation {number}"
        assert not LocalTarget(out).leftovers()
    raise AssertionError("it is never clean")


WAYS: dict[str, Callable[[int], Before]] = {
    "full": lambda number: failing_at(number, errno.ENOSPC),
    "killed": killed_at,
}


@pytest.mark.parametrize("way", WAYS)
async def test_wherever_an_export_is_broken_off_it_goes_on_to_the_same_bytes(
    tmp_path: Path, way: str
) -> None:
    """A full disk, or a kill, at every operation in turn."""
    await export_on(Recording(), tmp_path / "clean")
    assert await fails_everywhere(None, tmp_path / "clean", WAYS[way]) > 30


@pytest.mark.parametrize("way", WAYS)
async def test_wherever_settling_is_broken_off_it_goes_on_to_the_same_bytes(tmp_path: Path, way: str) -> None:
    """Also between the new plan and the commit records that are sealed anew for it."""
    start, clean = tmp_path / "start", tmp_path / "clean"
    await export_on(Recording(), start)
    shutil.copytree(start, clean)
    await export_on(Recording(), clean, settle=True)
    assert files(clean) != files(start)
    assert await fails_everywhere(start, clean, WAYS[way], settle=True) > 20


@pytest.mark.parametrize("way", WAYS)
async def test_wherever_a_retry_of_failed_rows_is_broken_off_it_goes_on_to_the_same_bytes(
    tmp_path: Path, way: str
) -> None:
    """Also between the new files of a part and its new commit record."""
    start, clean = tmp_path / "start", tmp_path / "clean"
    await export_on(Recording(), start, broken=("label-0001", "label-0008"))
    await export_on(Recording(), clean)
    assert files(clean) != files(start)
    assert await fails_everywhere(start, clean, WAYS[way], retry_failed=True) > 20
