"""`harvester plan` as it is run, over TLS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.simulator import Simulator
from harvester.simulator.faults import Faults
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command, command_for

ROWS = 400


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=ROWS, seed=5), faults=Faults(latency=0.05)) as running:
        yield running


@pytest.fixture(scope="module")
def harvester(simulator: Simulator) -> Command:
    return command_for(simulator)


def test_a_plan_foresees_its_export(simulator: Simulator, harvester: Command, tmp_path: Path) -> None:
    """Records, requests, bytes; and the time no shorter than the rate allows (the rest is the machine's)."""
    chosen = (
        "--where",
        "!has(object.confidence) || object.confidence > 0.3",
        "--max-rps",
        "20",
        "--bundle-size",
        "10",
    )
    planned = harvester("plan", simulator.project_title, *chosen, "--json")
    assert planned.returncode == 0, planned.stderr
    found = json.loads(planned.stdout)
    done = harvester.export(tmp_path / "out", simulator.project_title, *chosen)
    assert (found["listed"], found["to_fetch"]) == (done["counts"]["listed"], done["counts"]["harvested"])
    prediction, run = found["prediction"], done["run"]
    on_disk = sum(path.stat().st_size for path in (tmp_path / "out").glob("*-*.ndjson"))
    truth = {
        **{kind: (prediction["records"][kind], done["records"][kind]["written"]) for kind in done["records"]},
        "requests": (prediction["requests"], run["requests"]),
        "label bytes": (prediction["label_bytes"], run["body_bytes"]),
        "wire bytes": (prediction["wire_bytes"], run["wire_bytes"]),
        "on disk": (prediction["output_total"], on_disk),
    }
    held = {name: estimate["low"] <= number <= estimate["high"] for name, (estimate, number) in truth.items()}
    assert sum(held.values()) >= len(held) - 1, truth
    assert min(prediction["seconds"]["value"], run["seconds"]) > 0.9 * run["requests"] / 20


def test_a_plan_explains_itself_and_writes_nothing(
    simulator: Simulator, harvester: Command, tmp_path: Path
) -> None:
    """Tables for people: what each predicate leaves, what an export takes, and what that rests on."""
    shown = harvester(
        "plan", simulator.project_title, "--explain", "--sample", "20",
        "--task-status", "COMPLETED", "--shape", "polygon",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    for text in (
        "the list call",
        "task statuses",
        "shape",
        "an export will take",
        "95 % between",
        "--sample 0",
    ):
        assert text in shown.stdout
    mutations = simulator.stats()
    assert not [name for name in mutations if "mutation" in name and mutations[name]]


def test_a_wrong_expression_is_told_before_anything_is_asked(harvester: Command) -> None:
    """Exit 2, one line, the column."""
    done = harvester("plan", "no project", "--where", "object.confidence >")
    assert done.returncode == 2
    assert done.stderr.strip() == "harvester: --where: column 20 (at its end): something is missing"
