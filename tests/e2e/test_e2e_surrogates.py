"""One broken character costs no row: U+FFFD in its place, a note, and neighbours byte for byte."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.faults import RowTrouble
from tests.e2e.platform import SMALL, Ended, Platform

SPEC = WorldSpec(rows=60, branches=(), unlabelled=0.0, objects=3, mix="image")
ODD = ("0000007", "0000031", "0000032")
KINDS = ("--emit", "objects,classifications,rows")


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(SPEC) as running:
        yield Platform(running)


def lines_of(ended: Ended, kind: str) -> list[bytes]:
    return ended.kept(kind).splitlines()


def apart(lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The lines of the odd rows, and the others."""
    odd = [line for line in lines if any(f"_{number}.".encode() in line for number in ODD)]
    return odd, [line for line in lines if line not in odd]


def notes_of(ended: Ended) -> dict[str, dict[str, Any]]:
    """The notes by the number in their title."""
    notes = [json.loads(line) for line in lines_of(ended, "notes")]
    return {note["data_title"].rpartition("_")[2].partition(".")[0]: note for note in notes}


def with_trouble(trouble: RowTrouble) -> dict[str, RowTrouble]:
    return {str(int(number)): trouble for number in ODD}


@pytest.mark.parametrize("flags", [(), ("--bundle-size", "1"), ("--transport", "sdk")], ids=" ".join)
def test_a_broken_character_costs_no_row(platform: Platform, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """All rows are harvested; what was broken is U+FFFD, is noted, and is counted in the manifest."""
    whole = platform.export(tmp_path / "whole", *KINDS, *flags)
    ended = platform.export(tmp_path / "out", *KINDS, *flags, rows=with_trouble("surrogates"))
    assert ended.code == 0, ended.said
    assert ended.counts["failed"] == 0
    notes = notes_of(ended)
    assert sorted(notes) == list(ODD)
    for note in notes.values():
        assert note["note"] == "surrogates_replaced"
        assert "data_title" in note["detail"]
        assert "listing data_title" in note["detail"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["notes"] == {"surrogates_replaced": len(ODD)}
    for kind in ("objects", "classifications", "rows"):
        odd, others = apart(lines_of(ended, kind))
        odd_before, others_before = apart(lines_of(whole, kind))
        assert others == others_before, "neighbours are as they were"
        assert len(odd) == len(odd_before) > 0
        assert all("\ufffd" in str(json.loads(line)) for line in odd)


def test_bytes_do_not_depend_on_how_rows_are_asked_for(platform: Platform, tmp_path: Path) -> None:
    """One by one, in bundles of any size, by worker processes: the same files, notes included."""
    ways = (("--bundle-size", "1"), ("--bundle-size", "7"), (), ("--processes", "2"))
    rows = with_trouble("surrogates")
    found = [
        platform.export(tmp_path / str(number), *KINDS, *way, rows=rows).parts
        for number, way in enumerate(ways)
    ]
    assert all(parts == found[0] for parts in found)
    assert "notes-00000.ndjson" in found[0]


@pytest.mark.parametrize("flags", [SMALL, ("--transport", "sdk"), ("--include-archived",)], ids=" ".join)
@pytest.mark.parametrize(("trouble", "key"), [("nan_confidence", "confidence"), ("nan", "simulator[0]")])
def test_nan_fails_the_row_and_the_message_names_the_key(
    platform: Platform, tmp_path: Path, flags: tuple[str, ...], trouble: RowTrouble, key: str
) -> None:
    """NaN is no JSON and no character to be mended: that row alone fails, and its neighbours come."""
    ended = platform.export(tmp_path / "out", *KINDS, *flags, rows=with_trouble(trouble))
    assert ended.code == 3
    assert sorted(ended.failed) == list(ODD)
    for row in ended.failed.values():
        assert row["error"] == "unreadable"
        assert row["message"].startswith("the label row is no valid JSON: NaN at data_units.")
        assert row["message"].endswith(f".labels.objects[0].{key}")
