"""The suite and the installed verb, end to end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.made_export import make_export
from benchmarks.suite import by_hand
from harvester.datasets.rle import Spans, to_bitmask
from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.world import World
from tests.forked import HARVESTER
from tests.patience import LONG
from tests.truth import truth_of

ROOT = Path(__file__).parents[2]
# Two rows of four pixels: the last two of the first, the second of the second.
MASK = Spans(4, 2, np.array([0, 1]), np.array([2, 1]), np.array([4, 2]))


def suite(*arguments: str | Path) -> Any:
    """Run the suite as `make bench` does."""
    argv = [sys.executable, "-m", "benchmarks.suite", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)


def bench(*arguments: str | Path, environment: dict[str, str] | None = None) -> Any:
    argv = [HARVESTER, "bench", *map(str, arguments)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=LONG, check=False)


def test_quick_scenarios_end_to_end(tmp_path: Path) -> None:
    """Peers and harvester fetch the same rows and write the same boxes; JSON, table and PNG come of it."""
    done = suite("--quick", "--scenario", "bundles", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "platform's export script" in done.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    (scenario,) = found["scenarios"]
    ours, threads, platform = scenario["runs"]
    assert [run["failed"] for run in scenario["runs"]] == [None, None, None]
    assert ours["fetched"] == threads["fetched"] == platform["fetched"] == ours["rows"] > 0
    assert ours["records"] == threads["records"] > 0
    assert ours["cpu_ms_per_row"]["median"] > 0
    assert {"cpu", "cores", "python", "versions"} <= found["machine"].keys()
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_conversions_are_measured_on_exports_made_for_them(tmp_path: Path) -> None:
    """Boxes and polygons of the same images. The peer has an environment of its own, or is said to fail."""
    done = suite("--quick", "--scenario", "coco", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    (scenario,) = json.loads((tmp_path / "bench.json").read_text())["scenarios"]
    few, peer, many = scenario["runs"]
    assert few["records"] == many["records"] > few["rows"] == few["fetched"]
    assert few["cpu_ms_per_row"]["median"] > 0
    assert peer["failed"] or peer["records"] == few["records"]


def test_what_needs_no_server_is_measured_on_what_is_made_for_it(tmp_path: Path) -> None:
    """Parquet on an export, downloads on files that are served; pictures are drawn of both."""
    done = suite("--quick", "--scenario", "parquet", "--scenario", "media", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    parquet, media = json.loads((tmp_path / "bench.json").read_text())["scenarios"]
    few, copy, zstd, many = parquet["runs"]
    assert few["records"] == many["records"] == copy["records"] > few["rows"]
    assert few["written_mb"] > zstd["written_mb"] > 0
    ours, aria2c, urllib3 = media["runs"]
    assert ours["records"] == urllib3["records"] == ours["rows"]
    assert ours["written_mb"] >= urllib3["written_mb"] == pytest.approx(0.2 * ours["rows"])
    assert aria2c["written_mb"] == urllib3["written_mb"] or aria2c["failed"].startswith("it is not installed")
    assert (tmp_path / "datasets.png").read_bytes().startswith(b"\x89PNG")


# pycocotools does not yet answer numpy 2's question whether to copy.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_data_sets_by_hand_hold_the_same_objects(tmp_path: Path) -> None:
    """The peers read an export, and write what they are said to."""
    export = make_export(tmp_path / "export", 2)
    drawn = {"width": 4, "height": 2, "rleString": to_bitmask(MASK).rle_string}
    masked = {
        "unit_hash": "unit",
        "width": 4,
        "height": 2,
        "feature_hash": "sky",
        "object": {"bitmask": drawn},
    }
    (tmp_path / "masked").mkdir()
    (tmp_path / "masked" / "objects-00000.ndjson").write_text(json.dumps(masked) + "\n")
    (tmp_path / "masked" / "ontology.json").write_text('{"objects": [{"featureNodeHash": "sky"}]}')
    by_hand.main("yolo", export, tmp_path / "yolo")
    by_hand.main("masks", tmp_path / "masked", tmp_path / "masks")
    by_hand.main("bitmasks", tmp_path / "masked", tmp_path / "bitmasks")
    labels = [path.read_text().splitlines() for path in (tmp_path / "yolo").iterdir()]
    boxes = (export / "objects-00000.ndjson").read_text().count('"boundingBox"')
    assert (len(labels), sum(map(len, labels))) == (2, boxes)
    with Image.open(tmp_path / "masks" / "unit.png") as image:
        assert (np.asarray(image) == MASK.pixels()).all()
    mask = json.loads((tmp_path / "bitmasks" / "annotations.ndjson").read_text())
    assert mask == {"bbox": [1, 0, 3, 2], "area": 3, "counts": MASK.to_coco().counts}


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
