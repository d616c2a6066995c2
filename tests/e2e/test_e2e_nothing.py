"""Names that there are not, and selections that leave nothing, through the installed command."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import parts
from tests.e2e.platform import PROJECT, SMALL, Platform

SPEC = WorldSpec(rows=300, mix=("image", "video"))
OBJECTS = ("--emit", "objects")


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(SPEC) as running:
        yield Platform(running)


UNKNOWN = {
    "name": (
        ("--name", "Carr"),
        "unknown name 'Carr' (did you mean 'Car'?); removed features: --feature-hash",
    ),
    "dataset": (
        ("--dataset", "Street scenes 2032"),
        "unknown dataset 'Street scenes 2032' (did you mean 'Street scenes 2024' or 'Street scenes 2023'?)",
    ),
    "dataset beside a filter of the server": (
        ("--dataset", "Überland ❄ scene", "--task-status", "COMPLETED"),
        "unknown dataset 'Überland ❄ scene' (did you mean 'Überland ❄ scenes'?)",
    ),
    "stage": (
        ("--workflow-graph-node-title-eq", "Revew"),
        "unknown workflow stage 'Revew' (did you mean 'Review'?)",
    ),
    "branch": (
        ("--branch-name", "model-prediction"),
        "unknown branch 'model-prediction' (did you mean 'model-predictions'?)",
    ),
}


@pytest.mark.parametrize(("flags", "said"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_there_is_not_exits_2_and_leaves_nothing(
    platform: Platform, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    """One line says what is close, whether for files, for standard output or for a plan; no label row is
    asked for."""
    before = platform.simulator.stats()
    for verb in (["export", "-o", tmp_path / "out"], ["export", "-o", "-"], ["plan"]):
        done = platform.command(*verb, PROJECT, *flags, "--log-level", "warning")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"harvester: {said}\n")
    assert list(tmp_path.iterdir()) == []
    after = platform.simulator.stats()
    assert after["rows_served"] == before["rows_served"]
    assert after["mutations"] == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--name", "Weather", "--name", "Car"),
        ("--dataset", "Überland ❄ scenes"),
        ("--workflow-graph-node-title-eq", "Review"),
        ("--branch-name", "model-predictions"),
        ("--branch-name", "main"),
    ],
)
def test_what_there_is_is_exported(platform: Platform, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Nothing is said of it."""
    ended = platform.export(tmp_path / "out", *flags)
    assert (ended.code, ended.counts["harvested"] > 0) == (0, True), ended.said
    assert " is left" not in ended.said


def test_an_unknown_feature_hash_is_warned_of(platform: Platform, tmp_path: Path) -> None:
    """Labels of a removed feature may still be there. Here are none."""
    ended = platform.export(tmp_path / "out", "--feature-hash", "gone")
    assert ended.code == 0
    assert warned(ended.said, "selection.unknown_feature") == ["flag=--feature-hash hash=gone"]
    assert "no object is left: --feature-hash gone dropped all" in ended.said
    again = platform.export(tmp_path / "out", "--feature-hash", "gone")
    assert warned(again.said, "selection.unknown_feature") == []


def warned(said: str, event: str) -> list[str]:
    """What warnings of one event say."""
    return [line.partition(event)[2].strip() for line in said.splitlines() if f"[warning] {event}" in line]


