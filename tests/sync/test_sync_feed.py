"""What a sync fetches, what its feed tells, and how it ends."""

import gzip
import json
from pathlib import Path
from unittest import mock

import duckdb
import msgspec
import pytest

from harvester.errors import BadInput, TargetRefused, Unsound
from harvester.events import Counters
from harvester.labels.wire import PlanRow
from harvester.live import live_records
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.plan import drift
from harvester.plan.changes import changes_between
from harvester.settings import Format
from tests.sync.worlds import LiveWorld, contents, feed, live, whats

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "sync.md"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def test_the_feed_tells_what_was_added_edited_removed_and_moved(out: Path) -> None:
    """One line a change, in the order of label hashes, with where the row came from and went to."""
    world = LiveWorld(40, branches=(), unlabelled=0.0)
    await world.export(out)
    edited, removed, moved, both = world.labels()[:4]
    world.world.edit(rows=[edited, both], removed=[removed], added=1)
    added = world.labels()[-1]
    for label_hash in (moved, both):
        world.move(label_hash, "Somewhere else")
    done = await world.sync(out)
    lines = feed(out, 1)
    assert done.changes == {"added": 1, "edited": 2, "removed": 1, "moved": 2}
    assert whats(lines) == sorted(
        [
            ("added", added), ("edited", edited), ("edited", both), ("removed", removed), ("moved", moved),
            ("moved", both),
        ]
    )  # fmt: skip
    assert [line["label_hash"] for line in lines] == sorted(line["label_hash"] for line in lines)
    by_what = {line["change"]: line for line in lines if line["label_hash"] != both}
    assert by_what["moved"]["to_stage"] == "Somewhere else"
    assert by_what["moved"]["from_stage"] not in (None, "Somewhere else")
    assert by_what["edited"]["from_last_edited_at"] != by_what["edited"]["to_last_edited_at"]
    assert by_what["removed"]["to_last_edited_at"] is None
    assert by_what["added"]["from_last_edited_at"] is None
    assert {line["generation"] for line in lines} == {1}


async def test_only_what_changed_is_fetched(out: Path) -> None:
    """Rows added or edited are asked for, once; rows that moved or went are not."""
    world = LiveWorld(40, branches=(), unlabelled=0.0)
    await world.export(out)
    edited, removed, moved = world.labels()[:3]
    world.world.edit(rows=[edited], removed=[removed], added=1)
    world.move(moved, "Somewhere else")
    world.asked = []
    await world.sync(out)
    assert sorted(world.asked) == sorted([edited, world.labels()[-1]])


