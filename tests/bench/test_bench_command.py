"""The suite and the installed verb, end to end."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.world import World
from tests.forked import HARVESTER
from tests.patience import LONG
from tests.truth import truth_of

ROOT = Path(__file__).parents[2]


def suite(*arguments: str | Path) -> Any:
    """Run the suite as `make bench` does."""
    argv = [sys.executable, "-m", "benchmarks.suite", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)


def bench(*arguments: str | Path, environment: dict[str, str] | None = None) -> Any:
    argv = [HARVESTER, "bench", *map(str, arguments)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=LONG, check=False)


RUN = ("bundles", "coco")


@dataclass(frozen=True)
class Quick:
    """What a quick run of some scenarios has shown and written."""

    shown: str
    folder: Path

    @property
    def found(self) -> dict[str, Any]:
        return json.loads((self.folder / "bench.json").read_text())  # type: ignore[no-any-return]

    def scenario(self, name: str) -> dict[str, Any]:
        return dict(zip(RUN, self.found["scenarios"], strict=True))[name]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    folder = tmp_path_factory.mktemp("quick")
    done = suite("--quick", *(word for name in RUN for word in ("--scenario", name)), "-o", folder)
    assert done.returncode == 0, done.stderr
    return Quick(done.stdout, folder)


def test_quick_scenarios_end_to_end(quick: Quick) -> None:
    """Peers and harvester fetch the same rows and write the same boxes; JSON, table and PNG come of it."""
    assert "platform's export script" in quick.shown
    found, scenario = quick.found, quick.scenario("bundles")
    ours, threads, platform = scenario["runs"]
    assert [run["failed"] for run in scenario["runs"]] == [None, None, None]
    assert ours["fetched"] == threads["fetched"] == platform["fetched"] == ours["rows"] > 0
    assert ours["records"] == threads["records"] > 0
    assert ours["cpu_ms_per_row"]["median"] > 0
    assert {"cpu", "cores", "python", "versions"} <= found["machine"].keys()
    assert (quick.folder / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_yolo_and_masks_are_measured_without_the_export_before_them() -> None:
    """All rows and records of it, and no label JSON from the server."""
    done = suite("--quick", "--scenario", "yolo", "--scenario", "masks", "--json")
    assert done.returncode == 0, done.stderr
    for scenario in json.loads(done.stdout)["scenarios"]:
        for run in scenario["runs"]:
            assert run["failed"] is None
            assert run["fetched"] == run["rows"] > 0
            assert run["records"] > 0


def test_conversions_are_measured_on_exports_made_for_them(quick: Quick) -> None:
    """Boxes and polygons of the same images. The peer has an environment of its own, or is said to fail."""
    few, peer, many = quick.scenario("coco")["runs"]
    assert few["records"] == many["records"] > few["rows"] == few["fetched"]
    assert few["cpu_ms_per_row"]["median"] > 0
    assert peer["failed"] or peer["records"] == few["records"]


def test_an_unknown_scenario_is_named() -> None:
    """One line, and what there is."""
    done = suite("--scenario", "bundels")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "unknown scenario 'bundels': one of singles, bundles" in done.stderr


@pytest.mark.parametrize(
    ("faults", "refused"), [(Faults(), False), (Faults(strikes=("429",), every=5, times=2), True)]
)
def test_a_project_is_measured_within_its_budget(faults: Faults, refused: bool, tmp_path: Path) -> None:
    """Calls are counted by the server, nothing is written there, and settings are suggested."""
    with Simulator(WorldSpec(rows=300), faults) as simulator:
        environment = {
            "ENCORD_SSH_KEY_FILE": str(simulator.ssh_key_file),
            "ENCORD_DOMAIN": simulator.url,
            "REQUESTS_CA_BUNDLE": str(simulator.ca_file),
        }
        done = bench(simulator.project_hash, "--max-calls", "40", "-o", tmp_path, environment=environment)
        stats = simulator.stats()
    assert done.returncode == 0, done.stderr
    assert "harvester export" in done.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    assert stats["requests"] == found["calls"] <= 40
    assert stats["mutations"] == 0
    assert [trial["bundle_size"] for trial in found["trials"]] == [1, 10, 50, 100]
    assert bool(sum(trial["refused"] for trial in found["trials"])) == refused
    assert found["labelled"] == truth_of(World(WorldSpec(rows=300))).labelled
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json"]


def test_too_small_a_budget_is_refused() -> None:
    """Nothing could be compared; said before anything is asked."""
    done = bench("any", "--max-calls", "5")
    assert done.returncode == 2
    assert "--max-calls is at least 20" in done.stderr
