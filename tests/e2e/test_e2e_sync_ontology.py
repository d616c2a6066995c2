"""`harvester sync` over TLS: the ontology has changed, or rows are asked for again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.live import live_records
from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.world import World
from tests.e2e.conftest import Command, command_for

PROJECT = "Demo street scenes"
SPEC = WorldSpec(rows=300, objects=0.5, mix=("image",), archived=("Pedestrian",))


@pytest.fixture
def changing() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture
def command(changing: Simulator) -> Command:
    return command_for(changing)


@pytest.fixture
def out(command: Command, tmp_path: Path) -> Path:
    command.export(tmp_path / "out", PROJECT)
    return tmp_path / "out"


def synced(command: Command, out: Path, *flags: str) -> tuple[dict[str, Any], str]:
    """The summary of a sync, and what the screen said."""
    done = command("sync", out, "--json", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def live(target: Path) -> list[str]:
    return sorted(json.dumps(record, sort_keys=True) for record in live_records(target))


def cars(target: Path, name: str) -> set[str]:
    """The label rows with a live object of that class."""
    return {
        record["label_hash"]  # type: ignore[typeddict-item]
        for record in live_records(target, kinds=["objects"])
        if record["name"] == name  # type: ignore[typeddict-item]
    }


def test_a_class_that_is_renamed_is_said_and_its_rows_are_fetched_again(
    changing: Simulator, command: Command, out: Path, tmp_path: Path
) -> None:
    """Before anything is fetched, and in the summary. Each generation has the ontology that it was made with,
    and `verify` looks at it."""
    holding = cars(out, "Car")
    changing.edit(ontology=[{"do": "rename", "node": "Car", "to": "Auto"}])
    told, said = synced(command, out)
    assert "ontology.changed" in said
    assert said.index("ontology.changed") < said.index("✓ up to date")
    assert f"Car (a5cdf07d) renamed Auto: {len(holding)} rows fetched again" in " ".join(said.split())
    assert told["changes"]["edited"] == told["ontology"]["rows"] == len(holding)
    assert told["ontology"]["nodes"] == [
        {"feature_hash": "a5cdf07d", "name": "Auto", "was": "Car", "how": ["renamed"]}
    ]
    assert cars(out, "Auto") == holding
    command.export(tmp_path / "anew", PROJECT)
    assert live(out) == live(tmp_path / "anew")
    kept = out / "generations" / "00001" / "ontology.json"
    assert kept.read_bytes() == (tmp_path / "anew" / "ontology.json").read_bytes()
    assert "✓ sound" in command("verify", out).stderr
    kept.write_bytes(kept.read_bytes()[:-1])
    assert "generations/00001/ontology.json: missing or damaged" in command("verify", out).stderr


def test_names_are_kept_on_request_until_a_sync_catches_up(
    changing: Simulator, command: Command, out: Path
) -> None:
    """No row is fetched; the manifest and the screen say so."""
    holding = cars(out, "Car")
    changing.edit(ontology=[{"do": "rename", "node": "Car", "to": "Auto"}])
    before = changing.stats()["rows_served"]
    told, said = synced(command, out, "--keep-names")
    assert "rows left as they are" in " ".join(said.split())
    assert (told["kept_names"], told["changes"]["edited"]) == (True, 0)
    assert changing.stats()["rows_served"] == before
    assert json.loads((out / "manifest.json").read_bytes())["generations"][0]["kept_names"] is True
    assert cars(out, "Car") == holding
    told, said = synced(command, out, "--keep-names")
    assert "nothing has changed" in said
    assert "names are kept" in said
    told, _ = synced(command, out)
    assert (told["kept_names"], told["changes"]["edited"]) == (False, len(holding))
    assert cars(out, "Auto") == holding


def test_labels_of_a_class_that_is_archived_no_more_come_with_all_rows(
    changing: Simulator, command: Command, out: Path, tmp_path: Path
) -> None:
    """Nobody can tell which rows have some: the screen says why all of them are fetched."""
    assert cars(out, "Pedestrian") == set()
    changing.edit(ontology=[{"do": "unarchive", "node": "Pedestrian"}])
    told, said = synced(command, out)
    assert "labels of Pedestrian were not sent while it was archived" in " ".join(said.split())
    assert told["changes"]["edited"] == told["counts"]["harvested"]
    assert cars(out, "Pedestrian")
    command.export(tmp_path / "anew", PROJECT)
    assert live(out) == live(tmp_path / "anew")


def test_rows_that_were_stale_are_asked_for_again_once(
    changing: Simulator, command: Command, tmp_path: Path
) -> None:
    """By the sync that follows the export, and by none after it."""
    out = tmp_path / "out"
    changing.set_faults(rows={"3": "stale", "40": "stale"})
    assert command.export(out, PROJECT)["notes"] == {"stale": 2}
    changing.set_faults(rows={"40": "stale"})
    told, said = synced(command, out)
    assert (told["changes"]["edited"], told["notes"]) == (2, {"stale": 1})
    assert "1 stale" in said
    changing.set_faults()
    assert "nothing has changed" in synced(command, out)[1]


def test_rows_are_fetched_again_on_request(command: Command, out: Path) -> None:
    """All, or those that are named; a row that is not listed, or one named without --refetch, is exit 2."""
    labels = [item["label_hash"] for item in map(json.loads, World(SPEC).listing()) if item.get("label_hash")]
    before = live(out)
    told, _ = synced(command, out, "--refetch", "--label-hash", labels[0], "--label-hash", labels[1])
    assert told["changes"]["edited"] == 2
    told, _ = synced(command, out, "--refetch")
    assert told["changes"]["edited"] == len(labels)
    assert live(out) == before
    unknown = command("sync", out, "--refetch", "--label-hash", "no such row", "--quiet")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "no label row no such row is listed" in unknown.stderr
    alone = command("sync", out, "--label-hash", labels[0])
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1)
    assert "give --refetch, too" in alone.stderr
    assert synced(command, out)[0]["is_unchanged"]
