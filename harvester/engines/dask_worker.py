"""What runs on the workers of a Dask cluster: a part is a task. `harvester.engines.dask` submits them.

A task's arguments are the export's settings, the number of a part and its rows of the plan. The worker
takes its credentials from its own environment: nothing secret is ever in a task, which the scheduler
keeps and shows.

Between tasks a worker process keeps open what they need: a session, a pool, and a loop in a thread of its
own, so that Dask's is never held up. It is closed when the export is over, or its process is gone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack
from typing import Any

import msgspec
from anyio.from_thread import start_blocking_portal
from anyio.to_thread import run_sync as in_thread
from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync
from distributed.versions import get_package_info

from harvester.engines.local import equipped, harvesting
from harvester.engines.messages import Ended, Said, decoded, encoded, ended_by
from harvester.engines.processes import with_limits
from harvester.errors import BadInput, Stop
from harvester.events import LEVELS, Counters
from harvester.labels.wire import PlanRow
from harvester.output import planfile
from harvester.output.commit import Commit, read_commit
from harvester.output.target import Target
from harvester.part import Work
from harvester.settings import Connection, connection_from_environment

# Packages that decide the bytes of a part: all workers must have the same versions.
PACKAGES = ("encord-harvester", "orjson", "msgspec", "zstandard")

# Settings that must never be in a task.
SECRETS = ("ssh_key", "ssh_key_passphrase", "bearer_token")

_PLUGIN = "harvester"
_MOST_EVENTS = 100  # events in one result, which is held in memory by worker, scheduler and client
_INFO = 20
_ENDED = 1000  # ended exports that a worker remembers: no task of these may begin
_TO_END = 3.0  # seconds for cancelled parts to delete their files


class ClusterWork(msgspec.Struct, frozen=True):
    """The work of all workers of a cluster.

    `workers` are the only ones that get parts, by their addresses, each with its requests in flight (None: no
    limit). Empty: all get parts.
    """

    work: Work
    workers: dict[str, int | None] = {}

    def of(self, address: str) -> Work:
        """Return the work of one worker process, with its share of the limits."""
        if not self.workers:
            return self.work
        limits = msgspec.structs.replace(self.work.job.limits, concurrency=self.workers[address])
        return with_limits(self.work, limits)


class Done(msgspec.Struct, frozen=True):
    """The result of a task: the commit of its part, or what ended it; neither if the part was not begun.

    `counted` and `said` are the counts and events of the whole worker process since its last result.
    """

    commit: Commit | None = None
    ended: Ended | None = None
    counted: dict[str, int] = {}
    said: list[Said] = []


def harvest(versions: dict[str, str | None], work: bytes, part: int, rows: bytes) -> bytes:
    """Harvest and commit a part: the task. Returns a `Done` as JSON; anything that it raises is a bug.

    `versions` are those of `PACKAGES` where the export was started. `work`, a `ClusterWork`, and `rows` are
    JSON.
    """
    worker = get_worker()
    plugin = sync(worker.loop, _installed, worker)
    key = str(worker.get_current_task())
    return encoded(plugin.harvest(key, versions, work, part, rows))


async def begin_no_more(export: str, dask_worker: Worker) -> None:
    """Make a worker refuse parts of `export` that it has not begun."""
    (await _installed(dask_worker)).begin_no_more(export)


async def leave(export: str, dask_worker: Worker) -> None:
    """Cancel the parts of `export` on a worker, and close what it keeps open for them."""
    await (await _installed(dask_worker)).leave(export)


async def _installed(worker: Worker) -> "HarvestingPlugin":
    plugin = worker.plugins.get(_PLUGIN)
    if not isinstance(plugin, HarvestingPlugin):
        plugin = HarvestingPlugin()
        await worker.plugin_add(plugin, name=_PLUGIN, catch_errors=False)
    return plugin


class HarvestingPlugin(WorkerPlugin):
    """What a worker process keeps between tasks, for each export that it works for, by its key."""

    def __init__(self) -> None:
        self.ended: deque[str] = deque(maxlen=_ENDED)
        self._exports: dict[str, _Export] = {}
        self._running: dict[str, Future[Done]] = {}
        self._opening = threading.Lock()

    def setup(self, worker: Worker) -> None:
        self._worker = worker
        self._address = worker.contact_address or worker.address  # as the scheduler knows it

    async def teardown(self, worker: Worker) -> None:
        for export in list(self._exports):
            await self.leave(export)

    def harvest(
        self, key: str, versions: Mapping[str, str | None], work: bytes, part: int, rows: bytes
    ) -> Done:
        """In a thread of the worker's. `key` is the task's, and begins with its export's."""
        name = export_of(key)
        try:
            with self._opening:
                if name in self.ended:
                    return Done()
                if name not in self._exports:
                    self._exports[name] = _Export(versions, work, self._address)
                export = self._exports[name]
            future = self._running[key] = export.begin(part, rows)
            if self._released(key):  # before it was in there to be found
                future.cancel()
            return future.result()
        except CancelledError:
            return Done()
        except Exception as error:
            return Done(ended=_ended_by(error, self._worker.address))
        finally:
            self._running.pop(key, None)

    def transition(self, key: object, start: str, finish: str, **_: object) -> None:
        """A task under way for which nobody waits any more: the export's own process is gone."""
        if start == "executing" and finish == "released" and str(key) in self._running:
            self._leaving = asyncio.ensure_future(self.leave(export_of(str(key))))

    def begin_no_more(self, name: str) -> None:
        """Refuse parts of an export that are not begun, and let those under way wait for no store."""
        self.ended.append(name)
        if name in self._exports:
            self._exports[name].hurry()

    async def leave(self, name: str) -> None:
        """Cancel the running parts of an export, and close what it keeps open for them."""
        self.begin_no_more(name)
        running = [future for key, future in self._running.items() if export_of(key) == name]
        for future in running:
            future.cancel()
        await asyncio.to_thread(self._close, name, running)

    def _close(self, name: str, running: "list[Future[Done]]") -> None:
        wait(running, timeout=_TO_END)
        with self._opening:
            export = self._exports.pop(name, None)
        if export is not None:
            export.close()

    def _released(self, key: str) -> bool:
        task = self._worker.state.tasks.get(key)
        return task is None or task.state != "executing"


