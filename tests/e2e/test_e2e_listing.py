"""The listing: filters that the server ignores, rows that it lists twice, and the file that says it all."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from harvester.live import live_records
from harvester.schema import LISTING_KEYS
from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.faults import FILTERS
from harvester.simulator.world import World
from tests.e2e.platform import PROJECT, SMALL, Platform

SPEC = WorldSpec(rows=300, mix=("image", "video"))
WORLD = World(SPEC)
ITEMS = [json.loads(item) for item in WORLD.listing()]
LABELLED = [item for item in ITEMS if item.get("label_hash")]
FLAGS = (*SMALL, "--emit", "objects")
TASK_STATUS = ("--task-status", "COMPLETED")

# By the key of the list call's payload: the flags that set it.
EXACT = {
    "label_statuses": TASK_STATUS,
    "data_title_eq": ("--data-title-eq", LABELLED[3]["data_title"]),
    "workflow_graph_node_title_eq": ("--workflow-graph-node-title-eq", "Review"),
    "branch_name": ("--branch-name", "main", ),
    "shadow_data_state": ("--shadow-data-state", "NOT_SHADOW_DATA"),
    "data_hashes": ("--data-hash", LABELLED[4]["data_hash"], "--data-hash", LABELLED[5]["data_hash"]),
    "label_hashes": ("--label-hash", LABELLED[6]["label_hash"]),
}  # fmt: skip
LOOSE = {
    "edited_before": ("--edited-before", "2024-06-01"),
    "edited_after": ("--edited-after", "2024-06-01"),
    "data_title_like": ("--data-title-like", "%1%"),
    "workflow_graph_node_title_like": ("--workflow-graph-node-title-like", "rev%"),
}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Simulator(SPEC) as running:
        yield Platform(running)


def listed(target: Path, folder: str = ".") -> list[dict[str, Any]]:
    with zstandard.open(target / folder / "listing.ndjson.zst", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def warned(said: str, event: str) -> list[str]:
    """What log lines of one event say."""
    return [line.partition(event)[2].strip() for line in said.splitlines() if event in line]


def test_every_filter_of_the_list_call_is_tried_here() -> None:
    """But for the one whose being ignored shows in no row: that further branches are left out."""
    assert {*EXACT, *LOOSE, "include_all_label_branches"} == FILTERS


@pytest.mark.parametrize("ignored", EXACT)
def test_a_filter_that_the_server_ignores_is_made_up_for_and_named(
    platform: Platform, tmp_path: Path, ignored: str
) -> None:
    """The records are those of a server that heeds it; other rows are filtered, and one warning says so."""
    flags = EXACT[ignored]
    if ignored == "branch_name":  # the simulator lists main where no branch is named
        flags = ("--branch-name", WORLD.branches()[1])
    heeded = platform.export(tmp_path / "heeded", *FLAGS, *flags)
    assert warned(heeded.said, "listing.filter_") == []
    ended = platform.export(tmp_path / "out", *FLAGS, *flags, ignored_filters=(ignored,))
    assert ended.code == 0, ended.said
    filtered = ended.counts["filtered"]
    assert warned(ended.said, "listing.filter_ignored") == [f"flag={flags[0]} rows={filtered}"]
    assert filtered > 0
    if ignored != "branch_name":
        assert ended.kept() == heeded.kept() != b""
        assert ended.counts["harvested"] == heeded.counts["harvested"]
    outcomes = Counter(line["outcome"] for line in listed(tmp_path / "out"))
    assert {"listed": sum(outcomes.values()), **outcomes} == {
        name: number for name, number in ended.counts.items() if number
    }


@pytest.mark.parametrize("ignored", LOOSE)
def test_dates_and_patterns_mean_what_the_server_says(
    platform: Platform, tmp_path: Path, ignored: str
) -> None:
    """Rows that contradict them stay, and one warning says how many they are."""
    ended = platform.export(tmp_path / "out", *FLAGS, *LOOSE[ignored], ignored_filters=(ignored,))
    assert ended.code == 0, ended.said
    assert (ended.counts["listed"], ended.counts["filtered"]) == (len(ITEMS), 0)
    [said] = warned(ended.said, "listing.filter_contradicted")
    flag, rows = said.split(" rows=")
    assert flag == f"flag={LOOSE[ignored][0]}"
    assert 0 < int(rows) < len(ITEMS)
    heeded = platform.export(tmp_path / "heeded", *FLAGS, *LOOSE[ignored])
    assert warned(heeded.said, "listing.filter_") == []


def test_plan_status_stream_sync_and_verify_hold_to_it_as_well(platform: Platform, tmp_path: Path) -> None:
    """The same rows, and the same warning."""
    wanted = sum(item["annotation_task_status"] == "COMPLETED" for item in ITEMS)
    warning = f"flag=--task-status rows={len(ITEMS) - wanted}"
    ended = platform.export(tmp_path / "out", *FLAGS, *TASK_STATUS, ignored_filters=("label_statuses",))
    command = platform.command

    def told(done: "subprocess.CompletedProcess[str]") -> str:
        assert done.returncode == 0, done.stderr
        assert warned(done.stderr, "listing.filter_ignored") == [warning]
        return done.stdout

    assert json.loads(told(command("status", PROJECT, *TASK_STATUS, "--json")))["rows"] == wanted
    plan = json.loads(told(command("plan", PROJECT, *TASK_STATUS, "--json", "--sample", "0")))
    assert (plan["listed"], plan["filtered"]) == (len(ITEMS), len(ITEMS) - wanted)
    assert told(command("export", PROJECT, *TASK_STATUS, "--emit", "objects", "-o", "-")).encode() == (
        ended.kept()
    )
    assert 'is_unchanged":true' in told(command("sync", tmp_path / "out", "--json"))
    assert json.loads(told(command("verify", "--server", tmp_path / "out", "--json")))["drift"]["added"] == 0
    platform.simulator.set_faults()


TWICE = Faults(shares={"twice_by_title": 0.1, "twice_by_branch": 0.1})


def twice(target: Path) -> int:
    """How many label rows of an export were noted as listed twice."""
    notes = b"".join(path.read_bytes() for path in sorted(target.glob("notes-*.ndjson")))
    found = [json.loads(line) for line in notes.splitlines()]
    return sum(note["note"] == "listed_twice" for note in found)


def test_a_label_row_that_is_listed_twice_comes_once(platform: Platform, tmp_path: Path) -> None:
    """On every way, first in the order of the plan; the numbers add up over label rows; each is noted."""
    branches = ("--include-all-label-branches",)
    out, command = tmp_path / "out", platform.command
    plain = platform.export(tmp_path / "plain", *FLAGS, *branches)
    ended = platform.export(out, *FLAGS, *branches, faults=TWICE)
    assert ended.code == 0, ended.said
    assert ended.counts == plain.counts
    assert sum(number for name, number in ended.counts.items() if name != "listed") == ended.counts["listed"]
    number = twice(out)
    assert number > 10
    assert f"{number} listed twice" in ended.said
    labels = [line["label_hash"] for line in listed(out) if line["label_hash"]]
    assert len(set(labels)) == len(labels)
    assert sorted(ended.kept().splitlines()) == sorted(plain.kept().splitlines())
    done = command("export", PROJECT, *branches, "--emit", "objects", "-o", "-")
    assert done.stdout.encode() == ended.kept()
    plan = json.loads(command("plan", PROJECT, *branches, "--json", "--sample", "0").stdout)
    assert plan["listed"] == ended.counts["listed"]
    status = json.loads(command("status", PROJECT, *branches, "--json").stdout)
    assert status["rows"] == ended.counts["listed"]
    done = command("verify", "--server", out)
    assert "✓ sound" in done.stderr
    assert "nothing has changed on the server" in done.stderr
    platform.simulator.set_faults()


def test_a_sync_counts_it_once_as_a_new_export_does(tmp_path: Path) -> None:
    """Rows that come to be listed twice between an export and its sync."""
    with Simulator(SPEC) as running:
        platform = Platform(running)
        out, branches = tmp_path / "out", ("--include-all-label-branches",)
        platform.export(out, *FLAGS, *branches)
        running.set_faults(TWICE)
        running.edit(random=10, added=3)
        done = platform.command("sync", out, "--json")
        assert done.returncode == 0, done.stderr
        fresh = platform.export(tmp_path / "fresh", *FLAGS, *branches, faults=TWICE)
        assert json.loads(done.stdout)["counts"] == fresh.counts
        assert listed(out, "generations/00001") == listed(tmp_path / "fresh")
        assert same_records(out, tmp_path / "fresh")
        assert "✓ sound" in platform.command("verify", out).stderr


def same_records(one: Path, other: Path) -> bool:
    both = [sorted(json.dumps(record) for record in live_records(target)) for target in (one, other)]
    return both[0] == both[1]


@pytest.mark.parametrize("flags", [(), ("--processes", "2")], ids=["one process", "two"])
def test_every_listed_row_stands_in_the_listing(
    platform: Platform, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Whatever became of it, with all keys; the manifest names the file, and verify checks it."""
    out = tmp_path / "out"
    bad = LABELLED[0]["label_hash"]
    ended = platform.export(
        out, *FLAGS, *flags, "--data-type", "image", "--client-metadata", rows={bad: "deleted"}
    )
    video = LABELLED[0]["data_type"] == "VIDEO"
    assert ended.code == (0 if video else 3)
    lines = listed(out)
    assert {tuple(line) for line in lines} == {LISTING_KEYS}
    outcomes = Counter(line["outcome"] for line in lines)
    assert {"listed": len(lines), **outcomes} == {name: n for name, n in ended.counts.items() if n}
    items = {
        item["data_hash"]: item for item in map(json.loads, WORLD.listing({"include_client_metadata": 1}))
    }
    assert {line["data_hash"] for line in lines} == set(items)
    for line in lines:
        item = items[line["data_hash"]]
        for key in ("width", "height", "number_of_frames", "backing_item_uuid", "created_at", "label_status"):
            assert line[key] == item.get(key), key
        assert line["stage"] == item["workflow_graph_node"]["title"]
        assert json.loads(line["client_metadata"] or "null") == item["client_metadata"]
    assert "all listed rows" in ended.said
    named = json.loads((out / "manifest.json").read_bytes())["listing"]
    assert (named["rows"], named["bytes"]) == (300, (out / "listing.ndjson.zst").stat().st_size)
    (out / "listing.ndjson.zst").write_bytes(b"")
    assert "listing.ndjson.zst: missing or damaged" in platform.command("verify", out).stderr
    platform.command("export", PROJECT, "-o", out, *FLAGS, "--data-type", "image", "--client-metadata")
    assert listed(out) == lines
    platform.simulator.set_faults()


def test_a_sync_after_which_only_the_listing_differs(tmp_path: Path) -> None:
    """A moved stage, new client metadata: no label row is asked for, and it is as a new export has it."""
    with Simulator(SPEC) as running:
        platform = Platform(running)
        out = tmp_path / "out"
        platform.export(out, *FLAGS, "--client-metadata")
        running.edit(
            stages={LABELLED[1]["label_hash"]: "Complete"}, client_metadata={ITEMS[9]["data_hash"]: {"a": 1}}
        )
        before = running.stats()["rows_served"]
        done = platform.command("sync", out)
        assert done.returncode == 0, done.stderr
        assert "(generation 1)" in done.stderr
        assert running.stats()["rows_served"] == before
        platform.export(tmp_path / "fresh", *FLAGS, "--client-metadata")
        assert (out / "generations/00001/listing.ndjson.zst").read_bytes() == (
            tmp_path / "fresh/listing.ndjson.zst"
        ).read_bytes()
        assert {"a": 1} in [
            json.loads(line["client_metadata"] or "0") for line in listed(out, "generations/00001")
        ]
        assert "nothing has changed" in platform.command("sync", out).stderr
