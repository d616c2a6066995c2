"""The state that all requests share: the world, its users, the statistics and the faults."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson

from harvester.simulator.certificates import Identity
from harvester.simulator.edits import Edited
from harvester.simulator.faults import HOSTILE_TITLES, BundleTrouble, Faults, RowTrouble
from harvester.simulator.limiter import Limiter
from harvester.simulator.messages import Refusal
from harvester.simulator.projects import Project, Projects
from harvester.simulator.signatures import Authenticator
from harvester.simulator.stats import Stats
from harvester.simulator.storage.file_faults import FileFaults
from harvester.simulator.storage.items import Items
from harvester.simulator.world import World


class Site:
    """The state of one simulated platform."""

    def __init__(self, world: World, identity: Identity, faults: Faults) -> None:
        self.world = world
        self.authenticator = Authenticator(identity)
        self.stats = Stats()
        self.projects = Projects(world.project())
        self.items = Items(world.store)
        world.store.clock = self.clock
        self.other_faults = asyncio.Event()  # set when these faults are replaced
        self.set_faults(faults, 0.0)

    def edit(self, **changes: Any) -> Edited:
        """Edit the project; arguments as of `Edits`. Raises ValueError if they are invalid."""
        edited = self.world.edit(**changes)
        self.projects = Projects(self.world.project())
        return edited

    async def edit_every(self, seconds: float) -> None:
        """Edit a few random rows every `seconds` seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            self.world.edit_at_random()
            self.projects = Projects(self.world.project())

    def set_faults(self, faults: Faults, now: float) -> None:
        """Replace the faults, at the time `now`. Raises ValueError if this project cannot play them."""
        if faults.plays("twice_by_branch") and len(self.world.branches()) < 2:
            raise ValueError("a project of one branch lists no row on another")
        self.faults = faults
        self.faults_since = now
        self.rows_admitted = 0
        self.other_faults.set()
        self.other_faults = asyncio.Event()
        self.limiter = Limiter(faults)
        self.world.store.life = faults.media_url_life
        self.file_faults = FileFaults(faults)
        self.random = random.Random(faults.seed)
        # Retry-After: clients should send nothing between the two, in seconds since the faults were set.
        self.pause_since = self.pause_until = 0.0
        self._turns: dict[str, int] = {}
        self._row_troubles = self._by_hash(faults.rows)
        self.troubles_listed = faults.plays("surrogates")
        self.hostile_rows = self._hostile_rows() if faults.hostile_titles else {}

    def clock(self) -> datetime:
        """Return the time of the server's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.faults.clock_ahead)

    def turn(self, of: str) -> int:
        """Return how often this method was called for `of` before, since the faults were set."""
        self._turns[of] = self._turns.get(of, -1) + 1
        return self._turns[of]

    def bundle_trouble(self) -> BundleTrouble | None:
        """Return the fault of this answer to a list of label rows, if any."""
        troubles = self.faults.bundle
        if not troubles:
            return None
        number = self.turn("bundle")
        if (number + 1) % self.faults.bundle_every:
            return None
        return troubles[number // self.faults.bundle_every % len(troubles)]

    def row_trouble(self, label_hash: str) -> RowTrouble | None:
        """Return the fault of a row, if it has one."""
        trouble = self._row_troubles.get(label_hash)
        if trouble is not None or not self.faults.shares:
            return trouble
        text = f"{self.faults.seed}/{label_hash}".encode("utf-8", "replace")
        place = int.from_bytes(sha256(text).digest()[:6], "big") / (1 << 48)
        for trouble, share in self.faults.shares.items():
            if place < share:
                return trouble
            place -= share
        return None

    def is_stale(self, label_hash: str) -> bool:
        """Return whether this answer still has the old version of a stale row."""
        most = self.faults.stale_asks
        return most is None or self.turn(f"stale {label_hash}") < most

    def open_project(self, project_hash: str) -> Project:
        """Return a project that the user may read. Raises Refusal."""
        project = self.projects.find(project_hash)
        if project is not None and not self.faults.forbidden:
            return project
        if project is not None or project_hash == self.projects.foreign_hash:
            raise Refusal("AUTHORISATION_ERROR")
        raise Refusal("RESOURCE_NOT_FOUND_ERROR")

    def is_own(self, project: Project) -> bool:
        return project is self.projects.own

    def another_row(self, asked: set[str]) -> str | None:
        """Return the hash of a label row that was not asked for."""
        return next((found for found in self._labelled(len(asked) + 1) if found not in asked), None)

    def _labelled(self, count: int) -> list[str]:
        hashes = (orjson.loads(item).get("label_hash") for item in self.world.listing({}))
        return list(islice(filter(None, hashes), count))

    def _by_hash(self, rows: dict[str, RowTrouble]) -> dict[str, RowTrouble]:
        numbers = [int(name) for name in rows if name.isdecimal()]
        hashes = self._labelled(max(numbers) + 1) if numbers else []
        return {hashes[int(name)] if name.isdecimal() else name: trouble for name, trouble in rows.items()}

    def _hostile_rows(self) -> dict[str, int]:
        return {found: place for place, found in enumerate(self._labelled(len(HOSTILE_TITLES)))}
