"""A compacted export has the record files of a new one, byte for byte, and goes on as before."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import duckdb
import pytest
from anyio.to_thread import run_sync as in_thread

import harvester
from harvester import cli
from harvester.compaction import compact_target
from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.events import Counters
from harvester.job import Observer
from harvester.live import finished, live_records
from harvester.live_rows import live_pieces
from harvester.output.layout import parse_part
from harvester.output.target import LocalTarget, open_target
from harvester.output.verify import verify
from harvester.plan.changes import SyncOptions
from harvester.report.measure import measure
from harvester.settings import Format, Selection
from tests.output.stores import BUCKET, S3, reach, s3_server
from tests.output.test_output_plan import spoil
from tests.sync.worlds import LiveWorld, contents, feed, listing, live

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


KINDS = ("objects", "classifications", "units", "rows")


def edit(do: str, node: str, **more: Any) -> dict[str, Any]:
    return {"do": do, "node": node, **more}


def manifest(target: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((target / "manifest.json").read_bytes())
    return found


def record_files(target: Path) -> dict[str, bytes]:
    """The record files of the base, and the files that are made with it, by their names."""
    base = manifest(target)["base"]["generation"]
    folder = target / "generations" / f"{base:05}" if base else target
    names = [path.name for path in folder.glob("*-*.ndjson*") if path.name.split("-")[0] in KINDS]
    names += ["ontology.json", "listing.ndjson.zst", ".harvester/plan.json", ".harvester/plan.ndjson.zst"]
    return {name: (folder / name).read_bytes() for name in names}


def problems(target: Path) -> list[str]:
    return [str(problem) for problem in verify(LocalTarget(target)).problems]


def files(target: Path) -> list[str]:
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


async def synced(out: Path, syncs: int = 2, **options: Any) -> LiveWorld:
    world = LiveWorld(40, branches=(), unlabelled=0.1)
    await world.export(out, **options)
    for number in range(syncs):
        world.world.edit(rows=world.labels()[number : number + 3], removed=world.labels()[9:10], added=1)
        await world.sync(out)
    return world


WAYS = {
    "all": (Selection(), Format(rows_per_part=10)),
    "gzip, with rows": (Selection(), Format(rows_per_part=7, emit=KINDS, compress="gzip")),
    "zstd, polygons": (Selection(shapes=("polygon",)), Format(rows_per_part=10, compress="zstd")),
    "one stage": (
        Selection(workflow_graph_node_title_eq="Review", client_metadata=True),
        Format(rows_per_part=5, emit=("objects", "rows")),
    ),
}


@pytest.mark.parametrize(
    ("way", "seed", "syncs"),
    [("all", 0, 30), ("all", 1, 4), ("gzip, with rows", 2, 5), ("zstd, polygons", 3, 6), ("one stage", 4, 4)],
)
async def test_files_are_those_of_a_new_export_and_syncs_go_on(
    tmp_path: Path, way: str, seed: int, syncs: int
) -> None:
    """After random edits with failed rows; then again after more of them, compacted and not."""
    world, rng = LiveWorld(rows=40, seed=seed), random.Random(seed)
    (selection, format), kept = WAYS[way], tmp_path / "kept"
    world.broken = set(rng.sample(world.labels(), 2))
    await world.export(kept, selection=selection, format=format)
    last = 0
    for number, count in enumerate((syncs, 1)):
        for _ in range(count):
            world.change_at_random(rng)
            await world.sync(kept)
        before, last = live(kept), last + count + 1
        world.asked = []
        done = await world.compact(kept)
        assert (done.generation, done.is_unchanged, world.asked) == (last, False, [])
        fresh = tmp_path / f"fresh{number}"
        anew = await world.export(fresh, selection=selection, format=format)
        assert record_files(kept) == record_files(fresh)
        assert (done.counts, done.records.keys()) == (anew.counts, anew.records.keys())
        assert live(kept) == live(fresh) == before
        assert problems(kept) == []
        assert {name.split("/")[1] for name in files(kept) if "/" in name} <= {
            f"{last:05}",
            "base.json",
            "lock",
        }
        assert [path.name for path in (kept / "generations").iterdir()] == [f"{last:05}"]
        assert (await world.compact(kept)).is_unchanged
    world.change_at_random(rng)
    done_sync = await world.sync(kept)
    assert done_sync.generation == last + 1
    assert feed(kept, last + 1)[0]["generation"] == last + 1
    await world.export(tmp_path / "last", selection=selection, format=format)
    assert live(kept) == live(tmp_path / "last")
    assert listing(kept) == listing(tmp_path / "last")
    assert problems(kept) == []


async def test_failed_rows_and_notes_are_carried_over_and_failed_rows_asked_for_again(tmp_path: Path) -> None:
    """Also those that a sync has brought, with their branch."""
    out, world = tmp_path / "out", LiveWorld(30, unlabelled=0.0)
    bad = world.labels()[3:5]
    world.broken = {bad[0]}
    await world.export(out)
    world.world.edit(rows=[bad[1]])
    world.broken = set(bad)
    await world.sync(out)
    lines = b"".join(chain.from_iterable(live_pieces(*finished(out), "notes")))
    done = await world.compact(out)
    assert (done.counts["failed"], done.counts["harvested"]) == (2, len(world.labels()) - 2)
    assert b"".join(chain.from_iterable(live_pieces(*finished(out), "notes"))) == lines
    failed = [json.loads(line) for path in out.rglob("failed-*") for line in path.read_bytes().splitlines()]
    assert {line["label_hash"] for line in failed} == set(bad)
    assert all("branch_name" in line for line in failed)
    world.broken = set()
    assert (await world.sync(out)).counts["failed"] == 0
    assert problems(out) == []


async def test_settled_rows_come_to_their_places(tmp_path: Path) -> None:
    """An export that was never synced is compacted if rows stand at old positions, and only then."""
    out, world = tmp_path / "out", LiveWorld(40, branches=())
    renamed = world.labels()[10]

    def rename(event: str, fields: object) -> None:
        if event == "part.committed" and not world.changed:
            world.world.edit(rows=[renamed])
            world.change(renamed, data_title="~ last")

    await world.export(out, settle=True, on_event=rename)
    assert not (await world.compact(out)).is_unchanged
    await world.export(tmp_path / "fresh")
    assert record_files(out) == record_files(tmp_path / "fresh")
    assert (await world.compact(tmp_path / "fresh")).is_unchanged
    assert problems(out) == problems(tmp_path / "fresh") == []


async def test_what_cannot_be_compacted_is_said_in_a_line(tmp_path: Path) -> None:
    """Nothing there, signed URLs, a sync that is not finished."""
    world = LiveWorld(10)
    with pytest.raises(BadInput, match="holds no finished export"):
        await world.compact(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    await world.export(tmp_path / "signed", selection=Selection(signed_urls=True))
    with pytest.raises(BadInput, match="signed URLs"):
        await world.compact(tmp_path / "signed")
    await synced(tmp_path / "begun")
    whole = json.loads((tmp_path / "begun/manifest.json").read_bytes())
    before = (tmp_path / "begun/manifest.json").read_bytes()
    world = await synced(tmp_path / "more", 3)
    (tmp_path / "more/generations/00003").rename(tmp_path / "begun/generations/00003")
    assert len(whole["generations"]) == 2
    with pytest.raises(BadInput, match="a sync is not finished"):
        await world.compact(tmp_path / "begun")
    assert (tmp_path / "begun/manifest.json").read_bytes() == before


@pytest.mark.parametrize("at", [0, 0.5])
@pytest.mark.parametrize(
    "name",
    ["objects-00001.ndjson", "generations/00001/units-00000.ndjson", "generations/00002/manifest.json"],
)
async def test_damage_is_not_sealed_as_sound(tmp_path: Path, name: str, at: float) -> None:
    """The input's sha256 is checked, and the file named; an export mends it, and then it is compacted."""
    out = tmp_path / "out"
    world = await synced(out)
    data = bytearray((out / name).read_bytes())
    data[int(at * len(data))] ^= 1
    (out / name).write_bytes(data)
    with pytest.raises(Unsound, match=f"{Path(name).name} is .*damaged.*: see harvester verify"):
        await world.compact(out)
    assert manifest(out)["base"]["generation"] == 0
    await world.export(out)
    await world.compact(out)
    await world.export(tmp_path / "fresh")
    assert record_files(out) == record_files(tmp_path / "fresh")