@pytest.mark.parametrize("drifts", [False, True])
async def test_what_is_edited_while_a_sync_runs_is_told(
    out: Path, drifts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a listing that is not the same to the byte as the one that was frozen is compared with it."""
    compared = mock.Mock(wraps=drift.compared)
    monkeypatch.setattr("harvester.run.compared", compared)
    world = LiveWorld(40, branches=(), unlabelled=0.0)
    await world.export(out)
    one, other = world.labels()[:2]
    world.world.edit(rows=[one])
    compared.reset_mock()
    if drifts:
        world.before_answer = lambda: world.world.edit(rows=[other])
    done = await world.sync(out)
    assert done.drift is not None
    assert done.drift.named["edited"] == [other] * drifts
    assert compared.call_count == drifts


async def test_a_bundle_is_as_large_as_it_can_be_from_the_first(out: Path) -> None:
    """What a row weighs is known from the export: its sync need not begin with one row at a time."""
    world = LiveWorld(40, branches=(), unlabelled=0.0)
    await world.export(out)
    world.world.edit(rows=world.labels()[:5])
    counters = Counters()
    await world.sync(out, counters=counters)
    assert counters.requests == 1


async def test_where_nothing_has_changed_nothing_is_added(out: Path) -> None:
    """No generation, no file, and the second of two syncs finds nothing either."""
    world = LiveWorld(40)
    await world.export(out)
    assert (await world.sync(out)).is_unchanged
    world.world.edit(rows=world.labels()[:3])
    assert (await world.sync(out)).generation == 1
    before = contents(out)
    done = await world.sync(out)
    assert (done.is_unchanged, done.generation) == (True, 1)
    assert contents(out) == before


async def test_a_moved_row_is_fetched_again_where_records_hold_its_listing(out: Path) -> None:
    """`--emit rows` keeps the listing in the record: a move edits it."""
    world = LiveWorld(20, branches=(), unlabelled=0.0)
    await world.export(out, format=Format(emit=("rows",)))
    moved = world.labels()[0]
    world.move(moved, "Somewhere else")
    await world.sync(out)
    assert whats(feed(out, 1)) == [("edited", moved), ("moved", moved)]
    (record,) = [each for each in live_records(out) if each["row"]["label_hash"] == moved]
    assert record["metadata"]["workflow_graph_node"]["title"] == "Somewhere else"


@pytest.mark.parametrize("key", ["width", "height", "number_of_frames"])
def test_a_row_whose_data_has_another_size_is_fetched_again(key: str) -> None:
    """What its label row does not say, records have from the listing."""
    row = PlanRow(dataset_hash="d", data_title="t", label_hash="l", branch_name="main", data_hash="x")
    other = msgspec.structs.replace(row, **{key: 7})
    assert list(changes_between([row], [row], generation=1)) == []
    [step] = changes_between([row], [other], generation=1)
    assert (step.wanted, [one.change for one in step.changes]) == (other, ["edited"])


async def test_failed_rows_are_asked_for_again(out: Path) -> None:
    """They fail once more, or are there: the counts of the whole export tell."""
    world = LiveWorld(30)
    world.broken = set(world.labels()[:2])
    await world.export(out)
    assert (await world.sync(out)).exit_code == 3
    world.broken = set()
    done = await world.sync(out)
    assert (done.exit_code, done.counts["failed"]) == (0, 0)
    assert (await world.sync(out)).is_unchanged


@pytest.mark.parametrize("compress", [None, "gzip"])
async def test_the_documented_sql_gives_the_live_records(
    out: Path, compress: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query of docs/sync.md, as it stands there, over three generations and one that is not finished."""
    world = LiveWorld(40)
    await world.export(out, format=Format(rows_per_part=10, compress=compress))  # type: ignore[arg-type]
    for number in range(3):
        labels = world.labels()
        world.world.edit(rows=labels[number : number + 6], removed=labels[20:22], added=2)
        await world.sync(out)
    assert verify(LocalTarget(out)).ok
    assert sum(name.endswith("changes-00000.ndjson.gz") for name in contents(out)) == (3 if compress else 0)
    monkeypatch.chdir(out.parent)
    query = PAGE.read_text().split("-- live objects\n")[1].split(";")[0]
    expected = sorted(
        (record["label_hash"], record["frame"], record["object"]["objectHash"])
        for record in live_records(out, kinds=["objects"])
    )

    def found() -> list[tuple[str, int, str]]:
        columns = "label_hash, frame, object ->> 'objectHash'"
        rows = duckdb.sql(f"select {columns} from ({query})").fetchall()
        return sorted((str(label), frame, name) for label, frame, name in rows)

    key = str
    assert sorted(found(), key=key) == sorted(expected, key=key)
    unfinished = out / "generations" / "00004"
    unfinished.mkdir()
    for path in (out / "generations" / "00003").glob("*.ndjson*"):
        lines = path.read_bytes()
        if "changes" in path.name:
            feed = gzip.decompress(lines) if compress else lines
            feed = feed.replace(b'"generation":3', b'"generation":4')
            lines = gzip.compress(feed) if compress else feed
        (unfinished / path.name).write_bytes(lines)
    assert sorted(found(), key=key) == sorted(expected, key=key)


async def test_an_unfinished_export_is_to_be_finished_first(out: Path) -> None:
    """One line says so; nothing is listed. So it does where there is no export."""
    world = LiveWorld(20)
    with pytest.raises(BadInput, match="holds no export"):
        await world.sync(out)
    await world.export(out)
    (out / "manifest.json").unlink()
    with pytest.raises(BadInput, match="finish it first"):
        await world.sync(out)


async def test_an_export_that_was_synced_is_complete(out: Path) -> None:
    """It neither lists nor fetches; what would change it is refused, and so is a second owner."""
    world = LiveWorld(20)
    assert not (await world.export(out)).synced
    world.world.edit(rows=world.labels()[:3])
    await world.sync(out)
    world.asked = []
    again = await world.export(out)
    assert (again.already_complete, again.synced) == (True, True)
    assert world.asked == []
    for option in ("settle", "retry_failed"):
        with pytest.raises(BadInput, match="sync it again"):
            await world.export(out, **{option: True})
    with LocalTarget(out).lock(), pytest.raises(TargetRefused, match="in use"):
        await world.sync(out)


DAMAGED = [
    "generations/00001/objects-00000.ndjson",
    "generations/00001/changes-00000.ndjson",
    "generations/00001/manifest.json",
    "generations/00001/.harvester/changed.json",
    "generations/00001/.harvester/commits/00000.json",
    "generations/00002/.harvester/listed.ndjson.zst",
    "generations/00002/.harvester/plan.json",
]


@pytest.mark.parametrize("name", DAMAGED)
async def test_verify_names_what_is_damaged_in_a_generation(out: Path, name: str) -> None:
    """Whichever file loses a byte or is lost; its name is told."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    for _ in range(2):
        world.world.edit(rows=world.labels()[:3])
        await world.sync(out)
    assert verify(LocalTarget(out)).ok
    whole = (out / name).read_bytes()
    (out / name).write_bytes(whole[:-2])
    assert name in [problem.name for problem in verify(LocalTarget(out)).problems]
    (out / name).unlink()
    assert name in [problem.name for problem in verify(LocalTarget(out)).problems]


async def test_exporting_again_mends_a_generation(out: Path) -> None:
    """A part, a commit record and a manifest of a generation come back, and the live records with them."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    world.world.edit(rows=world.labels()[:3])
    await world.sync(out)
    before = live(out)
    for name in ("objects-00000.ndjson", "manifest.json", ".harvester/commits/00000.json"):
        path = out / "generations" / "00001" / name
        path.write_bytes(path.read_bytes()[:-3])
        await world.export(out)
        assert verify(LocalTarget(out)).ok, name
        assert live(out) == before


async def test_a_lost_manifest_comes_back_with_its_generations(out: Path) -> None:
    """The export's manifest is made anew from what stands in the folders."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    world.world.edit(rows=world.labels()[:3])
    await world.sync(out)
    named = json.loads((out / "manifest.json").read_bytes())["generations"]
    (out / "manifest.json").unlink()
    await world.export(out)
    assert json.loads((out / "manifest.json").read_bytes())["generations"] == named


async def test_live_records_are_those_that_the_manifest_names(out: Path) -> None:
    """A generation that is not what the manifest names is refused, not read."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    world.world.edit(rows=world.labels()[:3])
    await world.sync(out)
    (out / "generations" / "00001" / "manifest.json").unlink()
    with pytest.raises(Unsound, match="harvester verify"):
        list(live_records(out))


async def test_a_generation_keeps_the_version_that_wrote_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own manifest and in the export's; a later version changes nothing of it."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    for version in ("8.1", "8.2"):
        monkeypatch.setattr("importlib.metadata.version", lambda package, version=version: version)
        world.world.edit(rows=world.labels()[:3])
        await world.sync(out)
    whole = json.loads((out / "manifest.json").read_bytes())
    assert [generation["harvester"] for generation in whole["generations"]] == ["8.1", "8.2"]
    own = json.loads((out / "generations" / "00001" / "manifest.json").read_bytes())
    assert own["harvester"] == "8.1"
