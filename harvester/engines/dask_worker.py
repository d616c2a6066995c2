"""What runs on the workers of a Dask cluster: a part is a task. `harvester.engines.dask` submits them.

A task's arguments are the export's settings and the number of its part. The worker reads the part's rows
from the plan in the target, and takes its credentials from its own environment: nothing secret is ever in
a task, which the scheduler keeps and shows.

Between tasks a worker process keeps open what they need: a session, a pool, and a loop in a thread of its
own, so that Dask's is never held up. It is closed when the export is over, or its process is gone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack
from typing import Any

import msgspec
from anyio.from_thread import start_blocking_portal
from anyio.to_thread import run_sync as in_thread
from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync
from distributed.versions import get_package_info

from harvester.engines.messages import Ended, Said, decoded, encoded
from harvester.errors import BadInput, CannotFinishNow, Stop
from harvester.events import LEVELS, Counters
from harvester.fetch.pool import Pool
from harvester.filters import asked_with
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.output import planfile
from harvester.output.commit import Commit, read_commit
from harvester.output.planfile import PlanHeader
from harvester.output.target import Target, open_target
from harvester.part import Work, harvest_part
from harvester.settings import Connection, connection_from_environment

# What decides the bytes of a part, so that no worker may have another version.
PACKAGES = ("harvester", "orjson", "msgspec", "zstandard")

_PLUGIN = "harvester"
_MOST_EVENTS = 100  # that one part tells of: more would go into the memory of three machines
_INFO = 20
_ENDED = 1000  # exports that are over, and of which no task may begin
_TO_END = 3.0  # seconds in which parts that were cancelled drop what they have written


class Order(msgspec.Struct, frozen=True):
    """To the workers, once an export: what to do, and the versions of `PACKAGES` to do it with."""

    work: Work
    versions: dict[str, str | None]


class Done(msgspec.Struct, frozen=True):
    """From a task: its part's commit, or what ended it; neither if it was not begun any more.

    `counted` and `said` are of all that its worker process has done since it told last.
    """

    commit: Commit | None = None
    ended: Ended | None = None
    counted: dict[str, int] = {}
    said: list[Said] = []


def harvest(order: bytes, part: int) -> bytes:
    """The task: harvests and commits a part. Gives a `Done`, as JSON; all that it raises are bugs."""
    worker = get_worker()
    plugin = sync(worker.loop, _installed, worker)
    return encoded(plugin.harvest(order, part, str(worker.get_current_task())))


async def begin_no_more(export: str, dask_worker: Worker) -> None:
    """Has a worker refuse the parts of `export` that it has not begun."""
    (await _installed(dask_worker)).ended.append(export)


async def leave(export: str, dask_worker: Worker) -> None:
    """Cancels the parts of `export` on a worker, and closes what is kept open for it."""
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

    async def teardown(self, worker: Worker) -> None:
        for export in list(self._exports):
            await self.leave(export)

    def harvest(self, order: bytes, part: int, key: str) -> Done:
        """In a thread of the worker's. `key` is the task's, and begins with its export's."""
        name = export_of(key)
        try:
            with self._opening:
                if name in self.ended:
                    return Done()
                if name not in self._exports:
                    self._exports[name] = _Export(order)
                export = self._exports[name]
            future = self._running[key] = export.begin(part)
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

    async def leave(self, name: str) -> None:
        """Cancels what is under way for an export, and closes what it needed."""
        self.ended.append(name)
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

    def __init__(self, order: bytes) -> None:
        """Blocking. Raises BadInput, CredentialsRefused: this worker cannot do it."""
        from harvester.encord.session import Session  # the scheduler imports this module, and needs no SDK

        found: Order = decoded(order, Order)
        _check_versions(found.versions)
        self._work = work = found.work
        self._target = open_target(work.target)
        self._rows = _PlanRows(self._target, _header(self._target, work))
        self._counters, self._told = Counters(), Counters().snapshot()
        self._said: list[Said] = []
        self._extractor = Extractor(work.selection, work.format, work.project.ontology)
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            session = Session.open(with_own_credentials(work.connection))
            stack.callback(session.close)
            source = session.label_rows(work.project, asked_with(work.selection, work.format))
            pool = Pool(
                source, work.limits, counters=self._counters, on_event=self._say,
                request_deadline=work.connection.request_deadline, row_bytes=work.row_bytes,
            )  # fmt: skip
            self._pool = stack.enter_context(self._portal.wrap_async_context_manager(pool))
            self._stack = stack.pop_all()

    def begin(self, part: int) -> "Future[Done]":
        """Begins to harvest a part; what it gives may be cancelled."""
        return self._portal.start_task_soon(self._harvest, part)

    def close(self) -> None:
        """Blocking. No part may be under way."""
        self._stack.close()

    async def _harvest(self, part: int) -> Done:
        # It is there if the worker that had the task before was lost after it had committed.
        commit = await in_thread(read_commit, self._target, self._work.plan, part)
        if commit is None:
            rows = await in_thread(self._rows.of, part)
            commit = await harvest_part(
                part, rows, self._work,
                target=self._target, pool=self._pool, extractor=self._extractor, counters=self._counters,
            )  # fmt: skip
        said, self._said = self._said, []
        before, self._told = self._told, self._counters.snapshot()
        return Done(
            commit, None, {name: self._told[name] - before[name] for name in self._counters.work()}, said
        )

    def _say(self, event: str, fields: Mapping[str, Any]) -> None:
        if len(self._said) < _MOST_EVENTS and LEVELS.get(event, _INFO) >= _INFO:
            self._said.append(Said(event, dict(fields)))


