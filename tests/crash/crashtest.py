"""SIGKILL at random moments of the command, again and again: `python -m tests.crash.crashtest`.

Exports are killed and gone on with until enough kills are done, by one process and by two. Each must end
with the bytes of an export that was never killed, leave no file of its own behind, and not have fetched
more rows a second time than the parts that a kill found open. `--verb` kills other verbs, see
`tests.crash.verbs`.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harvester.engines.local import open_parts
from harvester.simulator import Faults, Simulator, WorldSpec
from tests.crash import compact_kills
from tests.crash.compact_kills import Killer
from tests.crash.verbs import VERBS, Killed
from tests.crash.verbs import run as kill_verb
from tests.e2e.conftest import Command, command_for
from tests.forked import ForkedCommand
from tests.patience import LONG

ROWS, ROWS_PER_PART, CONCURRENCY, BUNDLE = 3000, 100, 4, 20
PARTS = ROWS // ROWS_PER_PART
PROJECT = "Demo street scenes"
FLAGS = (
    "--rows-per-part", str(ROWS_PER_PART), "--concurrency", str(CONCURRENCY), "--bundle-size", str(BUNDLE),
    "--quiet",
)  # fmt: skip
SPEC = WorldSpec(rows=ROWS, objects=1, mix=("image", "audio"), branches=())
FAULTS = Faults(latency=0.01)  # for the harvest to last about as long as all the rest

# Where a kill is aimed at: so many commits are there, or something before or after all of them.
STARTING, PLANNING, ENDING = -2, -1, PARTS
SECOND_LOOK = 0.002  # seconds between two looks at what the export has done


@dataclass
class Tally:
    """What came of one lane of kills. `moments` counts the kills by what they hit."""

    kills: int = 0
    exports: int = 0
    wrong: list[str] = field(default_factory=list)
    fetched_again: int = 0
    may_fetch_again: int = 0
    moments: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        moments = {
            name: self.moments.get(name, 0) + other.moments.get(name, 0)
            for name in {**self.moments, **other.moments}
        }
        return Tally(
            self.kills + other.kills,
            self.exports + other.exports,
            self.wrong + other.wrong,
            self.fetched_again + other.fetched_again,
            self.may_fetch_again + other.may_fetch_again,
            moments,
        )

    def __str__(self) -> str:
        hit = ", ".join(f"{number} {name}" for name, number in sorted(self.moments.items()))
        return (
            f"{self.kills} kills, {self.exports} exports, {len(self.wrong)} different\n"
            f"  killed while: {hit}\n"
            f"  rows fetched again: {self.fetched_again:,} of {self.may_fetch_again:,} that may be"
        )


class Lane:
    """Exports of one simulated project, by so many `processes`, killed at moments that `seed` chooses."""

    def __init__(self, processes: int, seed: int, directory: Path) -> None:
        self.processes = processes
        self.random = random.Random(seed)
        self.directory = directory / f"{processes}-processes"
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir(parents=True)
        # A part more for each process: handed out, and not begun.
        share = max(1, CONCURRENCY // processes)
        width = open_parts(share * BUNDLE, ROWS_PER_PART)
        self.open_rows = processes * (width + (processes > 1)) * ROWS_PER_PART

    def run(self, kills: int) -> Tally:
        """Exports until that many kills are done and the last export is complete."""
        tally = Tally()
        with Simulator(SPEC, FAULTS) as simulator:
            command = command_for(simulator)
            command.environment["TMPDIR"] = str(self.temporary)
            undisturbed = self.directory / "undisturbed"
            self.start(command, undisturbed).wait()
            expected = contents(undisturbed)
            assert len([name for name in expected if name.startswith("objects-")]) == PARTS
            served = simulator.stats()["rows_served"]
            labelled = served
            while tally.kills < kills:
                target = self.directory / f"{tally.exports}"
                killed = self.export(command, target, kills - tally.kills, tally)
                tally.exports += 1
                tally.kills += killed
                if (found := contents(target)) != expected:
                    names = sorted(n for n in {*found, *expected} if found.get(n) != expected.get(n))
                    tally.wrong.append(f"{target}: {', '.join(names)}")
                was, served = served, simulator.stats()["rows_served"]
                again, may = served - was - labelled, killed * self.open_rows
                if again > may:
                    tally.wrong.append(f"{target}: {again} rows fetched again after {killed} kills")
                tally.fetched_again += again
                tally.may_fetch_again += may
        # SQLite unlinks its private file right after it has made it: a kill in between leaves an empty one.
        if left := [str(path) for path in self.temporary.rglob("*") if path.is_dir() or path.stat().st_size]:
            tally.wrong.append(f"left behind: {', '.join(left)}")
        return tally

    def start(self, command: Command, target: Path) -> ForkedCommand:
        return command.start("export", PROJECT, "-o", target, *FLAGS, "--processes", str(self.processes))

    def export(self, command: Command, target: Path, at_most: int, tally: Tally) -> int:
        """Exports into `target`, killed at most so many times; says how often it was."""
        killed = 0
        while True:
            running = self.start(command, target)
            moment, delay = self.choose(target)
            spared = commits(target) == PARTS and self.random.random() < 0.5
            if killed < at_most and not spared and strike(running, target, moment, delay):
                killed += 1
                hit = found_at(target)
                tally.moments[hit] = tally.moments.get(hit, 0) + 1
                continue
            assert running.wait(LONG) == 0, "an export that nobody killed did not end well"
            return killed

    def choose(self, target: Path) -> tuple[int, float]:
        """The moment to kill at, and how many seconds after it."""
        there, chance = commits(target), self.random.random()
        if chance < 0.05:
            return STARTING, self.random.uniform(0.0, 2.0)
        delay = self.random.uniform(0.0, 0.05)
        if chance < 0.2 or there == PARTS:
            return PLANNING, delay
        return min(ENDING, there + self.random.randrange(1, 11)), delay


def strike(running: ForkedCommand, target: Path, moment: int, delay: float) -> bool:
    """Waits for `moment` and `delay` seconds more, and kills; False where it has ended by itself before."""
    for seconds in waits(target, moment, delay):
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert running.wait(seconds) == 0, "an export that nobody killed did not end well"
            return False
    running.send_signal(signal.SIGKILL)
    return running.wait() == -signal.SIGKILL


def waits(target: Path, moment: int, delay: float) -> Iterator[float]:
    if moment != STARTING:
        began = state_of(target)
        while state_of(target) == began if moment == PLANNING else commits(target) < moment:
            yield SECOND_LOOK
    yield delay


def state_of(target: Path) -> tuple[int, ...]:
    """What changes once an export takes the target up: its lock is written."""
    try:
        found = (target / ".harvester" / "lock").stat()
    except FileNotFoundError:
        return ()
    return found.st_mtime_ns, found.st_size


def commits(target: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(target / ".harvester" / "commits")
        return sum(name.endswith(".json") and name[0] != "." for name in names)
    return 0


def found_at(target: Path) -> str:
    """What a killed export was about."""
    if not (target / ".harvester" / "plan.json").exists():
        return "starting or planning"
    if (target / "manifest.json").exists():
        return "leaving"
    return "comparing and writing the manifest" if commits(target) == PARTS else "harvesting parts"


def contents(target: Path) -> dict[str, object]:
    """All files of an export but its lock: their bytes, the manifest by its digest."""
    found: dict[str, object] = {
        str(path.relative_to(target)): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and path.name != "lock"
    }
    manifest = found.get("manifest.json")
    if isinstance(manifest, bytes):
        found["manifest.json"] = json.loads(manifest)["digest"]
    return found


def run(kills: int, seed: int) -> Tally:
    """Half of the kills on exports by one process, half on exports by two; both lanes at a time."""
    with tempfile.TemporaryDirectory(prefix="crashtest-") as directory, ThreadPoolExecutor(2) as pool:
        lanes = [Lane(processes, seed + processes, Path(directory)) for processes in (1, 2)]
        one, two = pool.map(lambda lane: lane.run(kills // 2), lanes)
        return one + two


def main() -> int:
    """Prints one line of what came of it; exit 1 where bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", choices=["export", "compact", *VERBS], default="export")
    parser.add_argument("--kills", type=int, help="default: 200 for export, 50 for s3 and compact, else 100")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    tally: Tally | Killed | Killer
    if given.verb == "export":
        tally = run(given.kills or 200, given.seed)
    elif given.verb == "compact":
        tally = compact_kills.run(given.kills or 50, given.seed)
    else:
        tally = kill_verb(given.verb, given.kills or VERBS[given.verb].kills, given.seed)
    print(f"{given.verb}: {tally}\n  seed {given.seed}")
    for wrong in tally.wrong:
        print(f"  {wrong}")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
