"""The commit protocol against disks that fail, kills, and lost power."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import CannotFinishNow
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from tests.output.faulty import Killed, Operation, Recording, Volatile, failing_at, killed_at
from tests.output.small import contents, export
from tests.patience import LONG


def clean() -> tuple[dict[str, bytes], list[str]]:
    """The bytes of an export that nothing happened to, and the operations that it takes."""
    with TemporaryDirectory() as directory:
        disk = Recording()
        export(LocalTarget(Path(directory) / "out", files=disk))
        return contents(Path(directory) / "out"), [operation.name for operation in disk.done]


CLEAN, NAMES = clean()
OPERATIONS = len(NAMES)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_whichever_operation_fails_the_next_run_ends_with_the_same_bytes(tmp_path: Path, code: int) -> None:
    """A full or broken disk at the N-th operation, for every N: one line says why; it resumes."""
    for number in range(1, OPERATIONS + 1):
        out = tmp_path / str(number) / "out"
        (tmp_path / str(number)).mkdir()
        with pytest.raises(CannotFinishNow) as stopped:
            export(LocalTarget(out, files=Recording(failing_at(number, code))))
        assert "\n" not in stopped.value.message
        assert any(word in stopped.value.message for word in ("No space", "Input/output"))
        export(LocalTarget(out))
        assert contents(out) == CLEAN, f"operation {number}"


def test_a_failed_fsync_is_not_tried_again_on_the_same_file(tmp_path: Path) -> None:
    """A file whose fsync fails is closed and deleted; nothing else is done with it, nor with any other."""
    syncs = [number for number, name in enumerate(NAMES, 1) if name == "sync"]
    assert len(syncs) == 14
    for number in syncs:
        disk = Recording(failing_at(number, errno.EIO))
        with pytest.raises(CannotFinishNow):
            export(LocalTarget(tmp_path / str(number), files=disk))
        after = disk.done[number - 1 :]
        path = after[0].path
        assert Operation("delete", path) in after
        assert {operation.name for operation in after} <= {"close", "delete"}


@given(kills=st.lists(st.integers(1, OPERATIONS), max_size=5))
@settings(max_examples=60, deadline=None)
def test_killed_anywhere_again_and_again_it_ends_with_the_same_bytes(kills: list[int]) -> None:
    """Kills at any operations of successive runs leave no trace in the bytes, nor a temporary file."""
    with TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        for kill in kills:
            try:
                export(LocalTarget(out, files=Recording(killed_at(kill))))
            except Killed:
                pass
        export(LocalTarget(out))
        assert contents(out) == CLEAN


@given(data=st.data(), number=st.integers(1, OPERATIONS))
@settings(max_examples=60, deadline=None)
def test_whatever_the_disk_forgets_when_power_is_lost_it_ends_with_the_same_bytes(
    data: st.DataObject, number: int
) -> None:
    """Each unsynced file, rename and deletion may be lost by itself, at any operation."""
    with TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        disk = Volatile(killed_at(number))
        with pytest.raises(Killed):
            export(LocalTarget(out, files=disk))
        disk.lose_power(Path(directory), lambda path: data.draw(st.booleans()))
        export(LocalTarget(out))
        assert contents(out) == CLEAN
        assert verify(LocalTarget(out)).ok


@pytest.mark.parametrize(
    ("forgets", "found"),
    [
        ("sync", ["objects-00000.ndjson: its bytes are", "objects-00002.ndjson: its bytes are"]),
        ("sync_directory", [".objects-0000", ".objects-0000", "objects-00000.ndjson: miss", "objects-00002"]),
    ],
)  # fmt: skip
def test_a_disk_that_only_says_it_has_synced_loses_data(
    tmp_path: Path, forgets: str, found: list[str]
) -> None:
    """The model has teeth: on a disk that takes one kind of fsync for done, a crash after the end loses
    parts; `verify` names them, and the next export brings them back."""
    out = tmp_path / "out"
    disk = Volatile(forgets=forgets)
    export(LocalTarget(out, files=disk))
    disk.lose_power(tmp_path, lambda path: path.name.startswith("objects-"))
    problems = [str(problem) for problem in verify(LocalTarget(out)).problems]
    assert all(problem.startswith(start) for problem, start in zip(problems, found, strict=True)), problems
    export(LocalTarget(out))
    assert contents(out) == CLEAN


def test_fsync_then_rename_then_directory_fsync_for_each_file_and_commit_records_after_their_parts(
    tmp_path: Path,
) -> None:
    """Around each rename: fsync and close of that file before it, fsync of its directory after it. The plan
    comes first, each commit record follows its part's files, the listing those, and the manifest is last."""
    disk = Recording()
    out = tmp_path / "out"
    export(LocalTarget(out, files=disk))
    renamed = []
    for i, operation in enumerate(disk.done):
        if operation.new is None:
            continue
        before, after = disk.done[i - 2 : i], disk.done[i + 1]
        assert before == [Operation("sync", operation.path), Operation("close", operation.path)]
        assert after == Operation("sync_directory", operation.new.parent)
        renamed.append(str(operation.new.relative_to(out)))
    assert renamed == [
        ".harvester/plan.ndjson.zst",
        "ontology.json",
        ".harvester/plan.json",
        "failed-00000.ndjson",
        "objects-00000.ndjson",
        "rows-00000.ndjson",
        ".harvester/commits/00000.json",
        "rows-00001.ndjson",
        ".harvester/commits/00001.json",
        "objects-00002.ndjson",
        "rows-00002.ndjson",
        ".harvester/commits/00002.json",
        "listing.ndjson.zst",
        "manifest.json",
    ]


def test_directories_are_private_and_files_too(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, under any umask."""
    before = os.umask(0)
    try:
        export(LocalTarget(tmp_path / "a" / "out"))
    finally:
        os.umask(before)
    for path in (tmp_path / "a").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_shim_breaks_the_disk_of_another_process(tmp_path: Path) -> None:
    """With the shim first in PYTHONPATH an unchanged program meets the error, or dies, where told to."""
    program = f"from tests.output.small import *; export(LocalTarget({str(tmp_path / 'out')!r}))"
    program = "from harvester.output.target import LocalTarget; " + program
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root / 'tests' / 'output' / 'shim'}:{root}"}

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            env=environment | variables, capture_output=True, text=True, timeout=LONG, check=False,
        )  # fmt: skip

    assert "No space left on device" in run(FAULTY_AT="20").stderr
    assert run(FAULTY_AT="30", FAULTY_KILL="1").returncode == -signal.SIGKILL
    assert run().returncode == 0
    assert contents(tmp_path / "out") == CLEAN
