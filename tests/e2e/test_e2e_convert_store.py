"""`harvester convert` with object stores: an S3 server over HTTP on loopback."""

from pathlib import Path

import pytest

from tests.datasets.exports import exported, files_in, synced
from tests.e2e.conftest import Command
from tests.output.stores import BUCKET, S3
from tests.sync.worlds import LiveWorld


@pytest.fixture(scope="module")
def command(s3: S3) -> Command:
    """Without a server of the platform: a conversion asks none."""
    return Command({"PATH": "/usr/bin:/bin", "ENCORD_DOMAIN": "https://127.0.0.1:1", **s3.environment})


@pytest.fixture(scope="module")
def export(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synced export in a directory. The bucket has the same files below `synced`."""
    world = LiveWorld(rows=60)
    out = exported(tmp_path_factory.mktemp("exports") / "out", world)
    labels = world.labels()
    world.world.edit(rows=labels[5:9], removed=labels[20:22], added=3)
    synced(out, world)
    upload(s3, out, "synced")
    return out


def upload(s3: S3, directory: Path, prefix: str) -> None:
    for name, data in files_in(directory).items():
        s3.put(f"{prefix}/{name}", data)


@pytest.mark.parametrize("to", ["parquet", "coco"])
@pytest.mark.parametrize("compacted", [False, True])
def test_an_export_in_a_bucket_converts_as_on_disk(
    command: Command, s3: S3, export: Path, tmp_path: Path, to: str, compacted: bool
) -> None:
    """The same bytes, of a synced export and of a compacted one; the export stays as it was."""
    local, prefix = export, "synced"
    if compacted:
        local, prefix = tmp_path / "out", f"compacted-{to}"
        upload(s3, export, prefix)
        for name, data in files_in(export).items():
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            (local / name).write_bytes(data)
        for target in (local, f"s3://{BUCKET}/{prefix}"):
            done = command("compact", target)
            assert done.returncode == 0, done.stderr
    before = s3.contents(prefix)
    assert any(name.startswith("generations/") for name in before)
    for target, out in ((local, "local"), (f"s3://{BUCKET}/{prefix}", "stored")):
        done = command("convert", target, "-o", tmp_path / out, "--to", to)
        assert done.returncode == 0, done.stderr
    assert files_in(tmp_path / "stored") == files_in(tmp_path / "local")
    assert s3.contents(prefix) == before