class CountedTarget(LocalTarget):
    """A directory that counts in `opened` how often each file of records is opened."""

    def __init__(self, path: Path, opened: Counter[str], folder: str = "") -> None:
        super().__init__(path, folder=folder)
        self.path, self.folder, self.opened = path, folder, opened

    def open(self, name: str) -> BinaryIO:
        if parse_part(name):
            self.opened["/".join(filter(None, (self.folder, name)))] += 1
        return super().open(name)

    def within(self, folder: str) -> "CountedTarget":
        return CountedTarget(self.path, self.opened, folder)


async def test_each_file_is_read_once(tmp_path: Path) -> None:
    """Of the export and of all syncs, whatever is void in it."""
    out, world = tmp_path / "out", LiveWorld(30)
    world.broken = set(world.labels()[:2])
    await world.export(out)
    for number in range(5):
        world.world.edit(rows=world.labels()[number * 3 : number * 3 + 6])
        await world.sync(out)
    expected = {name for name in files(out) if parse_part(name.rpartition("/")[2])}
    target = CountedTarget(out, Counter())
    await compact_target(target, Observer(Counters()))
    assert {name: target.opened[name] for name in expected} == dict.fromkeys(expected, 1)


async def test_versions_of_generations_are_kept_when_they_go(tmp_path: Path) -> None:
    """In the manifest, in runs."""
    out = tmp_path / "out"
    world = await synced(out)
    await world.compact(out)
    version = manifest(out)["harvester"]
    assert manifest(out)["base"]["former"] == [{"first": 0, "last": 2, "harvester": version}]
    world.world.edit(rows=world.labels()[:1])
    await world.sync(out)
    await world.compact(out)
    assert [(run["first"], run["last"]) for run in manifest(out)["base"]["former"]] == [(0, 2), (3, 4)]


