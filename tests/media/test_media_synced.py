"""Media after a sync, and in an object store."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command
from tests.media.conftest import PROJECT, Fetched, MediaPlatform
from tests.output.stores import BUCKET, S3, s3_server


@pytest.fixture(scope="module")
def small() -> Iterator[MediaPlatform]:
    """A platform of its own, since the project is edited."""
    with Simulator(WorldSpec(rows=30, mix=("image", "pdf"), unlabelled=0.0, branches=())) as simulator:
        yield MediaPlatform(simulator)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as running:
        yield running


def in_store(small: MediaPlatform, s3: S3) -> Command:
    environment = small.command.environment.items()
    return Command({key: value for key, value in environment if not key.startswith("AWS_")} | s3.environment)


def test_media_follow_a_sync(small: MediaPlatform, tmp_path: Path) -> None:
    """Files of new units are fetched, those of removed units named, and deleted with --prune."""
    target = small.export(tmp_path / "out")
    first = small.media(target)
    assert first.code == 0, first.said
    gone = first.index[0]
    small.simulator.edit(removed=[gone["label_hash"]], added=2)
    assert small.command("sync", target, "--quiet").returncode == 0
    second = small.media(target, "--only", "all")
    assert second.code == 0, second.said
    assert second.summary["run"]["fetched"] > 0
    assert second.summary["counts"]["removed"] == 1
    assert "--prune" in second.said
    assert gone["path"] not in {line["path"] for line in second.index}
    assert (target / "media" / gone["path"]).exists()
    assert gone["path"] in (target / "media/removed.ndjson").read_text()
    third = small.media(target, "--prune")
    assert third.summary["counts"]["removed"] == 0
    assert not (target / "media" / gone["path"]).exists()
    assert not (target / "media/removed.ndjson").exists()
    third.check()
    assert small.command("verify", target).returncode == 0


def test_media_go_to_an_object_store(small: MediaPlatform, s3: S3, tmp_path: Path) -> None:
    """The same files and index as in a directory; a second run fetches nothing; verify reads them there."""
    target = small.export(tmp_path / "out", "--data-type", "pdf")
    local = small.media(target)
    assert local.code == 0, local.said
    command, address = in_store(small, s3), f"s3://{BUCKET}/media"
    first = small.ended(command("media", target, "-o", address, "--json"), tmp_path)
    assert first.code == 0, first.said
    assert first.summary["counts"] == local.summary["counts"]
    assert first.summary["bytes"] == local.summary["bytes"]
    again = small.ended(command("media", target, "-o", address, "--json"), tmp_path)
    assert again.summary["run"]["fetched"] == 0
    done = command("verify", address)
    assert done.returncode == 0, done.stderr
    assert PROJECT in first.said


def test_what_a_store_has_lost_or_damaged_is_fetched_again(
    small: MediaPlatform, s3: S3, tmp_path: Path
) -> None:
    """Lost and cut-off files by any run, changed ones with --recheck; verify names all three."""
    target, command = small.export(tmp_path / "out"), in_store(small, s3)
    address = f"s3://{BUCKET}/mended"

    def media(*flags: str) -> Fetched:
        done = small.ended(command("media", target, "-o", address, "--json", *flags), tmp_path)
        assert done.code == 0, done.said
        return done

    media()
    before = s3.contents("mended")
    lost, cut, changed, *_ = sorted(name for name in before if name.endswith((".jpg", ".pdf", ".png")))
    s3.client.delete_object(Bucket=BUCKET, Key=f"mended/{lost}")
    s3.put(f"mended/{cut}", before[cut][:-1])
    s3.put(f"mended/{changed}", b"x" + before[changed][1:])
    report = json.loads(command("verify", address, "--json").stdout)
    whats = {each["name"]: each["what"] for each in report["problems"]}
    assert whats.keys() == {lost, cut, changed}
    assert whats[lost] == "missing"
    assert "bytes, not" in whats[cut]
    assert "not those that were fetched" in whats[changed]
    assert media("--dry-run").summary["counts"]["files"] == 2
    assert media().summary["run"]["fetched"] == 2
    assert media("--recheck").summary["run"]["fetched"] == 1
    after = s3.contents("mended")
    assert {name: after[name] for name in (lost, cut, changed)} == {
        name: before[name] for name in (lost, cut, changed)
    }
    assert command("verify", address).returncode == 0


def test_a_store_without_its_index_is_indexed_again(small: MediaPlatform, s3: S3, tmp_path: Path) -> None:
    """From the objects that are there, without fetching one."""
    target, command = small.export(tmp_path / "out", "--data-type", "pdf"), in_store(small, s3)
    flags = ("-o", f"s3://{BUCKET}/indexed", "--json")
    first = small.ended(command("media", target, *flags), tmp_path)
    s3.client.delete_object(Bucket=BUCKET, Key="indexed/media.ndjson")
    again = small.ended(command("media", target, *flags), tmp_path)
    assert again.code == 0, again.said
    assert again.summary["run"]["fetched"] == 0
    assert again.summary["counts"] == first.summary["counts"]
