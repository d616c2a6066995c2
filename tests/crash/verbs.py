"""Kills of the verbs that change an export: each begins with a copy of a prepared target.

A `Verb` prepares the target, and names the command. The command runs once undisturbed. Then it is killed at
random moments and run again, on copy after copy, until enough kills are done. Each copy must end with the
files of the undisturbed run. To add a verb, add a function to `VERBS`.
"""

import json
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import default_timer

from harvester.live import live_records
from harvester.simulator import Faults, Simulator, WorldSpec
from tests.e2e.conftest import Command, command_for
from tests.forked import ForkedCommand
from tests.output.stores import BUCKET, S3, s3_server

PROJECT = "Demo street scenes"
SPEC = WorldSpec(rows=600, objects=1, mix=("image", "audio"), branches=())
EXPORT = ("export", PROJECT, "--rows-per-part", "50", "--quiet")
LIMITS = ("--concurrency", "4", "--bundle-size", "10")
DONE = "when it was done"
LOOK = 0.02  # seconds between two looks at whether a command has taken its target up
EARLY = 0.15  # share of the kills that may come before that
MOST = 1.3  # a kill comes at most so late, in times of the undisturbed run: two lanes are slower than one
SLOW = Faults(latency=0.01)  # the harvest is to last about as long as the rest


class Place:
    """Where targets are: directories, or prefixes in a bucket."""

    def __init__(self, folder: Path, s3: S3 | None = None) -> None:
        self._folder = folder
        self._s3 = s3

    def name(self, number: int) -> str:
        """The name of a target for the command."""
        return f"s3://{BUCKET}/{number}" if self._s3 else str(self._folder / str(number))

    def begin(self, start: Path, number: int) -> None:
        """Make a target that is a copy of `start`, or nothing if there is no such directory."""
        if start.exists():
            assert self._s3 is None, "what is prepared is a directory"
            shutil.copytree(start, self._folder / str(number))

    def lock(self, number: int) -> object:
        """What changes once a command takes the target up."""
        if self._s3:
            listed = self._s3.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{number}/.harvester/lock")
            return [(found["ETag"], found["LastModified"]) for found in listed.get("Contents", [])]
        try:
            found = (self._folder / str(number) / ".harvester" / "lock").stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def files(self, number: int) -> dict[str, object]:
        """All files of a target but its lock: their bytes; manifests without what varies from run to run."""
        if self._s3:
            found = self._s3.contents(str(number))
        else:
            folder = self._folder / str(number)
            paths = [path for path in folder.rglob("*") if path.is_file()]
            found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        return {name: steady(name, data) for name, data in found.items() if not name.endswith("/lock")}


def steady(name: str, data: bytes) -> object:
    """What of a file must be the same whenever it was written."""
    if not name.endswith("manifest.json"):
        return data
    return {key: value for key, value in json.loads(data).items() if key not in ("run", "drift")}


@dataclass
class Verb:
    """How to kill a verb.

    `prepare` makes the target that the command begins with, given the simulator, the command and the path;
    it may make none. `arguments` is the command without the target, which `flag` comes before.
    """

    arguments: tuple[str, ...]
    flag: tuple[str, ...] = ()
    prepare: Callable[[Simulator, Command, Path], object] = lambda simulator, command, start: None
    kills: int = 100
    in_bucket: bool = False


def edited_since(*flags: str, added: int = 20) -> Callable[[Simulator, Command, Path], None]:
    """An export, and a project that has changed since."""

    def prepare(simulator: Simulator, command: Command, start: Path) -> None:
        command.export(start, *EXPORT[1:-1], *flags)
        labels = labels_of(start)
        simulator.edit(rows=labels[::4], removed=labels[1:20:2] if added else [], added=added)

    return prepare


def labels_of(start: Path) -> list[str]:
    """The label hashes of an export."""
    return sorted({str(record["label_hash"]) for record in live_records(start, kinds="units")})


def with_failures(simulator: Simulator, command: Command, start: Path) -> None:
    """An export of which a tenth of the rows failed; by now they would not."""
    simulator.set_faults(shares={"forbidden": 0.1})
    assert command(*EXPORT, "-o", start).returncode == 3
    simulator.set_faults(SLOW)


VERBS: dict[str, Verb] = {
    "sync": Verb(("sync", "--quiet", *LIMITS), prepare=edited_since()),
    "sync-compressed": Verb(
        ("sync", "--quiet", "--processes", "2", *LIMITS), prepare=edited_since("--compress", "zstd")
    ),
    "settle": Verb((*EXPORT, *LIMITS, "--settle"), ("-o",), edited_since(added=0)),
    "retry-failed": Verb((*EXPORT, *LIMITS, "--retry-failed"), ("-o",), with_failures),
    "s3": Verb((*EXPORT, *LIMITS), ("-o",), kills=50, in_bucket=True),
}


