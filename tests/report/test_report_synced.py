"""A report of an export that was synced shows what one of a new export would show."""

import random
import re
from pathlib import Path

import pytest

from harvester.output.target import LocalTarget
from harvester.report.measure import measure
from harvester.report.page import write_page
from harvester.settings import Format
from tests.sync.worlds import LiveWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("seed", range(3))
async def test_rows_and_labels_are_as_of_the_last_sync(tmp_path: Path, seed: int) -> None:
    """Whatever was edited, removed or moved since; read from compressed parts."""
    world, dice = LiveWorld(rows=60, seed=seed), random.Random(seed)
    format = Format(rows_per_part=10, compress="zstd")
    await world.export(tmp_path / "kept", format=format)
    for _ in range(3):
        world.change_at_random(dice)
        await world.sync(tmp_path / "kept")
    await world.export(tmp_path / "fresh", format=format)
    kept, fresh = measure(LocalTarget(tmp_path / "kept")), measure(LocalTarget(tmp_path / "fresh"))
    assert kept.syncs > 0
    assert kept.objects is not None
    assert kept.objects.records > 100
    assert 0 < kept.objects.missing.unanswered < kept.objects.missing.asked
    for field in ("rows", "rows_by", "objects", "classifications"):
        assert getattr(kept, field) == getattr(fresh, field)
    assert kept.failures.by_error == fresh.failures.by_error
    page = write_page(kept)
    assert "as of sync" in page
    assert [one.generation for one in kept.history] == list(range(kept.syncs + 1))
    assert all(one.ended_at and one.ended_at.endswith("+00:00") for one in kept.history)
    assert len(re.findall(r"\d\d\d\d-\d\d-\d\d \d\d:\d\d UTC", page)) == 1 + len(kept.history)
    assert not kept.history[0].changes
    assert all(one.changes for one in kept.history[1:])
