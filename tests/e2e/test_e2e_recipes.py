"""The recipes, and the other examples that need a store or a cluster, run as they are written."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command, command_for
from tests.engines.cluster import Cluster
from tests.forked import HARVESTER
from tests.output.stores import S3
from tests.patience import LONG
from tests.stand_in import stand_in

TESTS = Path(__file__).parents[1]


def page(name: str) -> str:
    return (TESTS.parent / "docs" / name).read_text(encoding="utf-8")


def sections(name: str) -> dict[str, str]:
    """The sections of a page, by their headings."""
    return {text.split("\n")[0]: text for text in page(name).split("\n## ")[1:]}


RECIPES = sections("recipes.md")
RECIPES |= {"Object stores": page("object-stores.md"), "On a cluster": sections("cluster.md")["On a cluster"]}
HERE = (
    "DuckDB", "polars", "pandas", "Parquet", "Nightly sync", "COCO",
    "What an export holds, on one page", "Object stores", "On a cluster",
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the project's images stand exported, in several parts, as `out`."""
    folder = tmp_path_factory.mktemp("recipes")
    harvester.export(folder / "out", "Demo street scenes", "--data-type", "image", "--rows-per-part", "500")
    return folder


def run(title: str, folder: Path, harvester: Command) -> str:
    """What the blocks of a recipe print, run one after the other in `folder`."""
    with stand_in() as first:
        path = os.pathsep.join([str(first), str(HARVESTER.parent), os.environ["PATH"]])
        return _run(title, folder, harvester.environment | {"PATH": path})


