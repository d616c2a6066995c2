"""SIGKILL at random moments of `harvester compact`, again and again: `make crashtest VERB=compact`.

Copies of one synced export are compacted. Each must end with the bytes of one that was never killed, and
leave no file behind.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import anyio

from tests.forked import ForkedCommand, run_forked
from tests.patience import LONG
from tests.sync.worlds import LiveWorld, contents, empty_folders

ROWS, SYNCS = 600, 6
LOOK = 0.002  # seconds between two looks at the lock


async def prepare(target: Path, seed: int, rows: int) -> None:
    """Make the export, with failed rows."""
    world, rng = LiveWorld(rows, seed=seed), random.Random(seed)
    world.broken = set(world.labels()[:2])
    await world.export(target)
    for _ in range(SYNCS):
        world.change_at_random(rng)
        world.world.edit(rows=rng.sample(world.labels(), rows // 6))
        await world.sync(target)


class Killer:
    """Compacts copies of `start`, killed at moments that `seed` chooses. `moments` counts what they hit."""

    def __init__(self, start: Path, seed: int) -> None:
        self.start = start
        self.rng = random.Random(seed)
        self.moments = Counter[str]()
        self.compactions = 0
        self.wrong: list[str] = []
        undisturbed = self._copy("undisturbed")
        done = run_forked("compact", undisturbed, "--quiet", "--json", environment=os.environ)
        assert done.returncode == 0, done.stderr
        self.seconds: float = json.loads(done.stdout)["seconds"]
        self.expected = self._files(undisturbed)

    def __str__(self) -> str:
        hit = ", ".join(f"{number} {name}" for name, number in sorted(self.moments.items()))
        done = f"{self.moments.total()} kills, {self.compactions} compactions, {len(self.wrong)} different"
        return f"{done}\n  killed while: {hit}"

    def kill(self, kills: int) -> None:
        """Compact copies until that many kills are done and the last one is complete."""
        while self.moments.total() < kills:
            out = self._copy(str(self.compactions))
            self._compact(out, kills)
            self.compactions += 1
            found = self._files(out)
            names = {name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name)}
            names |= set(empty_folders(out))
            self.wrong += [f"{out}: {', '.join(sorted(names))}"] if names else []
            shutil.rmtree(out)

    def _compact(self, out: Path, kills: int) -> None:
        while True:
            running = self._run(out)
            if self.moments.total() < kills and self.rng.random() < 0.8:
                self._wait_for_lock(out, running)
                with suppress(subprocess.TimeoutExpired):
                    assert running.wait(self.rng.uniform(0, self.seconds)) == 0
                    return
                running.send_signal(signal.SIGKILL)
                if running.wait() == -signal.SIGKILL:
                    self.moments[self._found_at(out)] += 1
                    continue
            assert running.wait(LONG) == 0, "a compaction that nobody killed did not end well"
            return

    def _found_at(self, out: Path) -> str:
        folder = out / "generations" / f"{SYNCS + 1:05}"
        if not (folder / ".harvester" / "plan.json").exists():
            return "reading or planning"
        if not (out / ".harvester" / "base.json").exists():
            return "writing parts"
        return "leaving" if not (out / "objects-00000.ndjson").exists() else "switching or deleting"

    def _copy(self, name: str) -> Path:
        out = self.start.with_name(name)
        shutil.copytree(self.start, out)
        return out

    def _run(self, out: Path) -> ForkedCommand:
        (out / ".harvester" / "lock").unlink(missing_ok=True)
        return ForkedCommand("compact", out, "--quiet", environment=os.environ)

    def _wait_for_lock(self, out: Path, running: ForkedCommand) -> None:
        while not (out / ".harvester" / "lock").exists():
            with suppress(subprocess.TimeoutExpired):
                running.wait(LOOK)
                return

    def _files(self, out: Path) -> dict[str, bytes]:
        found = contents(out)
        found.pop(".harvester/lock", None)
        return found


def run(kills: int, seed: int, rows: int = ROWS) -> Killer:
    """Do that many kills on exports of so many rows, and return what came of them."""
    with tempfile.TemporaryDirectory(prefix="compact-kills-") as directory:
        start = Path(directory) / "start"
        anyio.run(prepare, start, seed, rows)
        killer = Killer(start, seed)
        killer.kill(kills)
        return killer
