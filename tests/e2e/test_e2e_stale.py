"""Label rows from before their last edit: asked for once more, then noted; and clocks that differ."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Faults, Simulator, WorldSpec
from tests.e2e.platform import SMALL, Ended, Platform

SPEC = WorldSpec(rows=300, branches=(), unlabelled=0.0, objects=2, mix="image")
SOME = Faults(rows={str(number): "stale" for number in (40, 41, 120, 299)})
MANY = Faults(shares={"stale": 0.5})


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(SPEC) as running:
        yield Platform(running)


@pytest.fixture(scope="module")
def whole(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The export with every row up to date."""
    ended = platform.export(tmp_path_factory.mktemp("whole") / "out", *SMALL)
    assert ended.code == 0
    assert "notes" not in "".join(ended.parts)
    return ended


def notes_of(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.kept("notes").splitlines()]


def manifest_of(target: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((target / "manifest.json").read_bytes())
    return manifest


@pytest.mark.parametrize("flags", [(), ("--transport", "sdk"), ("--processes", "2")], ids=" ".join)
def test_a_row_that_is_up_to_date_when_it_is_asked_for_again_leaves_no_trace(
    platform: Platform, whole: Ended, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The same bytes as if it had been so at once, and nothing is said of it."""
    before = platform.export(tmp_path / "before", *SMALL, *flags) if "sdk" in flags else whole
    ended = platform.export(tmp_path / "out", *SMALL, *flags, faults=SOME, stale_asks=1)
    assert ended.code == 0, ended.said
    assert ended.parts == before.parts
    assert ended.stats["rows_served"] == SPEC.rows + len(SOME.rows)


def test_a_row_that_stays_stale_is_harvested_as_it_is_and_noted(
    platform: Platform, whole: Ended, tmp_path: Path
) -> None:
    """Asked for twice; both stamps in its note, which is counted; all other rows are as always."""
    ended = platform.export(tmp_path / "out", *SMALL, faults=SOME)
    assert ended.code == 0, ended.said
    assert ended.stats["rows_served"] == SPEC.rows + len(SOME.rows)
    notes = notes_of(ended)
    assert [note["note"] for note in notes] == ["stale"] * len(SOME.rows)
    for note in notes:
        listed, says = note["detail"].split(", the row says ")
        assert listed.startswith("listed as edited 20")
        assert listed.removeprefix("listed as edited ") > says
    assert manifest_of(tmp_path / "out")["notes"] == {"stale": len(SOME.rows)}
    stale = {note["label_hash"] for note in notes}
    assert ended.kept("objects") != whole.kept("objects")
    for kind in ("objects", "classifications", "units"):
        rows, before = ended.kept(kind).splitlines(), whole.kept(kind).splitlines()
        assert all(json.loads(line)["label_hash"] in stale for line in set(rows) ^ set(before))


@pytest.mark.parametrize("flags", [(), ("--processes", "2")], ids=" ".join)
def test_where_many_rows_are_older_than_listed_the_clocks_differ(
    platform: Platform, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """One warning, no more asking, and none is noted; every row is harvested."""
    ended = platform.export(tmp_path / "out", *SMALL[:-1], "400", *flags, faults=MANY)
    assert ended.code == 0, ended.said
    assert ended.counts["harvested"] == SPEC.rows
    assert ended.said.count("rows.clocks_differ") == 1
    assert "mean different moments" in ended.said
    assert notes_of(ended) == []
    assert manifest_of(tmp_path / "out")["notes"] == {}
    assert ended.stats["rows_served"] < SPEC.rows + 150