def _run(title: str, folder: Path, environment: dict[str, str]) -> str:
    said = ""
    for language, code in re.findall(r"```(python|sh)\n(.*?)```", RECIPES[title], re.S):
        command = [sys.executable, "-c", code] if language == "python" else ["sh", "-ec", code]
        done = subprocess.run(
            command, cwd=folder, env=environment,
            capture_output=True, text=True, timeout=LONG, check=False,
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
    parts = sorted((folder / "out").rglob("objects-*.ndjson"))
    return [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]


# Lines of a class whose members are all alike but for a few that come late; DuckDB looks at 20,480 lines.
MANY, LATE = 30_000, 25_000


@pytest.fixture(scope="module")
def large(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of one part of 30,000 lines, in which values of another form come late."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "out").mkdir()
    with (folder / "out" / "objects-00000.ndjson").open("w", encoding="utf-8") as part:
        for number, record in enumerate(islice(cycle(objects(exported)), MANY)):
            part.write(json.dumps(odd(record, number), ensure_ascii=False) + "\n")
    part_file = {"name": "objects-00000.ndjson", "kind": "objects"}
    manifest = {"base": {"generation": 0}, "generations": [], "parts": [part_file]}
    (folder / "out" / "manifest.json").write_text(json.dumps(manifest))
    return folder


def odd(record: dict[str, Any], number: int) -> dict[str, Any]:
    """A record whose early numbers are whole, whose texts look like dates, and whose rest is null.

    Late ones have fractions, words, and something where there was nothing.
    """
    late = number >= LATE
    made = record | {
        "label_hash": record["label_hash"] if not late else f"no uuid {number}",
        "branch_name": None if not late else "main",
        "data_title": "2025-01-02 03:04:05" if not late else "a title\u2028",
        "frame": None if not late else 2**53 + 1,
        "name": "2025-01-02" if not late else "Late",
        "object_hash": f"{number:08}" if not late else f"/+{number}",
        "space_id": None if not late else "a space",
        "attributes": [] if not late else [{"name": "Kind", "text": "late"}],
    }
    sent = {"objectHash": made["object_hash"], "confidence": 1 if not late else 0.37}
    return made | {"object": sent if not late else sent | {"reviews": [{"id": 1}], "later": {"a": 2.5}}}


@pytest.fixture(scope="module")
def compacted(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same export with its files where a compaction writes them."""
    folder = tmp_path_factory.mktemp("compacted")
    base = folder / "out" / "generations" / "00003"
    base.mkdir(parents=True)
    for path in (exported / "out").glob("objects-*.ndjson"):
        (base / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((exported / "out" / "manifest.json").read_bytes())
    manifest["base"]["generation"] = 3
    (folder / "out" / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("folder_of", ["exported", "large", "compacted"])
def test_duckdb_counts_every_object(
    folder_of: str, harvester: Command, request: pytest.FixtureRequest
) -> None:
    """Each class with as many records and objects as the files have, and its mean confidence."""
    folder: Path = request.getfixturevalue(folder_of)
    said = run("DuckDB", folder, harvester)
    truth: dict[Any, list[dict[str, Any]]] = {}
    for record in objects(folder):
        truth.setdefault((record["name"], record["shape"]), []).append(record)
    for (name, shape), found in sorted(truth.items(), key=lambda item: -len(item[1]))[:10]:
        distinct = len({record["object_hash"] for record in found})
        line = rf"{name}\W+{shape}\W+{len(found)}\W+{distinct}\W+([\d.e-]+|NULL)"
        [confidence] = re.findall(line, said)
        known = [one["object"]["confidence"] for one in found if one["object"].get("confidence") is not None]
        assert float(confidence) == pytest.approx(sum(known) / len(known), abs=1e-6), name


def test_parquet_has_every_object_with_its_task(exported: Path, harvester: Command) -> None:
    """Joined with the listing; and the same count of shapes without files."""
    said = run("Parquet", exported, harvester)
    shapes = Counter(record["shape"] for record in objects(exported))
    for shape, number in shapes.most_common(5):
        assert re.search(rf"{shape}\W+{number}\b", said), shape
    assert re.search(r"COMPLETED\W+\d+\W+[\d.]+\W+20\d\d-", said)


@pytest.mark.parametrize("folder_of", ["exported", "large", "compacted"])
@pytest.mark.parametrize("title", ["polars", "pandas"])
def test_tables_count_every_object(
    title: str, folder_of: str, harvester: Command, request: pytest.FixtureRequest
) -> None:
    """The most frequent classes with as many records as the files have, and their mean confidence."""
    folder: Path = request.getfixturevalue(folder_of)
    said = run(title, folder, harvester)
    truth: dict[str, list[float | None]] = {}
    for record in objects(folder):
        truth.setdefault(record["name"], []).append(record["object"].get("confidence"))
    for name, found in sorted(truth.items(), key=lambda item: -len(item[1]))[:9]:
        [mean] = re.findall(rf"{name}\W+{len(found)}\W+([\d.]+)", said)
        known = [one for one in found if one is not None]
        assert float(mean) == pytest.approx(sum(known) / len(known), abs=1e-5), name


def test_live_objects_are_read_by_named_columns(large: Path) -> None:
    """The query of docs/sync.md, over a part with late odd values."""
    (large / "out" / "changes-00000.ndjson").write_text("")
    query = page("sync.md").split("-- live objects\n")[1].split(";")[0]
    columns = "label_hash, branch_name, frame, name, object, attributes, data_title, space_id, object_hash"
    script = (
        f"import duckdb, json; rows = duckdb.sql({f'select {columns} from ({query})'!r}).fetchall();"
        "print(json.dumps(rows))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=large, capture_output=True, check=True)
    found = sorted(json.loads(done.stdout), key=lambda row: row[-1])
    names = columns.split(", ")
    expected = sorted(([one[name] for name in names] for one in objects(large)), key=lambda row: row[-1])
    of_json = [names.index(name) for name in ("object", "attributes")]
    for row in found:
        for column in of_json:
            row[column] = json.loads(row[column])
    assert found == expected


def test_an_export_becomes_coco(exported: Path, harvester: Command) -> None:
    """Two splits that share no image, whose annotations are all that were written."""
    said = run("COCO", exported, harvester)
    splits = [
        json.loads((exported / "coco" / "annotations" / f"instances_{split}.json").read_text())
        for split in ("train", "val")
    ]
    train, val = splits
    assert f"{len(train['annotations'])} annotations on {len(train['images'])} images to train on" in said
    names = [{image["file_name"] for image in split["images"]} for split in splits]
    assert names[0].isdisjoint(names[1])
    assert 0 < len(val["images"]) < len(train["images"])
    counts = json.loads((exported / "coco" / "conversion.json").read_text())["records"]["objects"]
    assert sum(len(split["annotations"]) for split in splits) == counts["written"]
    assert counts["read"] == len(objects(exported))


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