def export_of(key: str) -> str:
    """The key of the export that a part's task belongs to."""
    return key.rpartition("/")[0]


class _Export:
    """A worker process's session, pool and loop, for one export."""

    def __init__(self, versions: Mapping[str, str | None], encoded_work: bytes, address: str) -> None:
        """Blocking. Raises BadInput, CredentialsRefused: this worker cannot do it."""
        check_versions(versions)
        self._work = work = decoded(encoded_work, ClusterWork).of(address)
        self._target = work.open_target()
        _check_target(self._target, work)
        self._counters, self._told = Counters(), Counters().snapshot()
        self._said: list[Said] = []
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            equipment = stack.enter_context(equipped(work, with_own_credentials(work.connection)))
            self._target = equipment.target
            pool = harvesting(work, equipment, self._counters, self._say)
            self._harvest_part = stack.enter_context(self._portal.wrap_async_context_manager(pool))
            self._stack = stack.pop_all()

    def begin(self, part: int, rows: bytes) -> "Future[Done]":
        """Start to harvest a part. Cancelling the returned future cancels the harvest."""
        return self._portal.start_task_soon(self._harvest, part, decoded(rows, list[PlanRow]))

    def hurry(self) -> None:
        """Wait no longer for a store that is away."""
        self._target.hurry()

    def close(self) -> None:
        """Close session, pool and loop. No part may be running. Blocking."""
        self._stack.close()

    async def _harvest(self, part: int, rows: list[PlanRow]) -> Done:
        # The part exists already if an earlier worker was lost after the commit, before its result arrived.
        commit = await in_thread(read_commit, self._target, self._work.plan, part)
        if commit is None or (self._work.retry_failed and commit.rows["failed"]):
            commit = await self._harvest_part(part, rows)
        said, self._said = self._said, []
        before, self._told = self._told, self._counters.snapshot()
        return Done(
            commit, None, {name: self._told[name] - before[name] for name in self._counters.work()}, said
        )

    def _say(self, event: str, fields: Mapping[str, Any]) -> None:
        if len(self._said) < _MOST_EVENTS and LEVELS.get(event, _INFO) >= _INFO:
            self._said.append(Said(event, dict(fields)))


def with_own_credentials(given: Connection) -> Connection:
    """Return `given` with the credentials and certificates that this machine's environment names.

    If it names none, the paths in `given` are used, read on this machine.
    """
    names = set(given.__struct_fields__) - {"ssh_key_file", "ca_bundle"} - set(SECRETS)
    own = connection_from_environment(**{name: getattr(given, name) for name in names})
    if not (own.ssh_key_file or own.ssh_key or own.bearer_token):
        own = msgspec.structs.replace(own, ssh_key_file=given.ssh_key_file)
    return msgspec.structs.replace(own, ca_bundle=own.ca_bundle or given.ca_bundle)


def without_secrets(connection: Connection) -> Connection:
    """Return `connection` without secrets: addresses and paths may be shown to a cluster."""
    return msgspec.structs.replace(connection, **dict.fromkeys(SECRETS))


def versions() -> dict[str, str | None]:
    """Return the versions of `PACKAGES` on this machine; None for a missing package."""
    found = get_package_info(PACKAGES)
    return {name: found.get(name) for name in PACKAGES}


def check_versions(wanted: Mapping[str, str | None]) -> None:
    """Raise BadInput if this machine has other versions than `wanted`."""
    for name, own in versions().items():
        if own != wanted[name]:
            raise BadInput(
                f"{name} is {own or 'missing'} here, but {wanted[name]} where the export was started"
            )


def _check_target(target: Target, work: Work) -> None:
    header = planfile.read_header(target)
    if header is None or header.digest != work.plan:
        raise BadInput(
            f"{work.target} does not hold the export here: name a folder that all workers share under this "
            "path, or an object store"
        )


def _ended_by(error: Exception, address: str) -> Ended:
    ended = ended_by(error)
    if isinstance(error, Stop):
        ended = msgspec.structs.replace(ended, message=f"worker {address}: {ended.message}")
    return ended
