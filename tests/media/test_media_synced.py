"""Media after a sync, and in an object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command
from tests.media.conftest import PROJECT, MediaPlatform
from tests.output.stores import BUCKET, s3_server


@pytest.fixture(scope="module")
def small() -> Iterator[MediaPlatform]:
    """A platform of its own, since the project is edited."""
    with Simulator(WorldSpec(rows=30, mix=("image", "pdf"), unlabelled=0.0, branches=())) as simulator:
        yield MediaPlatform(simulator)


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


def test_media_go_to_an_object_store(small: MediaPlatform, tmp_path: Path) -> None:
    """The same files and index as in a directory; a second run fetches nothing; verify reads them there."""
    target = small.export(tmp_path / "out", "--data-type", "pdf")
    local = small.media(target)
    assert local.code == 0, local.said
    with s3_server() as s3:
        kept = {
            name: value for name, value in small.command.environment.items() if not name.startswith("AWS_")
        }
        command = Command(kept | s3.environment)
        address = f"s3://{BUCKET}/media"
        first = small.ended(command("media", target, "-o", address, "--json"), tmp_path)
        assert first.code == 0, first.said
        assert first.summary["counts"] == local.summary["counts"]
        assert first.summary["bytes"] == local.summary["bytes"]
        again = small.ended(command("media", target, "-o", address, "--json"), tmp_path)
        assert again.summary["run"]["fetched"] == 0
        done = command("verify", address)
        assert done.returncode == 0, done.stderr
    assert PROJECT in first.said
