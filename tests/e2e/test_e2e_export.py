"""The main job through the installed command, over TLS."""

import json
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import World, WorldSpec
from tests.e2e.conftest import Command, parts
from tests.forked import HARVESTER
from tests.patience import LONG
from tests.truth import truth_of

PROJECT = "Demo street scenes"


@pytest.fixture(scope="module")
def exported(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export") / "out"
    harvester.export(target, PROJECT)
    return target


def manifest(target: Path) -> dict:
    return json.loads((target / "manifest.json").read_text())


def test_every_listed_row_ends_as_exactly_one_of_four(exported: Path) -> None:
    """listed = harvested + unlabelled + filtered + failed, as the simulator's seed says."""
    counts = manifest(exported)["counts"]
    truth = truth_of(World(WorldSpec(rows=3000)))
    assert counts["listed"] == truth.listed
    assert counts["unlabelled"] == truth.unlabelled
    assert counts["harvested"] == truth.labelled
    assert counts["filtered"] == counts["failed"] == 0


def test_records_are_as_many_as_the_seed_says(exported: Path) -> None:
    """Objects by shape and classifications equal the ground truth, which shares no code with us."""
    truth = truth_of(World(WorldSpec(rows=3000)))
    shapes, kinds = Counter[str](), Counter[str]()
    for name, lines in parts(exported).items():
        for line in lines.splitlines():
            record = json.loads(line)
            kinds[name.split("-")[0]] += 1
            if record["kind"] == "object":
                shapes[record["object"]["shape"]] += 1
    units = kinds.pop("units")
    assert dict(kinds) == {"objects": truth.objects, "classifications": truth.classifications}
    kinds["units"] = units
    assert dict(shapes) == dict(truth.by_shape)
    records = manifest(exported)["records"]
    assert {kind: counts["written"] for kind, counts in records.items()} == dict(kinds)


def test_every_record_stands_on_a_unit_that_counts_it(exported: Path) -> None:
    """A unit is one by label row, branch, data unit and space; its counts are those of its records."""
    units: dict[tuple[object, ...], dict[str, Any]] = {}
    found = Counter[tuple[object, ...]]()
    for lines in parts(exported).values():
        for record in map(json.loads, lines.splitlines()):
            key = tuple(record[name] for name in ("label_hash", "branch_name", "unit_hash", "space_id"))
            if record["kind"] == "unit":
                assert key not in units
                units[key] = record
            elif record["unit_hash"] is not None:  # else it is of the whole row, and counts for several
                found[(*key, record["kind"])] += 1
    assert {key[:4] for key in found} <= units.keys()
    for key, unit in units.items():
        assert unit["objects"] == found[(*key, "object")]
        assert unit["classifications"] >= found[(*key, "classification")]


WAYS = {
    "one at a time": ("--concurrency", "1"),
    "many small bundles": ("--concurrency", "32", "--bundle-size", "7"),
    "two processes": ("--processes", "2"),
}


@pytest.fixture(scope="module")
def other_ways(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same export, fetched in other ways."""
    targets = {way: tmp_path_factory.mktemp("way") / "out" for way in WAYS}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda way: harvester.export(targets[way], PROJECT, *WAYS[way]), WAYS))
    return targets


@pytest.mark.parametrize("way", WAYS)
def test_bytes_do_not_depend_on_how_rows_are_fetched(
    other_ways: dict[str, Path], exported: Path, way: str
) -> None:
    """Another concurrency, another bundle size, two processes: the same bytes in every part."""
    assert parts(other_ways[way]) == parts(exported)
    assert manifest(other_ways[way])["digest"] == manifest(exported)["digest"]


def test_an_untouched_sdk_under_it_gives_the_same_records(harvester: Command, tmp_path: Path) -> None:
    """`--transport sdk` harvests the same number of records over the SDK's own connections."""
    flags = ("--data-title-like", "%7%", "--emit", "objects")
    pooled = harvester.export(tmp_path / "pooled", PROJECT, *flags)
    plain = harvester.export(tmp_path / "sdk", PROJECT, *flags, "--transport", "sdk")
    assert plain["counts"] == pooled["counts"]
    assert plain["records"] == pooled["records"]


def test_nothing_was_written_to_the_project(simulator: Simulator, exported: Path) -> None:
    """The simulator counted not one mutation."""
    assert simulator.stats()["mutations"] == 0


def test_exporting_again_into_a_finished_target_does_nothing(
    simulator: Simulator, harvester: Command, exported: Path
) -> None:
    """A finished target is left as it is, and no label row is asked for."""
    before, served = parts(exported), simulator.stats()["rows_served"]
    done = harvester("export", PROJECT, "-o", exported)
    assert done.returncode == 0
    assert "already complete" in done.stderr
    assert parts(exported) == before
    assert simulator.stats()["rows_served"] == served


def test_duckdb_reads_the_parts(exported: Path) -> None:
    """DuckDB counts as many objects as the manifest names."""
    found = duckdb.sql(f"select count(*) from read_json('{exported}/objects-*.ndjson')").fetchall()
    assert found[0][0] == manifest(exported)["records"]["objects"]["written"]


def test_fault_21_a_reader_that_has_enough_ends_it_quietly(harvester: Command) -> None:
    """`export -o - | head -1` prints one valid record and no traceback."""
    shell = f"{HARVESTER} export '{PROJECT}' -o - --emit objects --shape polygon | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        env=harvester.environment, capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 141), done.stderr
    assert json.loads(done.stdout)["object"]["shape"] == "polygon"
    assert "Traceback" not in done.stderr
    assert "harvester:" not in done.stderr


def test_standard_output_holds_the_same_records_as_the_files(harvester: Command, exported: Path) -> None:
    """`-o -` streams what the parts hold, in plan order."""
    done = harvester("export", PROJECT, "-o", "-", "--emit", "objects", "--quiet")
    assert done.returncode == 0
    files = b"".join(lines for name, lines in parts(exported).items() if name.startswith("objects-"))
    assert done.stdout.encode() == files


def test_status_asks_for_no_label_row(simulator: Simulator, harvester: Command) -> None:
    """`status` counts from the listing alone."""
    served = simulator.stats()["rows_served"]
    done = harvester("status", PROJECT, "--json")
    counts = json.loads(done.stdout)
    truth = truth_of(World(WorldSpec(rows=3000)))
    assert (counts["rows"], counts["labelled"]) == (truth.listed, truth.labelled)
    assert sum(counts["by_data_type"].values()) == truth.listed
    assert simulator.stats()["rows_served"] == served