class _PlanRows:
    """The rows of one part after the other: parts in their order cost one pass over the plan in all."""

    def __init__(self, target: Target, plan: PlanHeader) -> None:
        self._target = target
        self._plan = plan
        self._turn = threading.Lock()
        self._wanted = -1
        self._slices: Iterator[tuple[int, list[PlanRow]]] = iter(())
        self._next = plan.parts

    def of(self, part: int) -> list[PlanRow]:
        """Blocking."""
        with self._turn:
            begin_anew = part < self._next
            if not begin_anew:
                try:
                    return self._read(part)
                except CannotFinishNow:
                    pass  # a stream that has been open for long may have been cut
            self._slices, self._next = planfile.slices(self._target, self._plan, self), 0
            return self._read(part)

    def _read(self, part: int) -> list[PlanRow]:
        self._wanted, self._next = part, part + 1
        found = next(self._slices, None)
        if found is None:
            raise CannotFinishNow(f"the plan has no part {part}")
        return found[1]

    def __contains__(self, part: object) -> bool:
        return part == self._wanted


def with_own_credentials(given: Connection) -> Connection:
    """`given` with the credentials and certificates that this machine's environment names.

    Where it names none, the files that `given` names are looked for here too.
    """
    names = set(given.__struct_fields__) - {"ssh_key_file", "ca_bundle"} - set(SECRETS)
    own = connection_from_environment(**{name: getattr(given, name) for name in names})
    if not (own.ssh_key_file or own.ssh_key or own.bearer_token):
        own = msgspec.structs.replace(own, ssh_key_file=given.ssh_key_file)
    return msgspec.structs.replace(own, ca_bundle=own.ca_bundle or given.ca_bundle)


SECRETS = ("ssh_key", "ssh_key_passphrase", "bearer_token")


def without_secrets(connection: Connection) -> Connection:
    """`connection` as it may be shown to a cluster: where the API is, and where files are."""
    return msgspec.structs.replace(connection, **dict.fromkeys(SECRETS))


def _check_versions(wanted: Mapping[str, str | None]) -> None:
    for name, own in get_package_info(wanted).items():
        if name in wanted and own != wanted[name]:
            raise BadInput(
                f"{name} is {own or 'missing'} here, but {wanted[name]} where the export was started"
            )


def _header(target: Target, work: Work) -> PlanHeader:
    header = planfile.read_header(target)
    if header is None or header.digest != work.plan:
        raise BadInput(
            f"{work.target} does not hold the export here: name a folder that all workers share under this "
            "path, or an object store"
        )
    return header


def _ended_by(error: Exception, address: str) -> Ended:
    from harvester.engines.worker import ended_by

    ended = ended_by(error)
    if isinstance(error, Stop):
        ended = msgspec.structs.replace(ended, message=f"worker {address}: {ended.message}")
    return ended