async def test_the_report_follows_the_base(tmp_path: Path) -> None:
    """The same live labels, and a history that begins at the base."""
    out = tmp_path / "out"
    world = await synced(out)
    before = measure(LocalTarget(out))
    await world.compact(out)
    after = measure(LocalTarget(out))
    assert (after.rows, after.rows_by, after.objects) == (before.rows, before.rows_by, before.objects)
    assert [entry.generation for entry in after.history] == [3]


def without_digest(target: Path) -> dict[str, object]:
    """All files. The digests of manifests cover the drift, which is another when a manifest is made again."""
    found: dict[str, object] = dict(contents(target))
    for name in ("manifest.json", "generations/00003/manifest.json"):
        fields = json.loads(contents(target)[name])
        found[name] = {key: value for key, value in fields.items() if key != "digest"}
    return found


DAMAGED = [
    "manifest.json", ".harvester/base.json",
    *(f"generations/00003/{name}" for name in (
        "manifest.json", "objects-00001.ndjson", "ontology.json", "listing.ndjson.zst",
        ".harvester/plan.json", ".harvester/plan.ndjson.zst", ".harvester/commits/00000.json",
    )),
]  # fmt: skip


@pytest.mark.parametrize("how", ["deleted", "flipped"])
@pytest.mark.parametrize("name", DAMAGED)
async def test_damage_after_a_compaction_is_named_and_mended(tmp_path: Path, name: str, how: str) -> None:
    """By its export, also with syncs since; the same bytes as before."""
    out = tmp_path / "out"
    world = await synced(out)
    await world.compact(out)
    world.world.edit(added=2)
    await world.sync(out)
    whole = without_digest(out)
    spoil(out / name, how)
    assert any(problem.startswith(name) for problem in problems(out))
    await world.export(out)
    assert without_digest(out) == whole
    assert problems(out) == []


async def test_another_export_is_refused_and_a_retry_is_left_to_syncs(tmp_path: Path) -> None:
    """As before the compaction."""
    out = tmp_path / "out"
    world = await synced(out)
    await world.compact(out)
    whole = contents(out)
    with pytest.raises(BadInput, match="has been synced"):
        await world.export(out, retry_failed=True)
    with pytest.raises(Exception, match="choose another directory"):
        await world.export(out, selection=Selection(shapes=("polygon",)))
    assert (await world.export(out)).synced
    assert contents(out) == whole


