"""`harvester media`: every file is there, checked, and no signed URL is anywhere."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from PIL import Image

from harvester import live_records
from tests.media.conftest import MediaPlatform


@pytest.fixture
def target(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "out"))


def test_every_unit_that_is_a_file_is_fetched(platform: MediaPlatform, target: Path) -> None:
    """Of all data types, with the unit's key; pictures open in the size that the label row says."""
    before = platform.simulator.stats()
    done = platform.media(target)
    assert done.code == 0, done.said
    done.check()
    index = {(line["label_hash"], line["unit_hash"], line["space_id"]): line for line in done.index}
    single = {"image", "img_group", "video", "pdf", "audio", "plain_text", "nifti", "time_series", "dicom"}
    units = [unit for unit in live_records(target, kinds=["units"]) if unit["kind"] == "unit"]
    wanted = [unit for unit in units if unit["data_type"] in single and unit["space_id"] is None]
    for unit in wanted:
        assert (unit["label_hash"], unit["unit_hash"], None) in index
    assert Counter(line["data_type"] for line in done.index).keys() >= single
    for line in done.index:
        if line["path"].endswith((".jpg", ".png")) and line["space_id"] is None:
            with Image.open(target / "media" / line["path"]) as image:
                assert image.size == (line["width"], line["height"])
    slices = [line for line in done.index if line["data_type"] == "dicom"]
    assert all(line["path"] == f"{line['unit_hash']}/{line['frame']:05}.dcm" for line in slices)
    after = platform.simulator.stats()
    # The URLs of single files come in bulk from the storage API, without the labels.
    assert after["by_kind"]["POST storage/items/get-bulk"] > 0
    assert after["mutations"] == before["mutations"] == 0
    summary = done.summary["counts"]
    assert summary["files"] == summary["fetched"] == len({line["path"] for line in done.index})


def test_a_second_run_fetches_nothing(platform: MediaPlatform, target: Path) -> None:
    """It finds everything in the index, and leaves the same bytes."""
    first = platform.media(target)
    index = (target / "media/media.ndjson").read_bytes()
    before = platform.simulator.stats()["media"]
    second = platform.media(target)
    assert second.code == 0
    assert second.summary["run"]["fetched"] == 0
    assert second.summary["counts"] == first.summary["counts"]
    assert platform.simulator.stats()["media"] == before
    assert (target / "media/media.ndjson").read_bytes() == index


def test_files_go_to_another_directory(platform: MediaPlatform, target: Path, tmp_path: Path) -> None:
    """With an index and a lock of its own; the export is only read."""
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    done = platform.media(target, "-o", tmp_path / "files", "--data-type", "image", folder=tmp_path / "files")
    assert done.code == 0
    assert {line["data_type"] for line in done.index} == {"image"}
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_units_are_chosen_by_their_records(platform: MediaPlatform, target: Path, tmp_path: Path) -> None:
    """Labelled and empty ones are all of the export; all brings those of rows without labels, too."""
    found = {}
    for only in ("labelled", "empty", "all", None):
        flags = ["--only", only] if only else []
        folder = tmp_path / f"only-{only}"
        types = ("--data-type", "pdf", "--data-type", "audio", "--data-type", "nifti")
        done = platform.media(target, "-o", folder, *types, *flags, folder=folder)
        assert done.code == 0, done.said
        found[only] = {(line["label_hash"], line["unit_hash"], line["space_id"]) for line in done.index}
    assert found["labelled"] | found["empty"] == found[None]
    assert not found["labelled"] & found["empty"]
    unlabelled = {key for key in found["all"] if key[0] is None}
    assert unlabelled
    assert found["all"] == found[None] | unlabelled


def test_rows_without_labels_that_are_made_of_others_are_counted(
    platform: MediaPlatform, target: Path
) -> None:
    """Nothing names the members of a group or scene before its row has labels: the whole has no file."""
    with zstandard.open(target / "listing.ndjson.zst") as listing:
        rows = [json.loads(line) for line in listing.read().splitlines()]
    made = Counter(row["data_type"].lower() for row in rows if row["outcome"] == "unlabelled")
    kind = next(kind for kind in ("group", "scene", "dicom_study") if made[kind])
    of_kind = ("--data-type", kind)
    before = platform.media(target, "--only", "empty", *of_kind).summary["without_file"].get(kind, 0)
    after = platform.media(target, "--only", "all", *of_kind).summary["without_file"].get(kind, 0)
    assert (before, after) == (0, made[kind])


def test_there_is_no_media_without_an_export(platform: MediaPlatform, tmp_path: Path) -> None:
    """One line, exit 2; nothing is made."""
    done = platform.command("media", tmp_path / "none")
    assert done.returncode == 2
    assert "holds no finished export" in done.stderr
    assert not (tmp_path / "none").exists()


def test_the_summary_for_machines_adds_up(platform: MediaPlatform, target: Path) -> None:
    """What is in the manifest of the media is what the command says."""
    done = platform.media(target)
    manifest = json.loads((target / "media/media.json").read_text())
    for key in ("counts", "without_file", "bytes"):
        assert manifest[key] == done.summary[key]
    assert manifest["counts"]["files"] == manifest["counts"]["fetched"] + manifest["counts"]["failed"]
    assert manifest["index"]["lines"] == len(done.index)


def test_a_dry_run_counts_and_fetches_nothing(platform: MediaPlatform, target: Path) -> None:
    """Files, and bytes where the platform says them; the run after it fetches just these."""
    before = platform.simulator.stats()["media"]
    dry = platform.media(target, "--dry-run", "--data-type", "pdf")
    assert dry.code == 0, dry.said
    assert platform.simulator.stats()["media"] == before
    assert not (target / "media/media.ndjson").exists()
    done = platform.media(target, "--data-type", "pdf")
    assert dry.summary["counts"]["files"] == done.summary["run"]["fetched"] == dry.summary["counts"]["sized"]
    assert dry.summary["bytes"] == done.summary["bytes"]
    again = platform.media(target, "--dry-run", "--data-type", "pdf")
    assert again.summary["counts"]["files"] == 0


def test_a_dry_run_leaves_a_damaged_file_as_it_is(platform: MediaPlatform, target: Path) -> None:
    """And counts it among those that would be fetched."""
    done = platform.media(target, "--data-type", "pdf")
    file = target / "media" / done.index[0]["path"]
    file.write_bytes(b"shorter")
    dry = platform.media(target, "--dry-run", "--data-type", "pdf")
    assert dry.summary["counts"]["files"] == 1
    assert file.read_bytes() == b"shorter"


def test_units_are_chosen_by_an_expression(platform: MediaPlatform, target: Path) -> None:
    """Over the keys of the unit and of its line in the listing."""
    where = 'data_type == "pdf" && objects > 0 && label_status != "NOT_LABELLED" && stage != ""'
    done = platform.media(target, "--where", where)
    assert done.code == 0, done.said
    assert {line["data_type"] for line in done.index} == {"pdf"}
    units = live_records(target, kinds=["units"])
    counts = {unit["unit_hash"]: unit["objects"] for unit in units if unit["kind"] == "unit"}
    assert all((counts[line["unit_hash"]] or 0) > 0 for line in done.index)
    wrong = platform.command("media", target, "--where", "colour == 1")
    assert wrong.returncode == 2
    assert "no such key of a record: colour" in wrong.stderr
