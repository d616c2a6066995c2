"""Rows that a sync asks for again though their listing says nothing new: on request, or noted as stale."""

import json
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.errors import BadInput, CannotFinishNow
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.plan.changes import SyncOptions
from tests.sync.worlds import LiveWorld, contents, feed, live, whats

pytestmark = pytest.mark.anyio

ALL = SyncOptions(refetch=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def test_all_rows_are_fetched_again_on_request(out: Path) -> None:
    """Each as edited, and the live records are the same; a sync that is not asked to finds nothing."""
    world = LiveWorld(30, branches=())
    await world.export(out)
    before = live(out)
    world.asked = []
    done = await world.sync(out, options=ALL)
    assert sorted(world.asked) == sorted(world.labels())
    assert done.changes["edited"] == len(world.labels())
    assert live(out) == before
    assert (await world.sync(out)).is_unchanged


async def test_only_the_rows_that_are_named_are_fetched_again(out: Path) -> None:
    """And what has changed besides."""
    world = LiveWorld(30, branches=())
    await world.export(out)
    *named, edited, _ = world.labels()[:4]
    world.world.edit(rows=[edited])
    world.asked = []
    await world.sync(out, options=SyncOptions(refetch=tuple(named)))
    assert sorted(world.asked) == sorted([*named, edited])
    assert whats(feed(out, 1)) == sorted(("edited", label) for label in [*named, edited])


@pytest.mark.parametrize("named", ["00000000-0000-4000-8000-000000000000", "no hash", "another stage's"])
async def test_a_row_that_is_not_listed_cannot_be_fetched_again(out: Path, named: str) -> None:
    """One line says which, nothing is fetched, and no sync has begun."""
    world = LiveWorld(30, branches=())
    await world.export(out)
    before = contents(out)
    world.asked = []
    with pytest.raises(BadInput, match=f"no label row {named} is listed"):
        await world.sync(out, options=SyncOptions(refetch=(world.labels()[0], named)))
    assert (contents(out), world.asked) == (before, [])
    assert verify(LocalTarget(out)).ok


@pytest.mark.parametrize("refetch", [5, ["a", 5], {"a": 1}])
def test_what_names_no_rows_is_refused_in_a_line(out: Path, refetch: Any) -> None:
    """Before anything is opened; a lone string is the hash of one row."""
    with pytest.raises(BadInput, match="refetch takes"):
        harvester.sync(out, refetch=refetch)


def noted_stale(target: Path, generation: str) -> set[str]:
    """The label rows that a generation noted as stale."""
    lines = b"".join(path.read_bytes() for path in sorted((target / generation).glob("notes-*.ndjson")))
    notes = map(json.loads, lines.splitlines())
    return {note["label_hash"] for note in notes if note["note"] == "stale"}


async def test_a_row_that_the_export_noted_as_stale_is_asked_for_again_once(out: Path) -> None:
    """By the next sync: one that comes up to date now is edited; one that does not is noted, and left until
    its listing changes."""
    world = LiveWorld(40, branches=(), mix="image")
    fresh, stale = world.labels()[:2]
    world.stale = {fresh, stale}
    await world.export(out)
    assert noted_stale(out, ".") == {fresh, stale}

    world.stale, world.asked = {stale}, []
    done = await world.sync(out)
    assert set(world.asked) == {fresh, stale}
    assert whats(feed(out, 1)) == sorted([("edited", fresh), ("edited", stale)])
    assert (noted_stale(out, "generations/00001"), done.notes) == ({stale}, {"stale": 1})

    world.asked = []
    assert (await world.sync(out)).is_unchanged
    assert world.asked == []
    world.stale = set()
    world.world.edit(rows=[stale])
    await world.sync(out)
    assert world.asked == [stale]
    await world.export(out.with_name("anew"))
    assert live(out) == live(out.with_name("anew"))


async def test_a_row_that_a_sync_noted_as_stale_is_asked_for_again_once(out: Path) -> None:
    """By the sync after it; an edit that came late is there then, and no row is asked for in every sync."""
    world = LiveWorld(40, branches=(), mix="image")
    fresh, stale, old = world.labels()[:3]
    world.stale = {old}
    await world.export(out)
    world.world.edit(rows=[fresh, stale])
    world.stale |= {fresh, stale}
    await world.sync(out)
    assert noted_stale(out, "generations/00001") == {fresh, stale, old}
    world.stale, world.asked = {stale, old}, []
    await world.sync(out)
    assert set(world.asked) == {fresh, stale}
    assert noted_stale(out, "generations/00002") == {stale}
    world.asked = []
    assert (await world.sync(out)).is_unchanged
    assert world.asked == []
    await world.export(out.with_name("anew"))
    assert live(out) == live(out.with_name("anew"))


async def test_a_row_that_was_edited_after_it_was_noted_as_stale_is_asked_for_once(out: Path) -> None:
    """Its listing says that it has changed: the note has nothing to add."""
    world = LiveWorld(30, branches=(), mix="image")
    label_hash = world.labels()[0]
    world.stale = {label_hash}
    await world.export(out)
    world.stale, world.asked = set(), []
    world.world.edit(rows=[label_hash])
    await world.sync(out)
    assert world.asked == [label_hash]
    assert (await world.sync(out)).is_unchanged


OPTIONS = [SyncOptions(), SyncOptions(keep_names=True), SyncOptions(refetch=True)]


@pytest.mark.parametrize("given", OPTIONS, ids=str)
@pytest.mark.parametrize("began", OPTIONS, ids=str)
async def test_an_unfinished_sync_goes_on_with_what_it_was_asked_to_do(
    out: Path, began: SyncOptions, given: SyncOptions
) -> None:
    """To the same bytes, whatever is asked for now; a line says what is passed over."""
    world = LiveWorld(40, branches=(), seed=2)
    await world.export(out)
    await world.export(out.with_name("clean"))
    world.world.edit(ontology=[{"do": "rename", "node": "Weather", "to": "Sky"}], rows=world.labels()[:12])
    await world.sync(out.with_name("clean"), options=began)

    def ends() -> None:
        if len(world.asked) >= 5:
            raise CannotFinishNow("the server is down")

    world.asked, world.before_answer = [], ends
    with pytest.raises((CannotFinishNow, ExceptionGroup)):
        await world.sync(out, options=began)
    world.before_answer = lambda: None
    told: list[tuple[str, Any]] = []
    done = await world.sync(out, options=given, on_event=lambda event, fields: told.append((event, fields)))
    assert done.resumed
    assert contents(out) == contents(out.with_name("clean"))
    said = [fields for event, fields in told if event == "sync.options_passed_over"]
    assert said == ([] if began == given else [{"going_on_with": str(began), "passed_over": str(given)}])
