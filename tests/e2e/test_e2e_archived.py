"""Labels of archived ontology features: asked for with a flag, by the only call that sends them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.faults import RowTrouble
from harvester.simulator.ontology import feature_hash
from tests.e2e.platform import SMALL, Ended, Platform

SPEC = WorldSpec(rows=80, branches=(), unlabelled=0.0, archived=True)
ARCHIVED = [feature_hash("Pedestrian"), feature_hash("Speech"), feature_hash("Comment", "classification")]
FLAGS = (*SMALL, "--emit", "objects,classifications")


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(SPEC) as running:
        yield Platform(running)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The export of the same world in which nothing is archived."""
    with Simulator(WorldSpec(rows=80, branches=(), unlabelled=0.0)) as running:
        return Platform(running).export(tmp_path_factory.mktemp("usual") / "out", *FLAGS)


def selected(target: Path) -> dict[str, Any]:
    selection: dict[str, Any] = json.loads((target / "manifest.json").read_bytes())["selection"]
    return selection


def test_without_the_flag_they_are_not_there_and_the_manifest_says_so(
    platform: Platform, tmp_path: Path
) -> None:
    """No record names an archived feature."""
    ended = platform.export(tmp_path / "out", *FLAGS)
    assert ended.code == 0, ended.said
    lines = ended.kept("objects") + ended.kept("classifications")
    assert lines
    assert not any(feature.encode() in lines for feature in ARCHIVED)
    assert selected(tmp_path / "out")["include_archived"] is False


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--bundle-size", "1"),
        ("--transport", "sdk"),
        ("--transport", "sdk", "--bundle-size", "1"),
        ("--processes", "2"),
    ],
    ids=" ".join,
)
def test_with_the_flag_all_are_there_on_every_way(
    platform: Platform, usual: Ended, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """As many records as where nothing is archived, also where rows are asked for one by one."""
    ended = platform.export(tmp_path / "out", *FLAGS, "--include-archived", *flags)
    assert ended.code == 0, ended.said
    for kind in ("objects", "classifications"):
        assert ended.kept(kind).count(b"\n") == usual.kept(kind).count(b"\n")
    assert all(feature.encode() in ended.kept() + ended.kept("classifications") for feature in ARCHIVED)
    assert selected(tmp_path / "out")["include_archived"] is True


def test_the_flag_may_come_from_the_environment(platform: Platform, usual: Ended, tmp_path: Path) -> None:
    """As every other."""
    ended = platform.export(tmp_path / "out", *FLAGS, variables={"HARVESTER_INCLUDE_ARCHIVED": "1"})
    assert ended.kept().count(b"\n") == usual.kept().count(b"\n")


def test_the_plan_takes_the_flag_and_counts_what_it_brings(platform: Platform) -> None:
    """`plan --explain` asks with it: all rows are looked at, so the count of objects is exact."""
    platform.simulator.set_faults()

    def objects(*flags: str) -> float:
        arguments = ("--sample", "80", "--emit", "objects", "--json", *flags)
        done = platform.command("plan", "Demo street scenes", "--explain", *arguments)
        assert done.returncode == 0, done.stderr
        found: float = json.loads(done.stdout)["prediction"]["records"]["objects"]["value"]
        return found

    assert objects("--include-archived") > objects()


# By the number in its title: what is the matter with the row, and how it is listed as failed.
LEFT_OUT: dict[str, tuple[RowTrouble, str, str]] = {
    "0000012": ("deleted", "gone", "was not found"),
    "0000033": ("forbidden", "forbidden", "not authorised"),
    "0000054": ("unbundled", "left_out", "without its labels of archived features"),
}


@pytest.mark.parametrize("flags", [(), ("--bundle-size", "1"), ("--transport", "sdk")], ids=" ".join)
def test_a_single_call_finds_out_why_a_row_is_left_out(
    platform: Platform, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Also where bundled calls are the only ones that bring all; a row that only comes in part has failed."""
    rows = {str(int(number)): trouble for number, (trouble, _, _) in LEFT_OUT.items()}
    ended = platform.export(tmp_path / "out", *FLAGS, "--include-archived", *flags, rows=rows)
    assert ended.code == 3
    assert {number: row["error"] for number, row in ended.failed.items()} == {
        number: failure for number, (_, failure, _) in LEFT_OUT.items()
    }
    for number, (_, _, words) in LEFT_OUT.items():
        assert words in ended.failed[number]["message"]


def test_without_the_flag_a_row_that_bundles_leave_out_comes_alone(
    platform: Platform, tmp_path: Path
) -> None:
    """Then the single call brings all that is asked for; gone and forbidden rows are named as such."""
    rows = {str(int(number)): trouble for number, (trouble, _, _) in LEFT_OUT.items()}
    ended = platform.export(tmp_path / "out", *FLAGS, rows=rows)
    assert {number: row["error"] for number, row in ended.failed.items()} == {
        "0000012": "gone",
        "0000033": "forbidden",
    }
