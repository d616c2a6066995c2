"""`harvester convert` with object stores: an S3 server over HTTP on loopback."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from benchmarks.made_export import make_export
from harvester.datasets.file_list import FILES
from harvester.output.lock_owner import LockOwner
from tests.datasets.exports import exported, files_in, synced
from tests.datasets.image_exports import make_media
from tests.e2e.conftest import Command, children_of, wait_for
from tests.output.stores import BUCKET, S3
from tests.patience import LONG, patience
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


# -- data sets in a bucket ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of images that was never synced, with their media beside it."""
    folder = tmp_path_factory.mktemp("images")
    out = exported(folder / "out", LiveWorld(rows=30, mix=("image",), branches=(), odd=False))
    make_media(out, folder / "media", index=True)
    return out


def data_set_in(s3: S3, prefix: str) -> dict[str, bytes]:
    """All objects but the lock."""
    found = s3.contents(prefix)
    found.pop(".harvester/lock", None)
    return found


@pytest.mark.parametrize(
    "flags",
    [
        ("--to", "parquet"),
        ("--to", "coco", "--split", "train=0.7,val=0.3", "--media"),
        ("--to", "yolo", "--split", "train=0.7,val=0.3", "--media"),
        ("--to", "masks", "--task", "instance"),
    ],
    ids=lambda flags: flags[1],
)
def test_a_data_set_in_a_bucket_is_that_in_a_directory(
    command: Command, s3: S3, images: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The same bytes, images too; also over an earlier one; and `verify` checks each file."""
    place = f"s3://{BUCKET}/set-{flags[1]}"
    flags = (*flags, str(images.parent / "media")) if flags[-1] == "--media" else flags
    for out in (tmp_path / "set", place, place):
        done = command("convert", images, "-o", out, *flags)
        assert done.returncode == 0, done.stderr
    found = data_set_in(s3, f"set-{flags[1]}")
    assert found == files_in(tmp_path / "set")
    assert command("verify", place).returncode == 0
    largest = max(found.keys() - {"conversion.json", FILES}, key=lambda name: len(found[name]))
    for damage, said in ((found[largest][:-1], "is cut off"), (found[largest][:-1] + b"?", "bytes are not")):
        s3.put(f"set-{flags[1]}/{largest}", damage)
        done = command("verify", place)
        assert done.returncode == 3
        assert f"{largest}: " in done.stderr
        assert said in done.stderr
    assert command("convert", images, "-o", place, *flags).returncode == 0, "which mends it"
    assert data_set_in(s3, f"set-{flags[1]}") == found


def test_processes_make_the_same_data_set_in_a_bucket(command: Command, s3: S3, tmp_path: Path) -> None:
    """And if one of them is killed, there is none."""
    export, place = make_export(tmp_path / "out", 700), f"s3://{BUCKET}/processes"
    arguments = ("convert", export, "--to", "parquet", "--processes", "2", "-o", place)
    with command.start(*arguments, stderr=subprocess.PIPE) as running:
        wait_for(running, lambda: len(children_of(running.pid)) == 2)
        os.kill(children_of(running.pid)[0], signal.SIGKILL)
        _, told = running.communicate(timeout=LONG)
    assert (running.returncode, told.count(b"\n")) == (5, 1)
    assert b"killed by signal 9" in told
    assert "conversion.json" not in s3.contents("processes")
    for out in (place, tmp_path / "set"):
        done = command(*arguments[:-1], out)
        assert done.returncode == 0, done.stderr
    assert data_set_in(s3, "processes") == files_in(tmp_path / "set")


def test_nothing_foreign_is_touched(command: Command, s3: S3, images: Path) -> None:
    """Exit 6, one line: files of the user, an export, a data set with other options or with a file more."""
    upload(s3, images, "export")
    s3.put("mine/notes.txt", b"mine")
    for prefix in ("export", "mine"):
        before = s3.contents(prefix)
        done = command("convert", images, "-o", f"s3://{BUCKET}/{prefix}", "--to", "coco")
        assert done.returncode == 6
        assert "holds files that are no data set of ours" in done.stderr
        assert s3.contents(prefix) == before
    for inside in ("generations/00009", ".harvester/set"):
        target = f"s3://{BUCKET}/export"
        done = command("convert", target, "-o", f"{target}/{inside}", "--to", "coco")
        assert done.returncode == 2
        assert "is of the export itself" in done.stderr
    place = f"s3://{BUCKET}/options"
    assert command("convert", images, "-o", place, "--to", "coco").returncode == 0
    done = command("convert", images, "-o", place, "--to", "coco", "--no-empty")
    assert done.returncode == 6
    assert "with another option no_empty" in done.stderr
    s3.put("options/notes.txt", b"mine")
    done = command("convert", images, "-o", place, "--to", "coco")
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert "holds notes.txt, which is not of its data set" in done.stderr


@contextmanager
def begun(command: Command, s3: S3, images: Path, prefix: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A conversion that has sent its labels, to a store that is away before the last file is sent."""
    s3.slow_from = f"/{prefix}/.harvester/new/data.yaml"
    arguments = ("convert", images, "-o", f"s3://{BUCKET}/{prefix}", "--to", "yolo")
    with command.start(*arguments, stderr=subprocess.PIPE) as running:
        try:
            told(running, b"store.away")
            assert {name.split("/")[2] for name in data_set_in(s3, prefix)} <= {"labels", FILES}
            yield running
        finally:
            s3.is_slow = False
            running.kill()


def told(running: "subprocess.Popen[bytes]", event: bytes) -> None:
    """Reads what a command says until it tells of `event`."""
    assert running.stderr is not None
    assert any(event in line for line in running.stderr)


@pytest.fixture(scope="module")
def yolo(command: Command, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("yolo") / "set"
    assert command("convert", images, "-o", out, "--to", "yolo").returncode == 0
    return files_in(out)


def test_a_store_that_is_away_is_waited_for_and_a_second_process_is_refused(
    command: Command, s3: S3, images: Path, yolo: dict[str, bytes]
) -> None:
    """Exit 6 for the other one, which names the first."""
    with begun(command, s3, images, "away") as running:
        s3.is_slow = False
        told(running, b"store.answers")
        running.communicate(timeout=LONG)
        assert running.returncode == 0
    assert data_set_in(s3, "away") == yolo
    lock = json.loads(s3.contents("away")[".harvester/lock"])
    lock["owner"] = msgspec.to_builtins(LockOwner.this_process())
    s3.put("away/.harvester/lock", json.dumps(lock).encode())
    done = command("convert", images, "-o", f"s3://{BUCKET}/away", "--to", "yolo")
    assert done.returncode == 6
    assert f"is in use by process {os.getpid()} on " in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_half_data_set_in_a_bucket(
    command: Command, s3: S3, images: Path, yolo: dict[str, bytes], number: signal.Signals
) -> None:
    """What it had sent is no data set, and is gone after the next run."""
    prefix = f"signal-{number}"
    with begun(command, s3, images, prefix) as running:
        running.send_signal(number)
        running.communicate(timeout=patience(12))  # less than the 18 s after which it would be ended anyway
        assert running.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert command("verify", f"s3://{BUCKET}/{prefix}").returncode == 3
    done = command("convert", images, "-o", f"s3://{BUCKET}/{prefix}", "--to", "yolo")
    assert done.returncode == 0, done.stderr
    assert data_set_in(s3, prefix) == yolo
