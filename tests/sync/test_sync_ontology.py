"""A changed ontology: live records stay those of a new export, and no row is fetched without need."""

import json
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import Unsound
from harvester.live import live_records
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.plan.changes import SyncOptions
from harvester.settings import Format, Selection
from harvester.simulator.ontology import feature_hash, structure
from harvester.simulator.ontology_edits import ROOTS
from tests.sync.worlds import LiveWorld, feed, live, whats

pytestmark = pytest.mark.anyio

KEEP = SyncOptions(keep_names=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def edit(do: str, node: str, **more: Any) -> dict[str, Any]:
    return {"do": do, "node": node, **more}


def holders(target: Path, feature_hash: str) -> set[str]:
    """The label rows that have a live record of this feature, or an answer or option of it."""
    return {
        record["label_hash"]  # type: ignore[typeddict-item]
        for record in live_records(target, kinds=["objects", "classifications"])
        if feature_hash in json.dumps({key: record[key] for key in HOLDING if key in record})  # type: ignore[literal-required]
    }


HOLDING = ("feature_hash", "attributes", "dynamic_attributes", "answers")


class Told(list[tuple[str, Any]]):
    """The events of a sync."""

    def __call__(self, event: str, fields: Any) -> None:
        self.append((event, dict(fields)))

    def of(self, event: str) -> list[Any]:
        return [fields for name, fields in self if name == event]


CAR, QUALITY = feature_hash("Car"), feature_hash("Quality", "classification")

# -- the same as a new export -------------------------------------------------------------------------

PATHS = (
    "Car", "Car/Kind", "Car/Kind/Truck", "Car/Kind/Truck/Cargo", "Car/Colours", "Car/Moving", "Pedestrian",
    "Pedestrian/Occlusion/Full", "Sign", "Person", "Episode", "Episode/Tags", "Speech",
    "Weather", "Weather/Weather/Rain", "Tags of the scene", "Comment", "Quality", "Temperature",
)  # fmt: skip
NAMES = ("Car", "Auto", "Weather", "Sky", "Pedestrian")
EDITS = st.one_of(
    st.builds(edit, st.just("rename"), st.sampled_from(PATHS), to=st.sampled_from(NAMES)),
    st.builds(edit, st.just("move"), st.sampled_from(PATHS), to=st.integers(0, 3)),
    st.builds(
        edit, st.sampled_from(["remove", "restore", "archive", "unarchive"]), st.sampled_from(PATHS)
    ),
    st.builds(
        edit, st.just("set"), st.sampled_from(["Weather", "Quality", "Comment"]),
        key=st.just("level"), to=st.sampled_from(["global", None]),
    ),
    st.builds(edit, st.just("set"), st.just("Car"), key=st.just("color"), to=st.just("#0")),
    st.builds(edit, st.just("add"), st.sampled_from(["Dog", "Car"]), shape=st.just("polygon")),
    st.builds(edit, st.just("add"), st.sampled_from(["Car/Kind/Bike", "Car/Trim", "Weather/Weather/Fog"])),
)  # fmt: skip
ROUNDS = st.lists(
    st.tuples(st.lists(EDITS, max_size=3), st.lists(st.integers(0, 30), max_size=2)), min_size=1, max_size=3
)
WAYS = {
    "plain": (Selection(), Format(rows_per_part=10)),
    "names": (Selection(names=("Car", "Weather")), Format(rows_per_part=10)),
    "where": (
        Selection(where="name == 'Car' || name == 'Weather' || size(attributes) > 1"),
        Format(rows_per_part=10),
    ),
    "where it stands": (
        Selection(where="frame == 1 && classification_hash != ''"), Format(rows_per_part=10, per_frame=True)
    ),
    "by frame": (Selection(), Format(rows_per_part=10, per_frame=True)),
    "archived, too": (Selection(include_archived=True), Format(rows_per_part=10)),
    "shapes": (Selection(shapes=("bounding_box", "time_range")), Format(rows_per_part=10)),
    "whole rows": (Selection(), Format(rows_per_part=10, emit=("rows", "classifications"))),
    "units": (Selection(), Format(rows_per_part=10, emit=("units",))),
    "a feature": (Selection(feature_hashes=(CAR,)), Format(rows_per_part=10)),
}  # fmt: skip

# A new export is refused where the ontology has lost a name: the same, said in another way.
ANEW = {"names": Selection(where="name in ['Car', 'Weather']")}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=8, deadline=None)
@given(rounds=ROUNDS, archived=st.booleans())
def test_live_records_are_those_of_a_new_export_whatever_is_edited(
    way: str, rounds: list[tuple[list[dict[str, Any]], list[int]]], archived: bool
) -> None:
    """Ontology and rows edited at random between syncs."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(partial(_same_as_anew, Path(folder), way, rounds, archived=archived))


RECORDINGS = ("recording",)
EPISODE_AS = {shape: edit("set", "Episode", key="shape", to=shape) for shape in ("polygon", "time_range")}
FOUND: list[tuple[str, str, tuple[str, ...], list[list[dict[str, Any]]]]] = [
    (
        "answers whose object is gone do not name their class",
        "whole rows",
        ("all",),
        [[edit("archive", "Car")]],
    ),
    ("what is not chosen counts as dropped", "a feature", ("all",), [[edit("archive", "Weather")]]),
    (
        "nothing else names a unit",
        "units",
        RECORDINGS,
        [[edit("archive", node["featureNodeHash"]) for root in ROOTS for node in structure()[root]]],
    ),
    ("a shape takes a unit away", "units", RECORDINGS, [[EPISODE_AS["polygon"]]]),
    (
        "a shape brings objects",
        "plain",
        RECORDINGS,
        [[EPISODE_AS["polygon"]], [EPISODE_AS["time_range"]]],
    ),
]


@pytest.mark.parametrize(
    ("way", "mix", "rounds"), [case[1:] for case in FOUND], ids=[case[0] for case in FOUND]
)
async def test_live_records_are_those_of_a_new_export_where_records_do_not_show_what_has_changed(
    tmp_path: Path, way: str, mix: tuple[str, ...], rounds: list[list[dict[str, Any]]]
) -> None:
    """Rows whose live records name nothing of what has changed, and that are other ones all the same."""
    await _same_as_anew(tmp_path, way, [(edits, []) for edits in rounds], archived=False, mix=mix)


async def _same_as_anew(
    folder: Path,
    way: str,
    rounds: list[tuple[list[dict[str, Any]], list[int]]],
    *,
    archived: bool,
    mix: tuple[str, ...] = ("all",),
) -> None:
    selection, format = WAYS[way]
    world = LiveWorld(24, seed=5, archived=archived, branches=(), mix=mix)
    await world.export(folder / "kept", selection=selection, format=format)
    for number, (edits, rows) in enumerate(rounds):
        for one in edits:
            with suppress(ValueError):  # no such node now
                world.world.edit(ontology=[one])
        labels = world.labels()
        world.world.edit(rows=[labels[row % len(labels)] for row in rows])
        done = await world.sync(folder / "kept")
        fresh = folder / f"fresh{number}"
        anew = await world.export(fresh, selection=ANEW.get(way, selection), format=format)
        assert live(folder / "kept") == live(fresh)
        assert done.counts == anew.counts
    assert (await world.sync(folder / "kept")).is_unchanged
    assert [str(problem) for problem in verify(LocalTarget(folder / "kept")).problems] == []


# -- no more than that takes ---------------------------------------------------------------------------

SINGLE: list[tuple[dict[str, Any], str, str]] = [
    (edit("rename", "Car", to="Auto"), CAR, "Car (a5cdf07d) renamed Auto"),
    (edit("rename", "Car/Kind/Truck", to="Lorry"), CAR, "Truck (3432eeda) renamed Lorry"),
    (edit("move", "Car/Kind", to=2), CAR, "Car (a5cdf07d) reordered"),
    (edit("remove", "Car/Plate"), CAR, "Plate (c6653fc2) removed"),
    (edit("add", "Car/Kind/Bike"), CAR, "Bike (3bc25cee) added"),
    (edit("archive", "Sign"), feature_hash("Sign"), "Sign (0c9618e9) archived"),
    (edit("remove", "Person"), feature_hash("Person"), "Person (6007db63) removed"),
    (edit("set", "Car/Kind", key="type", to="checklist"), CAR, "Kind (3fbd37ed) changed"),
    (edit("set", "Quality", key="level", to=None), QUALITY, "Quality (d1b47861) changed"),
]


@pytest.mark.parametrize(("change", "root", "told"), SINGLE, ids=[told for *_, told in SINGLE])
async def test_only_rows_that_hold_what_has_changed_are_fetched(
    out: Path, change: dict[str, Any], root: str, told: str
) -> None:
    """They are told of before, with what has changed; their feed lines say edited; the others stay."""
    world = LiveWorld(60, branches=())
    await world.export(out)
    expected = holders(out, root)
    assert 0 < len(expected) < len(world.labels())
    world.world.edit(ontology=[change])
    world.asked, events = [], Told()
    done = await world.sync(out, on_event=events)
    assert set(world.asked) == expected
    assert whats(feed(out, 1)) == sorted(("edited", label) for label in expected)
    (said,) = events.of("ontology.changed")
    assert (said["nodes"], said["rows"]) == ([told], len(expected))
    names = [name for name, _ in events]
    assert names.index("ontology.changed") < names.index("part.committed")
    assert done.ontology is not None
    assert done.ontology.rows == len(expected)
    assert not done.kept_names


WITHOUT_EFFECT = [
    [edit("set", "Car", key="color", to="#123456")],
    [edit("set", "Car", key="id", to="77")],
    [edit("set", "Car/Kind", key="required", to=True)],
    [edit("move", "Car", to=5), edit("move", "Weather", to=2)],
    [edit("add", "Dog", shape="polygon"), edit("add", "Mood", type="radio")],
    [edit("rename", "Landmark", to="Peak"), edit("archive", "Landmark")],
]


@pytest.mark.parametrize("edits", WITHOUT_EFFECT, ids=lambda edits: edits[0]["node"] + " " + edits[0]["do"])
async def test_what_no_live_record_shows_touches_no_row(out: Path, edits: list[dict[str, Any]]) -> None:
    """Colours, ids, what is required, the order of classes, new classes, and those that nobody has used."""
    world = LiveWorld(30, branches=(), mix=("plain_text" if edits[0]["node"] == "Landmark" else "all",))
    await world.export(out)
    frozen = (out / "ontology.json").read_bytes()
    world.world.edit(ontology=edits)
    world.asked, events = [], Told()
    done = await world.sync(out, on_event=events)
    assert (done.is_unchanged, done.ontology, world.asked) == (True, None, [])
    assert events.of("ontology.changed") == []
    assert (out / "ontology.json").read_bytes() == frozen
    world.world.edit(rows=world.labels()[:1])
    await world.sync(out)
    assert (out / "generations" / "00001" / "ontology.json").read_bytes() == world.project.ontology


ALL_ROWS: list[tuple[str, Selection, list[dict[str, Any]], str]] = [
    ("names", Selection(names=("Car",)), [edit("rename", "Pedestrian", to="Car")], "--name"),
    ("where", Selection(where="name == 'Car'"), [edit("rename", "Pedestrian", to="Car")], "--where"),
    (
        "answers",
        Selection(where="attributes.exists(a, a.text == 'x')"),
        [edit("rename", "Car/Plate", to="P")],
        "--where",
    ),
    ("unarchived", Selection(), [edit("unarchive", "Pedestrian")], "not sent while it was archived"),
    ("global", Selection(), [edit("set", "Weather", key="level", to="global")], "where it had no range"),
    ("unknown", Selection(), [edit("remove", "Weather")], "where it had no range"),
]


@pytest.mark.parametrize(
    ("selection", "edits", "why"), [case[1:] for case in ALL_ROWS], ids=[case[0] for case in ALL_ROWS]
)
async def test_all_rows_are_fetched_where_live_records_cannot_tell_which(
    out: Path, selection: Selection, edits: list[dict[str, Any]], why: str
) -> None:
    """It reads names or answers; labels were hidden; or classifications may have been left out."""
    world = LiveWorld(30, branches=(), archived=("Pedestrian",) if "unarchive" in str(edits) else ())
    await world.export(out, selection=selection)
    world.world.edit(ontology=edits)
    world.asked, events = [], Told()
    done = await world.sync(out, on_event=events)
    assert sorted(world.asked) == sorted(world.labels())
    (said,) = events.of("ontology.changed")
    assert said["rows"] == "all"
    assert why in said["why"]
    assert done.changes["edited"] == len(world.labels())


async def test_labels_that_were_always_asked_for_are_not_hidden(out: Path) -> None:
    """With --include-archived, a class that is archived no more is fetched where it is, and nowhere else."""
    world = LiveWorld(60, branches=(), archived=("Pedestrian",))
    await world.export(out, selection=Selection(include_archived=True))
    expected = holders(out, feature_hash("Pedestrian"))
    world.world.edit(ontology=[edit("unarchive", "Pedestrian")])
    world.asked = []
    await world.sync(out)
    assert set(world.asked) == expected


# -- names that are kept -------------------------------------------------------------------------------


async def test_names_are_kept_on_request_and_the_manifest_says_so_until_a_sync_catches_up(out: Path) -> None:
    """Said once, with how many rows; a second sync that keeps names has nothing to add; rows edited meanwhile
    have the new names; a sync that keeps none fetches the rest, and no row twice."""
    world = LiveWorld(60, branches=())
    await world.export(out)
    before = live(out)
    expected = holders(out, CAR)
    world.world.edit(ontology=[edit("rename", "Car", to="Auto")])
    world.asked, events = [], Told()
    done = await world.sync(out, options=KEEP, on_event=events)
    assert (done.generation, done.kept_names, world.asked) == (1, True, [])
    assert [(said["rows"], said["kept"]) for said in events.of("ontology.changed")] == [(len(expected), True)]
    assert live(out) == before
    assert kept_names(out) == [True]
    events = Told()
    done = await world.sync(out, options=KEEP, on_event=events)
    assert (done.is_unchanged, done.kept_names, events.of("ontology.changed")) == (True, True, [])

    edited = sorted(expected)[:1]
    world.world.edit(rows=edited)
    await world.sync(out, options=KEEP)
    assert kept_names(out) == [True, True]
    world.asked = []
    done = await world.sync(out)
    assert set(world.asked) == expected - set(edited)
    assert (done.kept_names, kept_names(out)) == (False, [True, True, False])
    await world.export(out.with_name("anew"))
    assert live(out) == live(out.with_name("anew"))
    assert (await world.sync(out)).is_unchanged


async def test_names_that_are_there_again_cost_only_the_rows_fetched_meanwhile(out: Path) -> None:
    """Renamed, kept, renamed back: only what the sync in between brought has other names than now."""
    world = LiveWorld(60, branches=())
    await world.export(out)
    edited = sorted(holders(out, CAR))[:2]
    world.world.edit(ontology=[edit("rename", "Car", to="Auto")], rows=edited)
    await world.sync(out, options=KEEP)
    there = holders(out, CAR) & set(edited)
    world.world.edit(ontology=[edit("rename", "Car", to="Car")])
    world.asked = []
    await world.sync(out)
    assert set(world.asked) == there
    await world.export(out.with_name("anew"))
    assert live(out) == live(out.with_name("anew"))


@pytest.mark.parametrize("damaged", [b"{}", None], ids=["damaged", "lost"])
async def test_an_ontology_that_is_damaged_is_put_back_while_the_project_has_it(
    out: Path, damaged: bytes | None
) -> None:
    """That of the export, and that of the generation that is compared with."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    damage(out / "ontology.json", damaged)
    assert (await world.sync(out)).is_unchanged
    assert verify(LocalTarget(out)).problems == []
    world.world.edit(rows=world.labels()[:1])
    await world.sync(out)
    damage(out / "generations" / "00001" / "ontology.json", damaged)
    assert (await world.sync(out)).is_unchanged
    assert verify(LocalTarget(out)).problems == []


async def test_an_ontology_that_is_lost_cannot_be_compared(out: Path) -> None:
    """Where the project has another one, a line names it; all rows fetched again make up for it."""
    world = LiveWorld(20, branches=())
    await world.export(out)
    damage(out / "ontology.json", b"{}")
    world.world.edit(ontology=[edit("rename", "Car", to="Auto")])
    with pytest.raises(Unsound, match=r"ontology\.json is lost or damaged.*--refetch"):
        await world.sync(out)
    await world.sync(out, options=SyncOptions(refetch=True))
    await world.export(out.with_name("anew"))
    assert live(out) == live(out.with_name("anew"))
    assert (await world.sync(out)).is_unchanged


def damage(path: Path, content: bytes | None) -> None:
    """Writes something else into a file, or deletes it."""
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def kept_names(target: Path) -> list[bool]:
    """What the manifest says of each generation."""
    manifest = json.loads((target / "manifest.json").read_bytes())
    return [generation["kept_names"] for generation in manifest["generations"]]