def exported(platform: Platform, target: Path, *flags: str, **more: str) -> tuple[str, Any]:
    """What an export that ends with 0 says, and what its summary for machines says is left of nothing."""
    done: subprocess.CompletedProcess[str] = platform.command(
        "export", PROJECT, "-o", target, "--json", *flags, **more
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, json.loads(done.stdout).get("nothing_left")


NOTHING: dict[str, tuple[tuple[str, ...], str, list[str]]] = {
    "title": (
        ("--data-title-eq", "no such.jpg"),
        "no label row is listed with --data-title-eq 'no such.jpg'",
        [],
    ),
    "date": (("--edited-after", "2090-01-01"), "no label row is listed with --edited-after 2090-01-01", []),
    "several": (
        ("--data-title-like", "no%", "--task-status", "COMPLETED"),
        "no label row is listed with --task-status COMPLETED --data-title-like no%; harvester plan --explain"
        " counts what each of them leaves",
        [],
    ),
    "data type": (("--data-type", "audio"), "no label row is left: --data-type audio ruled out all 300", []),
    "label status": (
        ("--label-status", "REVIEWED", "--workflow-graph-node-title-eq", "Annotate"),
        "no label row is left: --label-status REVIEWED ruled out all ",
        [],
    ),
    "task status": (
        ("--task-status", "QUEUED"),
        "rows with --task-status QUEUED has been labelled yet",
        [],
    ),
    "shape": (("--shape", "audio"), "no object is left: --shape audio dropped all ", []),
    "name": (
        ("--name", "Weather", *OBJECTS),
        "no object is left: --name Weather dropped all ",
        [],
    ),
    "author": (("--author", "nobody@example.com"), "no object is left: --author nobody@example.com ", []),
    "where": (
        ("--where", "object.confidence > 2.0"),
        "no object is left: --where 'object.confidence > 2.0' dropped all ",
        [],
    ),
    "where on a field": (
        ("--where", "object.confidense > 0.8"),
        "no record has object.confidense\n",
        ["object.confidense"],
    ),
    "where on a field of answers": (
        ("--where", "answers.exists(a, a.nmae == 'Weather')"),
        "no record has answers.nmae\n",
        ["answers.nmae"],
    ),
}


@pytest.mark.parametrize(("flags", "said", "lacking"), NOTHING.values(), ids=NOTHING.keys())
def test_a_selection_that_leaves_nothing_says_which_predicate_did(
    platform: Platform, tmp_path: Path, flags: tuple[str, ...], said: str, lacking: list[str]
) -> None:
    """On a first run, on one that finds all done, and to standard output; for machines, too."""
    text, facts = exported(platform, tmp_path / "out", *flags, COLUMNS="200")
    assert said in text
    assert any(said.strip() in fact["message"] for fact in facts)
    assert facts[0]["lacking"] == lacking
    assert all(flag in fact["message"] for fact in facts for flag in fact["flags"])
    assert exported(platform, tmp_path / "out", *flags)[1] == facts
    streamed = platform.command("export", PROJECT, "-o", "-", *flags)
    assert (streamed.returncode, said.strip() in streamed.stderr) == (0, True)


def test_the_line_is_yellow(platform: Platform, tmp_path: Path) -> None:
    """On a terminal; a long one is folded, not cut."""
    flags = ("--where", "object.confidense > 0.8", "--quiet")
    done = platform.command("export", PROJECT, "-o", tmp_path / "out", *flags)
    assert done.stderr == ""
    done = platform.command(
        "export", PROJECT, "-o", tmp_path / "out", *flags[:-1], FORCE_COLOR="1", COLUMNS="60", TERM="xterm"
    )
    start, _, rest = done.stderr.partition("\x1b[33mno object is left")
    assert "complete" in start
    assert "object.confidense" in rest.partition("rows")[0]


def test_processes_and_resumed_runs_say_the_same(platform: Platform, tmp_path: Path) -> None:
    """What commits say is put together, whoever wrote them."""
    flags = (*SMALL, "--where", "object.confidense > 0.8")
    _, one = exported(platform, tmp_path / "one", *flags)
    _, two = exported(platform, tmp_path / "two", *flags, "--processes", "2")
    running = platform.start(tmp_path / "killed", *flags)
    running.kill()
    running.communicate()
    platform.simulator.set_faults()
    _, resumed = exported(platform, tmp_path / "killed", *flags)
    assert one == two == resumed
    assert one[0]["lacking"] == ["object.confidense"]
    assert parts(tmp_path / "one") == parts(tmp_path / "two") == parts(tmp_path / "killed")
    commits = [
        {path.name: path.read_bytes() for path in sorted(tmp_path.glob(f"{name}/.harvester/commits/*"))}
        for name in ("one", "two", "killed")
    ]
    assert commits[0] == commits[1] == commits[2] != {}


def test_a_field_that_one_process_has_seen_is_not_named(platform: Platform, tmp_path: Path) -> None:
    """Few records have it; most parts have none."""
    flags = (*SMALL, "--processes", "2", "--where", "frame == 1000000 || object.confidense > 2.0")
    _, facts = exported(platform, tmp_path / "out", *flags)
    assert [fact["lacking"] for fact in facts] == [["object.confidense"]]


def test_a_name_that_is_removed_later_stops_no_resumed_run_and_no_sync(tmp_path: Path) -> None:
    """They keep to what the export began with."""
    with Simulator(SPEC) as running:
        platform, out = Platform(running), tmp_path / "out"
        flags = (*SMALL, "--name", "Car", *OBJECTS)
        started = platform.start(out, *flags)
        started.kill()
        started.communicate()
        running.edit(ontology=[{"do": "rename", "node": "Car", "to": "Auto"}])
        ended = platform.export(out, *flags)
        assert ended.code == 0, ended.said
        assert "complete, resumed" in ended.said
        assert platform.command("sync", out).returncode == 0
        refused = platform.export(tmp_path / "new", *flags)
        assert (refused.code, "unknown name 'Car'" in refused.said) == (2, True)


def test_a_directory_takes_a_corrected_selection(platform: Platform, tmp_path: Path) -> None:
    """After a selection of which nothing was listed; it is a first run, and not complete already."""
    out = tmp_path / "out"
    exported(platform, out, "--data-title-eq", "no such.jpg")
    text, facts = exported(platform, out, "--data-title-like", "%1%")
    assert "already" not in text
    assert facts is None
    refused = platform.export(out, "--name", "Carr")
    assert refused.code == 6
