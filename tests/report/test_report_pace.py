"""The pace of a run, which the manifest keeps for the report."""

from pathlib import Path

import pytest

from harvester.output.manifest import read_manifest
from harvester.output.target import LocalTarget
from harvester.settings import Format
from tests.sync.worlds import LiveWorld


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_pace_is_kept_short(tmp_path: Path, anyio_backend: str) -> None:
    """However many parts there are; its last point is the run's end, and it only rises."""
    done = await LiveWorld(rows=150).export(tmp_path / "out", format=Format(rows_per_part=1))
    manifest = read_manifest(LocalTarget(tmp_path / "out"))
    assert manifest is not None
    assert len(manifest.parts) > 150
    pace = manifest.run["pace"]
    assert 30 <= len(pace) <= 120
    assert pace == sorted(pace)
    assert pace[-1][1] == done.counts["harvested"]
    assert "pace" not in done.run
