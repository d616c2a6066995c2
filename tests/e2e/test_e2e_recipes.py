"""The README's recipes, run as they are written."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import HARVESTER, Command

TESTS = Path(__file__).parents[1]
SECTION = (
    (TESTS.parent / "README.md").read_text(encoding="utf-8").split("\n## Recipes\n")[1].split("\n## ")[0]
)
RECIPES = {text.split("\n")[0]: text for text in SECTION.split("\n### ")[1:]}
HERE = ("DuckDB", "polars", "pandas", "Boxes to COCO", "What an export holds, on one page")


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
