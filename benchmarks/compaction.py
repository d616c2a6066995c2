"""Compaction of a year of nightly syncs: bytes read, CPU, memory, and what reading costs before and after.

    python -m benchmarks.compaction [SYNCS] [--rows ROWS]

The project is the tests' own, in memory; no network. CPU is this process's, the smallest of several passes.
"""

import argparse
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import anyio

from harvester.compaction import compact_target
from harvester.events import Counters
from harvester.job import Observer
from harvester.live import finished, live_records
from harvester.live_rows import live_rows
from harvester.output.layout import parse_part
from harvester.output.target import LocalTarget
from harvester.settings import Format
from tests.sync.worlds import LiveWorld

PASSES = 3
EDITED = 5  # rows a night
FORMAT = Format(rows_per_part=1000)


class CountedTarget(LocalTarget):
    """A directory that counts in `opened` how often each file of records is opened."""

    def __init__(self, path: Path, opened: Counter[str], folder: str = "") -> None:
        super().__init__(path, folder=folder)
        self.opened = opened

    def open(self, name: str) -> BinaryIO:
        if parse_part(name):
            self.opened[f"{self.name}/{name}"] += 1
        return super().open(name)

    def within(self, folder: str) -> "CountedTarget":
        return CountedTarget(self._root, self.opened, self._below(folder))


async def prepare(out: Path, fresh: Path, syncs: int, rows: int) -> None:
    """Make an export with that many syncs, and a new export of the same project."""
    world, rng = LiveWorld(rows, branches=()), random.Random(1)
    await world.export(out, format=FORMAT)
    for _ in range(syncs):
        world.world.edit(rows=rng.sample(world.labels(), EDITED))
        await world.sync(out)
    await world.export(fresh, format=FORMAT)


def cpu(work: Callable[[], Iterable[object]]) -> float:
    """Seconds that it takes to go through what `work` returns."""
    taken = []
    for _ in range(PASSES):
        began = time.process_time()
        for _ in work():
            pass
        taken.append(time.process_time() - began)
    return min(taken)


def read_rows(target: Path) -> Iterable[object]:
    """Read all live lines in plan order."""
    for row in live_rows(*finished(target), ("objects", "classifications", "units")):
        for lines in row.lines.values():
            yield from lines


def record_files(target: Path) -> list[Path]:
    """Return the files of records, failed rows and notes."""
    return [path for path in target.rglob("*") if path.is_file() and parse_part(path.name)]


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("syncs", type=int, nargs="?", default=365)
    parser.add_argument("--rows", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compaction-") as directory:
        out, fresh = Path(directory, "out"), Path(directory, "fresh")
        anyio.run(prepare, out, fresh, given.syncs, given.rows)
        files = record_files(out)
        size = sum(path.stat().st_size for path in files)
        print(f"{given.syncs} syncs: {len(files):,} files, {size / 1e6:.1f} MB")
        before = {"live_records": cpu(lambda: live_records(out)), "live_rows": cpu(lambda: read_rows(out))}
        target = CountedTarget(out, Counter())
        began = time.process_time()
        done = anyio.run(compact_target, target, Observer(Counters(), lambda event, fields: None))
        taken = time.process_time() - began
        times = Counter(target.opened[str(path)] for path in files)
        records = sum(counts["written"] for counts in done.records.values())
        print(
            f"compaction: {taken:.2f} s CPU, {records:,} records, files opened so many times: {dict(times)}"
        )
        print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        for name, seconds in before.items():
            read = live_records if name == "live_records" else read_rows
            after, new = cpu(partial(read, out)), cpu(partial(read, fresh))
            print(f"{name}: {seconds:.3f} s before, {after:.3f} s after, {new:.3f} s of a new export")


if __name__ == "__main__":
    main()
