"""Rows that a sync asks for again though their listing says nothing new: on request, or noted as stale."""

from pathlib import Path
from typing import Any

import pytest

from harvester.changes import SyncOptions
from harvester.errors import BadInput, CannotFinishNow
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
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
