"""An export that was synced once, and every verb that reads or writes a target, for attacks on it."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from harvester.live import live_records
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.report.measure import measure
from tests.sync.worlds import LiveWorld


class Scene:
    """A project, and an export of it that was synced once; there is more to sync."""

    def __init__(self, folder: Path) -> None:
        self.world = LiveWorld(20, seed=3)
        self.world.broken = set(self.world.labels()[:1])
        self.exported, self.synced = folder / "exported", folder / "synced"
        anyio.run(self.world.export, self.exported)
        shutil.copytree(self.exported, self.synced)
        self.world.world.edit(rows=self.world.labels()[:5])
        anyio.run(self.world.sync, self.synced)
        self.world.world.edit(rows=self.world.labels()[5:8])

    def begin(self, out: Path, *, synced: bool) -> Path:
        shutil.copytree(self.synced if synced else self.exported, out)
        return out


VERBS: dict[str, Callable[[Scene, Path], object]] = {
    "export": lambda scene, out: anyio.run(scene.world.export, out),
    "export --retry-failed": lambda scene, out: anyio.run(
        partial(scene.world.export, out, retry_failed=True)
    ),
    "sync": lambda scene, out: anyio.run(scene.world.sync, out),
    "verify": lambda scene, out: verify(LocalTarget(out)).problems,
    "live_records": lambda scene, out: list(live_records(out)),
    "report": lambda scene, out: measure(LocalTarget(out)),
}
