"""An export and its syncs hold what a new export would hold."""

import random
from pathlib import Path

import pytest

from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.settings import Format, Selection
from tests.sync.worlds import LiveWorld, listing, live

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


WAYS = {
    "all": (Selection(), Format(rows_per_part=10)),
    "whole rows, compressed": (
        Selection(), Format(rows_per_part=7, emit=("rows", "objects"), compress="zstd")
    ),
    "one stage": (Selection(workflow_graph_node_title_eq="Review"), Format(rows_per_part=10)),
    "some label statuses": (
        Selection(label_statuses=("LABELLED", "REVIEWED")), Format(rows_per_part=10, emit=("objects",))
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(4))
async def test_export_and_syncs_hold_the_records_of_a_new_export(tmp_path: Path, seed: int, way: str) -> None:
    """After each of several rounds of random edits: the same live records, listing and counts, and sound."""
    world, dice = LiveWorld(rows=60, seed=seed), random.Random(seed)
    selection, format = WAYS[way]
    world.broken = set(dice.sample(world.labels(), 2))
    await world.export(tmp_path / "kept", selection=selection, format=format)
    for number in range(3):
        world.change_at_random(dice)
        done = await world.sync(tmp_path / "kept")
        fresh = tmp_path / f"fresh{number}"
        anew = await world.export(fresh, selection=selection, format=format)
        assert live(tmp_path / "kept") == live(fresh)
        assert done.counts == anew.counts
        assert listing(tmp_path / "kept") == listing(fresh)
        assert [str(problem) for problem in verify(LocalTarget(tmp_path / "kept")).problems] == []
