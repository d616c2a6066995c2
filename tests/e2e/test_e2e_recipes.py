"""The README's recipes, and its other examples that need a store or a cluster, run as they are written."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import HARVESTER, Command, command_for
from tests.engines.cluster import Cluster
from tests.output.stores import S3

TESTS = Path(__file__).parents[1]
README = (TESTS.parent / "README.md").read_text(encoding="utf-8")
SECTIONS = {text.split("\n")[0]: text for text in README.split("\n## ")[1:]}
RECIPES = {text.split("\n")[0]: text for text in SECTIONS["Recipes"].split("\n### ")[1:]}
RECIPES |= {title: SECTIONS[title] for title in ("Object stores", "On a cluster")}
HERE = (
    "DuckDB", "polars", "pandas", "Nightly sync", "Boxes to COCO", "What an export holds, on one page",
    "Object stores", "On a cluster",
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the project's images stand exported, in several parts, as `out`."""
    folder = tmp_path_factory.mktemp("recipes")
    harvester.export(folder / "out", "Demo street scenes", "--data-type", "image", "--rows-per-part", "500")
    return folder


def run(title: str, folder: Path, harvester: Command) -> str:
    """What the blocks of a recipe print, run one after the other in `folder`."""
    said = ""
    path = f"{HARVESTER.parent}{os.pathsep}{os.environ['PATH']}"
    for language, code in re.findall(r"```(python|sh)\n(.*?)```", RECIPES[title], re.S):
        command = [sys.executable, "-c", code] if language == "python" else ["sh", "-ec", code]
        done = subprocess.run(
            command, cwd=folder, env=harvester.environment | {"PATH": path},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    return said


@pytest.fixture(scope="module")
def few() -> Iterator[Simulator]:
    """A small project of that title."""
    with Simulator(WorldSpec(rows=60)) as running:
        yield running


@pytest.fixture(scope="module")
def with_store(few: Simulator, s3: S3) -> Command:
    """The command where a bucket can be reached."""
    return Command(command_for(few).environment | s3.environment)


def objects(folder: Path) -> list[dict[str, Any]]:
    """The object records of the export in `folder`."""
    parts = sorted((folder / "out").glob("objects-*.ndjson"))
    assert len(parts) > 1
    return [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]


@pytest.mark.parametrize("title", ["DuckDB", "polars"])
def test_tables_count_every_object(title: str, exported: Path, harvester: Command) -> None:
    """The most frequent classes with as many records as the files have."""
    said = run(title, exported, harvester)
    names = Counter(record["object"]["name"] for record in objects(exported))
    for name, count in names.most_common(10):
        assert re.search(rf"{name}\b.*\b{count}\b", said), (name, said)


def test_pandas_reads_every_object(exported: Path, harvester: Command) -> None:
    """One row of the frame for each record."""
    assert f"[{len(objects(exported))} rows x 3 columns]" in run("pandas", exported, harvester)


def test_boxes_become_coco(exported: Path, harvester: Command) -> None:
    """Ids that fit, boxes inside their image and in pixels, and one for each box of a sized image."""
    said = run("Boxes to COCO", exported, harvester)
    coco = json.loads((exported / "coco.json").read_text())
    images = {image["id"]: image for image in coco["images"]}
    categories = {category["id"] for category in coco["categories"]}
    annotations = coco["annotations"]
    assert said.startswith(f"{len(annotations)} boxes on {len(images)} images")
    assert len({annotation["id"] for annotation in annotations}) == len(annotations)
    for annotation in annotations:
        x, y, w, h = annotation["bbox"]
        image = images[annotation["image_id"]]
        assert annotation["category_id"] in categories
        assert 0 <= x < x + w <= image["width"] + 1e-6
        assert 0 <= y < y + h <= image["height"] + 1e-6
        assert annotation["area"] == pytest.approx(w * h)
    boxes = sum(record["object"]["shape"] == "bounding_box" for record in objects(exported))
    assert max(annotation["bbox"][2] for annotation in annotations) > 1
    assert len(annotations) > boxes * 0.8


def test_an_export_to_s3_is_found_sound(s3: S3, with_store: Command, tmp_path: Path) -> None:
    """Compressed, in the bucket, nothing on this machine."""
    said = run("Object stores", tmp_path, with_store)
    assert "s3://labels/street-scenes" in said
    assert {"manifest.json", "objects-00000.ndjson.zst"} < s3.contents("street-scenes").keys()
    assert list(tmp_path.iterdir()) == []


def test_a_nightly_sync_leaves_its_summary_and_a_page(
    few: Simulator, with_store: Command, tmp_path: Path
) -> None:
    """One line a night; the second says that an edited row was harvested again."""
    with_store.export(tmp_path / "out", "Demo street scenes")
    run("Nightly sync", tmp_path, with_store)
    record = json.loads((tmp_path / "out" / "objects-00000.ndjson").read_bytes().splitlines()[0])
    few.edit(rows=[record["label_hash"]])
    run("Nightly sync", tmp_path, with_store)
    first, second = map(json.loads, (tmp_path / "nightly.ndjson").read_text().splitlines())
    assert first["changes"]["edited"] == 0
    assert second["changes"]["edited"] == 1
    assert (tmp_path / "report.html").exists()


def test_a_cluster_fills_a_bucket_with_the_bytes_of_one_machine(
    s3: S3, with_store: Command, tmp_path: Path
) -> None:
    """Its worker reaches both the platform and the store."""
    with_store.export(tmp_path / "out", "Demo street scenes")
    alone = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.ndjson")}
    with Cluster(tmp_path, with_store.environment) as cluster:
        run("On a cluster", tmp_path, Command(with_store.environment | {"SCHEDULER": cluster.address}))
    there = s3.contents("clustered")
    assert alone
    assert {name: data for name, data in there.items() if name.endswith(".ndjson")} == alone
    assert "manifest.json" in there


def test_the_report_is_written(exported: Path, harvester: Command) -> None:
    """A page, with the export's own numbers."""
    assert "report.html" in run("What an export holds, on one page", exported, harvester)
    page = (exported / "report.html").read_text(encoding="utf-8")
    assert f"{len(objects(exported)):,}" in page
    assert "Demo street scenes" in page


def test_every_recipe_is_run_by_a_test() -> None:
    """By one of this file, or by one that names it."""
    elsewhere = [
        path.read_text(encoding="utf-8")
        for path in TESTS.rglob("test_*.py")
        if path.name != Path(__file__).name
    ]
    for title in RECIPES:
        assert title in HERE or any(f'"{title}"' in text for text in elsewhere), title
