"""Kill `harvester media` at random, and run it again: is everything right, and how much was fetched twice?

`python -m tests.crash.media_kills 50` does it fifty times, with large files too.
"""

import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from subprocess import DEVNULL, TimeoutExpired
from typing import Any

from harvester.simulator import Faults, Simulator
from harvester.simulator.world import WorldSpec
from tests.media.conftest import MediaPlatform


class Killed:
    """What became of a run that was killed again and again."""

    def __init__(self, platform: MediaPlatform, target: Path, rng: random.Random) -> None:
        self.kills = self.rounds = self.kept_bytes = 0
        self.seen: dict[str, str] = {}  # sha256 of each file, when it first had its final name
        self.wrong: list[str] = []
        self._platform = platform
        self._target = target
        self._rng = rng

    def run(self, kills: int) -> None:
        """Start and kill so many times. Whenever all is fetched, begin again with an empty folder."""
        folder = self._target / "media"
        while self.kills < kills:
            running = self._platform.command.start("media", self._target, "--quiet", stderr=DEVNULL)
            aim = self._served() + self._rng.randint(0, 3_000_000)
            while self._served() < aim and running.poll() is None:
                with suppress(TimeoutExpired):
                    running.wait(self._rng.uniform(0.001, 0.05))
            running.kill()
            ended = running.wait()
            self._look(folder)
            if ended == 0:
                self.rounds += 1
                self.kept_bytes += sum(path.stat().st_size for path in finals(folder))
                shutil.rmtree(folder)
            else:
                self.kills += 1

    def _served(self) -> int:
        return bytes_served(self._platform.simulator.stats())

    def _look(self, folder: Path) -> None:
        """Note each file with a final name: it must never change from then on."""
        for path in finals(folder):
            found = sha256(path.read_bytes()).hexdigest()
            name = str(path.relative_to(folder))
            if self.seen.setdefault(name, found) != found:
                self.wrong.append(name)


def finals(folder: Path) -> Iterator[Path]:
    """The files that have their final names."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix != ".ndjson" and path.name != "media.json":
            yield path


def bytes_served(stats: dict[str, Any]) -> int:
    """Bytes of files that the simulator has sent."""
    return sum(each["bytes"] for each in stats["media"].values())


def main(kills: int) -> None:
    import tempfile

    spec = WorldSpec(rows=60, unlabelled=0.0, video_frames=400, mix=("video", "image", "dicom", "scene"))
    with Simulator(spec) as simulator, tempfile.TemporaryDirectory() as folder:
        platform = MediaPlatform(simulator)
        target = platform.export(Path(folder) / "out")
        simulator.set_faults(Faults(media=("slow",), media_share=0.3, trickle_seconds=0.01))
        killed = Killed(platform, target, random.Random(1))
        killed.run(kills)
        done = platform.media(target)
        done.check()
        size = done.summary["bytes"]
        served = bytes_served(simulator.stats())
        size += killed.kept_bytes
        there = {line["path"]: line["sha256"] for line in done.index}
        wrong = [path for path, found in killed.seen.items() if there[path] != found]
        print(
            f"{killed.kills} kills; {killed.rounds + 1} times {len(there)} files, {size / 1e6:.1f} MB in all"
        )
        print(f"wrong: {len(wrong) + len(killed.wrong)}; failed: {done.summary['counts']['failed']}")
        print(f"served {served / 1e6:.1f} MB; twice: {(served - size) / killed.kills / 1e6:.2f} MB a kill")


if __name__ == "__main__":
    main(int(sys.argv[1]))
