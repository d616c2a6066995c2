"""What was listed last, after an export and after syncs."""

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.settings import Format, Selection
from tests.output.test_output_plan import spoil
from tests.sync.worlds import LiveWorld, contents, listing, live

pytestmark = pytest.mark.anyio

NAME = "listing.ndjson.zst"
LAST = f"generations/00002/{NAME}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def lines(target: Path) -> dict[str, dict[str, Any]]:
    """What was listed last, by data hash."""
    with zstandard.ZstdDecompressor().stream_reader(listing(target)) as reader:
        return {line["data_hash"]: line for line in map(json.loads, reader.read().splitlines())}


def problems(target: Path) -> list[str]:
    return [str(problem) for problem in verify(LocalTarget(target)).problems]


CHANGES: list[dict[str, Any]] = [
    {"workflow_graph_node": {"uuid": "u", "title": "Somewhere else"}},
    {"annotation_task_status": "RETURNED"},
    {"label_status": "REVIEWED_TWICE"},
    {"backing_item_uuid": "another"},
    {"created_at": "2020-01-01"},
    {"client_metadata": {"weather": "rain"}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "unlabelled"])
async def test_what_only_the_listing_says_needs_no_label_row(
    out: Path, change: dict[str, Any], labelled: bool
) -> None:
    """A generation brings it up to date, as a new export would have it, and no label row is asked for."""
    world = LiveWorld(40, branches=(), unlabelled=0.2)
    selection = Selection(client_metadata=True)
    await world.export(out, selection=selection)
    item = next(item for item in world.items() if bool(item.get("label_hash")) is labelled)
    world.changed[item["data_hash"]] = change
    world.asked = []
    done = await world.sync(out)
    assert (world.asked, done.is_unchanged, done.generation) == ([], False, 1)
    assert done.changes["edited"] == done.changes["added"] == done.changes["removed"] == 0
    await world.export(out.with_name("fresh"), selection=selection)
    assert listing(out) == listing(out.with_name("fresh"))
    before, now = lines(out.with_name("fresh")), lines(out)
    assert now[item["data_hash"]] == before[item["data_hash"]]
    assert (await world.sync(out)).is_unchanged
    assert problems(out) == []


@pytest.mark.parametrize("size", ["width", "height", "number_of_frames"])
async def test_a_size_edits_the_row_whose_unit_record_holds_it(out: Path, size: str) -> None:
    """It is fetched again."""
    world = LiveWorld(30, branches=(), unlabelled=0.0)
    await world.export(out)
    label_hash = world.labels()[0]
    world.change(label_hash, **{size: 77})
    world.asked = []
    assert (await world.sync(out)).changes["edited"] == 1
    assert world.asked == [label_hash]


async def test_failed_rows_are_so_listed_until_they_come(out: Path) -> None:
    """By the export, and by each sync for the whole of it."""
    world = LiveWorld(30, branches=(), unlabelled=0.0)
    bad = world.labels()[:2]
    world.broken = set(bad)
    await world.export(out)

    def failed() -> set[str]:
        return {line["label_hash"] for line in lines(out).values() if line["outcome"] == "failed"}

    assert failed() == set(bad)
    world.broken = {bad[0]}
    await world.sync(out)
    assert failed() == {bad[0]}
    assert [line["outcome"] for line in lines(out).values()].count("harvested") == 29


async def synced_twice(out: Path) -> LiveWorld:
    world = LiveWorld(40, branches=())
    await world.export(out)
    for _ in range(2):
        world.world.edit(rows=world.labels()[:3])
        await world.sync(out)
    return world


async def test_of_syncs_only_the_last_keeps_its_listing(out: Path) -> None:
    """Beside that of the export itself."""
    await synced_twice(out)
    assert {name for name in contents(out) if name.endswith(NAME)} == {NAME, LAST}
    assert problems(out) == []


@pytest.mark.parametrize("name", [NAME, LAST])
@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped"])
@pytest.mark.parametrize("way", ["export", "sync"])
async def test_a_damaged_listing_is_named_and_mended(out: Path, name: str, damage: str, way: str) -> None:
    """By an export and by a sync alike, without a label row."""
    world = await synced_twice(out)
    whole = contents(out)
    spoil(out / name, damage)
    assert problems(out) == [f"{name}: missing or damaged"]
    world.asked = []
    await (world.export(out) if way == "export" else world.sync(out))
    assert (contents(out), world.asked, problems(out)) == (whole, [], [])


async def test_rows_listed_twice_are_the_same_to_an_export_and_to_a_sync(out: Path) -> None:
    """Whichever place comes first in the plan counts, also once the places change."""
    format = Format(rows_per_part=10)
    world = LiveWorld(40, branches=(), unlabelled=0.1)
    await world.export(out, format=format)
    labels = world.labels()
    twice = [item | {"data_title": "0 first"} for item in world.items() if item["label_hash"] == labels[0]]
    twice += [item | {"data_title": "~ last"} for item in world.items() if item["label_hash"] == labels[1]]
    twice += [item | {"branch_name": "a"} for item in world.items() if item["label_hash"] == labels[2]]
    world.more = twice
    for number in range(2):
        done = await world.sync(out)
        fresh = out.with_name(f"fresh{number}")
        anew = await world.export(fresh, format=format)
        assert listing(out) == listing(fresh)
        assert live(out) == live(fresh)
        assert done.counts == anew.counts
        assert done.counts["listed"] == 40
        assert problems(out) == []
        world.more = []