@dataclass
class Killed:
    """What came of the kills of one verb. `moments` counts them by what had been done."""

    kills: int = 0
    targets: int = 0
    wrong: list[str] = field(default_factory=list)
    moments: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        hit = ", ".join(f"{number} {name}" for name, number in sorted(self.moments.items()))
        return f"{self.kills} kills, {self.targets} targets, {len(self.wrong)} different\n  killed: {hit}"


class Killing:
    """Kills of one verb, in two lanes at a time."""

    def __init__(self, verb: Verb, command: Command, place: Place, start: Path, kills: int) -> None:
        self._verb, self._command, self._place, self._start = verb, command, place, start
        self._left = kills
        self.came_of_it = Killed()
        place.begin(start, 0)
        self._before = place.files(0)
        running = self._run(0)
        self._until_taken_up(running, 0, place.lock(0))
        began = default_timer()
        assert running.wait() == 0, "the undisturbed command failed"
        self._seconds = default_timer() - began
        self.expected = place.files(0)
        assert self.expected != self._before, "the command changes nothing"

    def lane(self, rng: random.Random) -> None:
        """Take copies until all kills are done."""
        while self._left > 0:
            self.came_of_it.targets += 1
            number = self.came_of_it.targets
            self._place.begin(self._start, number)
            hit = self._killed(number, rng)
            while hit and hit != DONE:
                hit = self._killed(number, rng)
            if hit:
                assert self._run(number).wait() == 0, "it does not end well after it was done"
            if (found := self._place.files(number)) != self.expected:
                names = {*found, *self.expected}
                wrong = sorted(name for name in names if found.get(name) != self.expected.get(name))
                self.came_of_it.wrong.append(f"{self._place.name(number)}: {', '.join(wrong)}")

    def _killed(self, number: int, rng: random.Random) -> str | None:
        """Run the command; kill it at some moment, if kills are left.

        Return what it was about then, or None if it had ended before.
        """
        lock = self._place.lock(number)
        running = self._run(number)
        if self._left > 0:
            self._left -= 1
            if rng.random() >= EARLY:
                self._until_taken_up(running, number, lock)
            with suppress(subprocess.TimeoutExpired):
                running.wait(rng.uniform(0, MOST) * self._seconds)
            if running.poll() is None:
                running.send_signal(signal.SIGKILL)
            if running.wait() == -signal.SIGKILL:
                self.came_of_it.kills += 1
                found = self._place.files(number)
                hit = "before its first change" if found == self._before else "in its work"
                hit = DONE if found == self.expected else hit
                self.came_of_it.moments[hit] = self.came_of_it.moments.get(hit, 0) + 1
                return hit
            self._left += 1
        code = running.wait()
        assert code == 0, f"a command that nobody killed ended with {code}"
        return None

    def _until_taken_up(self, running: ForkedCommand, number: int, lock: object) -> None:
        while running.poll() is None and self._place.lock(number) == lock:
            with suppress(subprocess.TimeoutExpired):
                running.wait(LOOK)

    def _run(self, number: int) -> ForkedCommand:
        return self._command.start(*self._verb.arguments, *self._verb.flag, self._place.name(number))


def run(name: str, kills: int, seed: int) -> Killed:
    """Kill a verb so often, in two lanes."""
    verb = VERBS[name]
    with TemporaryDirectory(prefix="crashtest-") as directory, Simulator(SPEC, SLOW) as simulator:
        folder = Path(directory)
        temporary = folder / "tmp"
        temporary.mkdir()
        command = command_for(simulator)
        command.environment["TMPDIR"] = str(temporary)
        with bucket(verb.in_bucket) as s3, ThreadPoolExecutor(2) as lanes:
            if s3:
                command.environment.update(s3.environment)
            verb.prepare(simulator, command, folder / "start")
            killing = Killing(verb, command, Place(folder, s3), folder / "start", kills)
            rngs = [random.Random(seed), random.Random(seed + 1)]
            for _ in lanes.map(killing.lane, rngs):
                pass
        came_of_it = killing.came_of_it
        # SQLite unlinks its private file right after it has made it: a kill in between leaves an empty one.
        if left := [str(path) for path in temporary.rglob("*") if path.is_dir() or path.stat().st_size]:
            came_of_it.wrong.append(f"left behind: {', '.join(left)}")
        return came_of_it


@contextmanager
def bucket(wanted: bool) -> Iterator[S3 | None]:
    """An S3 server, if one is wanted."""
    if not wanted:
        yield None
        return
    with s3_server() as s3:
        yield s3
