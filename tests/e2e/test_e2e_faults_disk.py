"""A disk that fails or is tampered with, and rows heavier than the memory, under the installed command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harvester.simulator import Faults, Simulator, WorldSpec
from tests.e2e.conftest import Command, command_for, parts
from tests.e2e.platform import PROJECT
from tests.forked import HARVESTER

ROOT = Path(__file__).parents[2]
SHIM = f"{ROOT / 'tests' / 'output' / 'shim'}:{ROOT}"
FLAGS = ("--rows-per-part", "20", "--quiet")


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    with Simulator(WorldSpec(rows=60, objects=2, branches=())) as running:
        yield command_for(running)


@pytest.fixture(scope="module")
def whole(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export on a sound disk."""
    target = tmp_path_factory.mktemp("whole") / "out"
    assert command("export", PROJECT, "-o", target, *FLAGS).returncode == 0
    return target


BROKEN_AT = ((4, "ENOSPC"), (16, "EIO"), (28, "ENOSPC"), (40, "EIO"))


def test_fault_17_a_full_or_failing_disk(command: Command, whole: Path, tmp_path: Path) -> None:
    """Whichever operation fails: exit 5, the reason, nothing torn, and the same command goes on.

    Every operation has its turn in `tests/export/test_export_crash.py`; this is a sample of them.
    """

    def broken(case: tuple[int, str]) -> tuple[str, dict[str, bytes], list[Path]]:
        number, error = case
        target = tmp_path / str(number)
        arguments = ("export", PROJECT, "-o", target, *FLAGS)
        stopped = command(*arguments, PYTHONPATH=SHIM, FAULTY_AT=str(number), FAULTY_ERRNO=error)
        assert stopped.returncode == 5, stopped.stderr
        left = list(target.rglob("*.tmp"))
        assert command(*arguments).returncode == 0
        return stopped.stderr, parts(target), left

    with ThreadPoolExecutor(2) as pool:
        for (_, error), (said, found, left) in zip(BROKEN_AT, pool.map(broken, BROKEN_AT), strict=True):
            assert {"ENOSPC": "No space left on device", "EIO": "Input/output error"}[error] in said
            assert "to go on: harvester export" in said
            assert len(said.splitlines()) == 1
            assert (found, left) == (parts(whole), [])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_fault_19_damage_is_named_and_mended(command: Command, whole: Path, tmp_path: Path) -> None:
    """A bit flipped, a part deleted, a commit record truncated, then a plan deleted: `verify` names each,
    exit 3; the next export ends with the same bytes."""
    target = tmp_path / "out"
    shutil.copytree(whole, target)
    flip(target / "objects-00000.ndjson")
    (target / "classifications-00001.ndjson").unlink()
    truncate(target / ".harvester" / "commits" / "00002.json")
    found = command("verify", target)
    assert found.returncode == 3
    for named in ("objects-00000.ndjson", "classifications-00001.ndjson", "00002.json"):
        assert named in found.stdout + found.stderr
    assert command("export", PROJECT, "-o", target, *FLAGS).returncode == 0
    assert parts(target) == parts(whole)
    (target / ".harvester" / "plan.json").unlink()
    found = command("verify", target)
    assert found.returncode == 3
    assert "plan.json" in found.stdout + found.stderr
    assert command("export", PROJECT, "-o", target, *FLAGS).returncode == 0
    assert command("verify", target).returncode == 0


# A process starts with the peak of the one that started it: this one stays small.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_fault_25_rows_of_50_mb(tmp_path: Path) -> None:
    """400 MB of rows at once: what is in flight is held to the budget, 128 MiB, and nothing is lost."""
    rows = 8
    huge = Faults(rows={str(number): "huge" for number in range(rows)})
    with Simulator(WorldSpec(rows=rows, unlabelled=0, mix="image", branches=()), huge) as running:
        arguments = ("export", PROJECT, "-o", tmp_path / "out", "--max-memory", "128MiB", "--quiet")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, HARVESTER, *arguments],
            env=command_for(running).environment,
            capture_output=True,
        )
    assert done.returncode == 0, done.stderr
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.ndjson")) > rows * 50_000_000
    # 90 MB are there before the first row, and one body is unpacked while the budget is full.
    assert int(done.stdout) / 1024 < 128 + 90 + 2 * 50 + 50
