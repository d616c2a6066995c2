"""Runs whole parts as tasks on a Dask cluster. The workers write directly to a target that all can reach.

Dask schedules: it chooses the worker, and reassigns the parts of a worker that is lost. This module submits
a few parts for each thread of the cluster, which bounds the load on the scheduler for plans of any size, and
records their results. What runs on the workers is `harvester.engines.dask_worker`.

The rate controllers of the workers need not know of each other: each finds the server's limit, and together
they share it. Limits that the user set are divided among the worker processes there are at the start, at
most one for each request in flight; then those alone get parts, so that nothing that joins later makes them
more.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import dask
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.engines.local import Part, Reports, StopSignal
from harvester.engines.messages import WorkerFailed, decoded, encoded, raise_ended
from harvester.engines.processes import shares, with_limits
from harvester.errors import BadInput, CannotFinishNow, unwrapped
from harvester.events import once, one_line
from harvester.labels.wire import PlanRow
from harvester.output.target import Target
from harvester.part import Work

# As it is imported, distributed has its loggers write to standard error. What matters is raised.
with dask.config.set(
    {"logging": {"version": 1, "incremental": True, "loggers": {"distributed": {"level": "CRITICAL"}}}}
):
    from distributed import Client, Future, KilledWorker, as_completed
    from distributed.comm.core import CommClosedError

    from harvester.engines import dask_worker
    from harvester.engines.dask_worker import ClusterWork, Done

_TO_CONNECT = 8.0  # seconds to wait for the scheduler to answer, and again for a first worker
_WITHOUT_WORKERS = 60.0  # seconds without any worker after which the run gives up
_LOOK = 2.0  # seconds between two checks for workers
_TO_LEAVE = 5.0  # seconds for workers to discard cancelled parts
_PARTS_A_THREAD = 2  # one running and one queued, so that no thread idles


async def run(
    work: Work,
    parts: AsyncIterator[Part],
    *,
    target: Target,
    reports: Reports,
    stop: StopSignal,
) -> None:
    """Harvest and commit `parts` on the cluster. Stops as the local engine does.

    Raises:
        Stop: the error that ended a part on a worker, unchanged.
        BadInput: the cluster cannot do it: a worker lacks harvester, or cannot see the target.
        CannotFinishNow: the scheduler cannot be reached, or there are no workers.
    """
    address = work.job.limits.scheduler or ""
    async with AsyncExitStack() as stack:
        client = await _connect(address, stack)
        threads = await _workers(client, address)
        await _check_packages(client)
        shared = _for_workers(sorted(threads), work)
        reports = reports._replace(on_event=once("rows.clocks_differ", reports.on_event))
        tasks = _Tasks(client, shared, threads, reports)
        try:
            with unwrapped():
                await tasks.run(parts, stop)
        except CommClosedError as error:
            raise CannotFinishNow(f"the scheduler at {one_line(address)} is lost") from error
        finally:
            with anyio.CancelScope(shield=True):
                await tasks.leave()
                await in_thread(target.sweep)  # of workers that were lost


def _for_workers(addresses: Sequence[str], work: Work) -> ClusterWork:
    given = work.job.limits
    each = shares(given, len(addresses))
    limits = msgspec.structs.replace(
        each[0],
        max_memory=given.max_memory,  # of each worker process: it has a machine's, not this one's
        engine="local",
        scheduler=None,
    )
    name = work.target if "://" in work.target else str(Path(work.target).absolute())
    work = msgspec.structs.replace(
        with_limits(work, limits), connection=dask_worker.without_secrets(work.connection), target=name
    )
    if not (given.max_rps or given.concurrency):
        return ClusterWork(work)
    in_flight = [share.concurrency for share in each]
    return ClusterWork(
        work, dict(zip(addresses, in_flight, strict=False))
    )  # those without a share get no parts


async def _connect(address: str, stack: AsyncExitStack, within: float = _TO_CONNECT) -> Client:
    try:
        client = Client(address, asynchronous=True, timeout=within, set_as_default=False, name="harvester")
        stack.push_async_callback(_close, client)
        with anyio.fail_after(within + 1):
            await client
    except OSError as error:  # timeouts too
        raise CannotFinishNow(f"no Dask scheduler answers at {one_line(address)}") from error
    except (ValueError, TypeError, RuntimeError) as error:  # of the address, or of Dask's TLS settings for it
        raise BadInput(
            f"{one_line(address)} cannot be used as a scheduler's address: {one_line(str(error))}"
        ) from error
    return client


async def _close(client: Client) -> None:
    with anyio.CancelScope(shield=True), suppress(Exception):  # what it was for is done
        await client.close(timeout=2)


async def _workers(client: Client, address: str, within: float = _TO_CONNECT) -> dict[str, int]:
    """Return the number of threads of each worker process, by its address."""
    try:
        await cast(Awaitable[None], client.wait_for_workers(1, timeout=within))
    except TimeoutError:
        raise CannotFinishNow(
            f"the scheduler at {one_line(address)} has no workers: start some first"
        ) from None
    return dict(await client.nthreads())


async def _check_packages(client: Client) -> None:
    """Check that scheduler and workers can import harvester. Each task compares the versions itself."""
    found: Any = await cast(Awaitable[Any], client.get_versions(packages=["encord-harvester"]))
    for who, theirs in {"the scheduler": found["scheduler"], **found["workers"]}.items():
        if not theirs["packages"].get("encord-harvester"):
            raise BadInput(f"{who} lacks the package encord-harvester: install it there, as here")


class _Tasks:
    """The parts of one run, as tasks."""

    def __init__(
        self, client: Client, shared: ClusterWork, threads: dict[str, int], reports: Reports
    ) -> None:
        self._client = client
        self._work = encoded(shared)
        self._versions = dask_worker.versions()
        self._bound = list(shared.workers) or None
        self._threads = self._usable(threads)
        self._reports = reports
        self._name = f"harvester-{secrets.token_hex(8)}"
        self._under_way: dict[str, Future[Any]] = {}

    async def run(self, parts: AsyncIterator[Part], stop: StopSignal) -> None:
        """Submit `parts` and wait for all of them. Raises the error that ended one of them."""
        async with anyio.create_task_group() as watches:
            watches.start_soon(self._watch_workers)
            watches.start_soon(self._stop_in_time, stop, watches.cancel_scope)
            completed = as_completed(loop=self._client.loop)
            more = True
            while True:
                while more and not stop.event.is_set() and len(self._under_way) < self._width:
                    if more := (part := await anext(parts, None)) is not None:
                        self._begin(*part, completed)
                if not self._under_way:
                    break
                await self._take(await anext(completed))
            watches.cancel_scope.cancel()

    async def leave(self) -> None:
        """Cancel running parts, and make the workers close what they keep open for this run."""
        # If the cluster is gone, there is nothing to close.
        with anyio.move_on_after(_TO_LEAVE), suppress(Exception):
            await self._client.cancel(list(self._under_way.values()), force=True)
            await self._client.run(dask_worker.leave, self._name, on_error="ignore")

    @property
    def _width(self) -> int:
        return _PARTS_A_THREAD * max(1, sum(self._threads.values()))

    def _usable(self, threads: dict[str, int]) -> dict[str, int]:
        return {name: threads[name] for name in self._bound or threads if name in threads}

    def _begin(self, part: int, rows: Sequence[PlanRow], completed: as_completed) -> None:
        future = self._client.submit(
            dask_worker.harvest,
            self._versions,
            self._work,
            part,
            encoded(rows),
            key=f"{self._name}/{part}",
            pure=False,
            workers=self._bound,
        )
        self._under_way[str(future.key)] = future
        completed.add(future)
        self._reports.on_event("part.started", {"part": part, "rows": len(rows)})

    async def _take(self, future: Future[Any]) -> None:
        key = str(future.key)
        del self._under_way[key]
        if future.status == "finished":
            return self._count(decoded(await future, Done))
        if future.status == "error":
            error = await future.exception()
            raise _translated(error, key.rpartition("/")[2]) from error
        raise CannotFinishNow(
            "the cluster has dropped the export's tasks: its scheduler was restarted or is lost"
        )

    def _count(self, done: Done) -> None:
        counters = self._reports.counters
        for said in done.said:
            self._reports.on_event(said.event, said.fields)
        counters.add(done.counted)
        if done.ended is not None:
            raise_ended(done.ended)
        if (commit := done.commit) is None:
            return
        counters.add(commit.counted)
        counters.out_bytes += sum(file.bytes for file in commit.files)
        self._reports.on_commit(commit)

    async def _watch_workers(self) -> None:
        """Raise if the cluster has had no worker for too long. Dask itself would wait forever."""
        seen = anyio.current_time()
        while True:
            await anyio.sleep(_LOOK)
            threads = dict(await self._client.nthreads())
            self._threads = self._usable(threads)
            if self._threads:
                seen = anyio.current_time()
            elif anyio.current_time() - seen > _WITHOUT_WORKERS:
                raise CannotFinishNow("the cluster has lost all workers that the export may use")

    async def _stop_in_time(self, stop: StopSignal, scope: anyio.CancelScope) -> None:
        await stop.event.wait()
        await self._client.run(dask_worker.begin_no_more, self._name, on_error="ignore")
        await anyio.sleep(stop.grace)
        scope.cancel()


def _translated(error: BaseException | None, part: str) -> Exception:
    match error:
        case KilledWorker():
            return CannotFinishNow(
                f"part {part}: one worker after the other was lost over it; have they enough memory?"
            )
        case ImportError():
            return BadInput(f"a worker cannot import what it needs: {one_line(str(error))}")
        case _:
            return WorkerFailed(f"{type(error).__name__}: {one_line(str(error))}")
