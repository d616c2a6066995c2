"""`harvester sync`, the installed command, against a simulated project that changes."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.live import live_records
from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.world import World
from tests.e2e.conftest import Command, command_for, wait_for

PROJECT = "Demo street scenes"
SPEC = WorldSpec(rows=2000, objects=0.5, mix=("image",))
SMALL_BUNDLES = ("--bundle-size", "3")


@pytest.fixture(scope="module")
def changing() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture(scope="module")
def command(changing: Simulator) -> Command:
    return command_for(changing)


def requests(simulator: Simulator) -> int:
    asked: int = simulator.stats()["requests"]
    return asked


def live(target: Path) -> list[str]:
    return sorted(json.dumps(record, sort_keys=True) for record in live_records(target))


def test_a_sync_costs_what_has_changed_and_gives_what_a_new_export_would(
    changing: Simulator, command: Command, tmp_path: Path
) -> None:
    """With 1 % of the rows edited: at most 2 % of the export's requests, all counted, by the server. Then
    in two processes, with rows that came and went. Each time the live records are those of a new export."""
    labels = [item["label_hash"] for item in map(json.loads, World(SPEC).listing()) if item.get("label_hash")]
    out, before = tmp_path / "out", requests(changing)
    command.export(out, PROJECT, *SMALL_BUNDLES)
    full, before = requests(changing) - before, requests(changing)
    changing.edit(rows=labels[::100])
    done = command("sync", out, "--json", *SMALL_BUNDLES)
    assert done.returncode == 0, done.stderr
    assert requests(changing) - before <= 0.02 * full
    assert json.loads(done.stdout)["changes"]["edited"] == len(labels[::100])
    assert f"{len(labels[::100])} edited (generation 1)" in done.stderr

    changing.edit(rows=labels[1:400:2], removed=labels[:20], added=50)
    done = command("sync", out, "--json", "--processes", "2")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["generation"] == 2
    assert told["changes"]["removed"] == 20
    assert (told["counts"]["listed"], told["counts"]["failed"]) == (2000 - 20 + 50, 0)
    command.export(tmp_path / "fresh", PROJECT)
    assert live(out) == live(tmp_path / "fresh")
    assert "✓ sound" in command("verify", out).stderr
    assert "nothing has changed on the server" in command("verify", "--server", out).stderr
    assert changing.stats()["mutations"] == 0


def test_a_killed_sync_goes_on(changing: Simulator, command: Command, tmp_path: Path) -> None:
    """SIGKILL once it has frozen what has changed: until it ends the old records are live, then the new."""
    labels = [item["label_hash"] for item in map(json.loads, World(SPEC).listing()) if item.get("label_hash")]
    out = tmp_path / "out"
    command.export(out, PROJECT, "--rows-per-part", "20", "--data-title-like", "%11%")
    before = live(out)
    changing.edit(rows=labels)
    changing.set_faults(hold_after=45)  # two parts of twenty rows are open: one of them is complete by then
    running = command.start("sync", out, "--concurrency", "1", *SMALL_BUNDLES, stderr=subprocess.DEVNULL)
    commits = out / "generations" / "00001" / ".harvester" / "commits"
    wait_for(running, lambda: len(list(commits.glob("*.json"))) >= 1)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    changing.set_faults()
    assert live(out) == before
    assert "a sync is not finished" in command("verify", out).stderr
    done = command("sync", out)
    assert done.returncode == 0, done.stderr
    assert "resumed" in done.stderr
    assert live(out) != before


def test_what_cannot_be_synced_is_said_in_a_line(command: Command, tmp_path: Path) -> None:
    """No export there: exit 2, one line, and nothing is made."""
    done = command("sync", tmp_path / "nothing")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("nothing holds no export that could be synced")
    assert not (tmp_path / "nothing").exists()
