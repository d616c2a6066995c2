"""A line for each frame: millions of lines of one row, in flat memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from tests.e2e.conftest import Command
from tests.e2e.handmade import TITLE, serving
from tests.forked import HARVESTER
from tests.labels.case_plans import KNOWN
from tests.labels.cases import Json, ontology, reviewed
from tests.patience import LONG

FRAMES = 400_000
HASHES = ("first", "second", "third")
MORE_AT_MOST = 60  # MiB

# A process starts with the peak of the one that started it: this one stays small.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""
# What a user of the Python API does with the records of a row.
COUNT = """
import harvester
format = harvester.Format(emit="classifications", per_frame=True)
found = list[int]()
for record in harvester.records("Made by hand", format=format):
    number = record["frame"] + 1
    if record["frame"] == 0:
        found.append(0)
    found[-1] += 1
    assert found[-1] == number
assert found == [%d] * 3, found
"""


def long(frames: int) -> tuple[str, Json]:
    """A video with three classifications on all of its frames."""
    label_hash = "00000000-0000-4000-8000-000000000001"
    case = reviewed(label_hash, KNOWN, {key: [[0, frames - 1]] for key in HASHES}, {})
    return label_hash, case.row


def peak(command: Command, *arguments: str | Path) -> int:
    """The most memory that a command needs, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        env=command.environment, capture_output=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return int(done.stdout)


# Python takes its time with a record: a tenth of them will do, which it could not keep in so little memory.
@pytest.mark.parametrize(("how", "many"), [("files", FRAMES), ("stream", FRAMES), ("api", FRAMES // 10)])
def test_1_200_000_lines_of_a_row_need_no_more_memory_than_a_few(how: str, many: int, tmp_path: Path) -> None:
    """As files, on standard output, as records in Python."""
    peaks = []
    for frames in (10, many):
        target = tmp_path / str(frames)
        flags = ("--per-frame", "--emit", "classifications", "--quiet", "--compress", "zstd")
        run = {
            "files": (HARVESTER, "export", TITLE, "-o", target, *flags),
            "stream": (HARVESTER, "export", TITLE, "-o", "-", *flags),
            "api": (sys.executable, "-c", COUNT % frames),
        }[how]
        label_hash, row = long(frames)
        listed = {label_hash: {"number_of_frames": frames}}
        with serving(ontology(KNOWN), {label_hash: json.dumps(row).encode()}, listed) as command:
            peaks.append(peak(command, *run))
    small, large = peaks
    assert large < small + MORE_AT_MOST
    if how == "files":
        assert numbers(tmp_path / str(FRAMES)) == list(range(FRAMES)) * len(HASHES)


def numbers(target: Path) -> list[int]:
    """The frames of the lines of a target, in their order."""
    found = []
    with zstandard.open(target / "classifications-00000.ndjson.zst", "rt", encoding="utf-8") as lines:
        for line in lines:
            _, _, after = line.partition(',"frame":')
            found.append(int(after[: after.index(",")]))
    return found