async def test_kept_names_of_earlier_ontologies_are_caught_up_with_later(tmp_path: Path) -> None:
    """A sync that no longer keeps them fetches all rows again, as it cannot tell which have them."""
    out, world = tmp_path / "out", LiveWorld(30, branches=())
    await world.export(out)
    world.world.edit(ontology=[edit("rename", "Car", to="Auto")], rows=world.labels()[:3])
    assert (await world.sync(out, options=SyncOptions(keep_names=True))).kept_names
    await world.compact(out)
    assert manifest(out)["base"]["kept_names"]
    assert (await world.sync(out, options=SyncOptions(keep_names=True))).is_unchanged
    done = await world.sync(out)
    assert (done.changes["edited"], done.kept_names) == (len(world.labels()), False)
    await world.export(tmp_path / "fresh")
    assert live(out) == live(tmp_path / "fresh")
    await world.compact(out)
    assert not manifest(out)["base"]["kept_names"]
    assert record_files(out) == record_files(tmp_path / "fresh")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


async def test_in_an_object_store_it_does_the_same(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same objects as files in a directory; former ones are gone, and a sync goes on."""
    reach(server, monkeypatch)
    out = tmp_path / "out"
    world = await synced(out)
    for name, data in ((name, (out / name).read_bytes()) for name in files(out)):
        server.put(f"compact/out/{name}", data)
    await world.compact(out)
    store = open_target(f"s3://{BUCKET}/compact/out")
    assert (await compact_target(store, Observer(Counters()))).generation == 3
    found = {name: data for name, data in server.contents("compact/out").items() if "lock" not in name}
    expected = {name: (out / name).read_bytes() for name in files(out) if "lock" not in name}
    assert {name: found[name] for name in expected if "manifest" not in name} == {
        name: data for name, data in expected.items() if "manifest" not in name
    }
    assert found.keys() == expected.keys()
    assert verify(store).ok


async def test_the_documented_sql_follows_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The query of docs/sync.md after a compaction and a sync, beside files that a kill has left."""
    out = tmp_path / "out"
    world = await synced(out)
    left = {
        name: (out / name).read_bytes() for name in files(out) if name.startswith(("objects", "generations"))
    }
    await world.compact(out)
    world.world.edit(rows=world.labels()[:4], removed=world.labels()[6:8])
    await world.sync(out)
    for name, data in left.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "sync.md"
    query = page.read_text().split("-- live objects\n")[1].split(";")[0]
    rows = duckdb.sql(f"select label_hash, frame, object_hash from ({query})").fetchall()
    expected = [
        (record["label_hash"], record["frame"], record["object_hash"])  # type: ignore[typeddict-item]
        for record in live_records(out, kinds=["objects"])
    ]
    assert sorted(map(str, rows)) == sorted(map(str, expected))


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a summary and as JSON; exit 2 in one line where it cannot be done, 6 where the target is in use."""
    out = tmp_path / "out"
    anyio.run(synced, out)

    def command(*argv: str) -> tuple[int, str, str]:
        code = cli.main(["compact", *argv])
        told = capsys.readouterr()
        return code, told.out, told.err

    with LocalTarget(out).lock():
        code, _, said = command(str(out))
        assert (code, said.count("\n")) == (6, 1)
    code, told, said = command(str(out), "--json")
    summary = json.loads(told)
    assert (code, summary["generation"], summary["replaced"], summary["is_unchanged"]) == (0, 3, 3, False)
    assert summary["bytes_after"] < summary["bytes_before"]
    assert "3 generations are one (generation 3)" in said
    code, _, said = command(str(out))
    assert code == 0
    assert "nothing to compact" in said
    code, told, said = command(str(tmp_path / "none"), "--quiet")
    assert (code, told, said.count("\n")) == (2, "", 1)


async def test_in_python_it_is_one_call(tmp_path: Path) -> None:
    """`harvester.compact`, from async code, too."""
    await synced(tmp_path / "out")
    assert (await harvester.compact_async(tmp_path / "out")).replaced == 3
    await synced(tmp_path / "more")
    assert (await in_thread(harvester.compact, tmp_path / "more")).replaced == 3


async def test_a_compaction_that_is_stopped_leaves_the_export_as_it_was(tmp_path: Path) -> None:
    """One line says so, and the next one does it."""
    out, stopping = tmp_path / "out", anyio.Event()
    world = await synced(out)
    before = contents(out)["manifest.json"]
    with pytest.raises(CannotFinishNow, match="stopped"):
        await world.compact(out, stopping=stopping, on_event=lambda event, fields: stopping.set())
    assert contents(out)["manifest.json"] == before
    assert [str(problem) for problem in verify(LocalTarget(out)).problems] == [
        "generations/00003: a compaction is not finished: run it again"
    ]
    assert (await world.compact(out)).generation == 3
