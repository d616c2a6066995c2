"""Runs whole parts as tasks on a Dask cluster, whose workers write straight to a target that all can reach.

Dask schedules: it picks the worker, and gives the parts of a worker that is lost to another. Here parts are
only submitted, a few for each thread of the cluster, so that a plan of any size is no load on the
scheduler, and taken note of as they come back. What runs on the workers is `harvester.engines.dask_worker`.

The rate controllers of the workers need not know of each other: each finds the server's limit, and together
they share it. Limits that the user set are divided among the worker processes there are at the start; then
those alone get parts, so that nothing that joins later makes them more.
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
from harvester.engines.processes import divided, with_limits
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
    from harvester.engines.dask_worker import Done

_TO_CONNECT = 8.0  # seconds for the scheduler to answer, and as many for a first worker to be there
_WITHOUT_WORKERS = 60.0  # seconds in which a cluster that has lost all its workers may get new ones
_LOOK = 2.0  # seconds between two looks at the workers
_TO_LEAVE = 5.0  # seconds for workers to drop what is cancelled
_PARTS_A_THREAD = 2  # one under way and one that waits, so that no thread does


async def run(
    work: Work,
    parts: AsyncIterator[Part],
    *,
    target: Target,
    reports: Reports,
    stop: StopSignal,
) -> None:
    """Harvests and commits `parts` on the cluster. Stops as the local engine does.

    Raises:
        Stop: what ended a part on a worker, as itself.
        BadInput: the cluster cannot do it: a worker lacks harvester, or cannot see the target.
        CannotFinishNow: the scheduler cannot be reached, or there are no workers.
    """
    address = work.job.limits.scheduler or ""
    async with AsyncExitStack() as stack:
        client = await _connect(address, stack)
        threads = await _workers(client, address)
        await _check_packages(client)
        share = _for_one_of(len(threads), work)
        reports = reports._replace(on_event=once("rows.clocks_differ", reports.on_event))
        tasks = _Tasks(client, share, threads, reports)
        try:
            with unwrapped():
                await tasks.run(parts, stop)
        except CommClosedError as error:
            raise CannotFinishNow(f"the scheduler at {one_line(address)} is lost") from error
        finally:
            with anyio.CancelScope(shield=True):
                await tasks.leave()
                await in_thread(target.sweep)  # of workers that were lost


def _for_one_of(workers: int, work: Work) -> Work:
    limits = msgspec.structs.replace(
        divided(work.job.limits, workers),
        max_memory=work.job.limits.max_memory,  # of each worker process: it has a machine's, not this one's
        engine="local",
        scheduler=None,
    )
    name = work.target if "://" in work.target else str(Path(work.target).absolute())
    return msgspec.structs.replace(
        with_limits(work, limits), connection=dask_worker.without_secrets(work.connection), target=name
    )


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
    """The threads of each worker process, by its address."""
    try:
        await cast(Awaitable[None], client.wait_for_workers(1, timeout=within))
    except TimeoutError:
        raise CannotFinishNow(
            f"the scheduler at {one_line(address)} has no workers: start some first"
        ) from None
    return dict(await client.nthreads())


async def _check_packages(client: Client) -> None:
    """Scheduler and workers can read a task at all; the versions are compared where one is run."""
    found: Any = await cast(Awaitable[Any], client.get_versions(packages=["encord-harvester"]))
    for who, theirs in {"the scheduler": found["scheduler"], **found["workers"]}.items():
        if not theirs["packages"].get("encord-harvester"):
            raise BadInput(f"{who} lacks the package encord-harvester: install it there, as here")


class _Tasks:
    """The parts of one run, as tasks."""

    def __init__(self, client: Client, work: Work, threads: dict[str, int], reports: Reports) -> None:
        self._client = client
        self._work = encoded(work)
        self._versions = dask_worker.versions()
        self._threads = threads
        self._bound = sorted(threads) if work.job.limits.max_rps or work.job.limits.concurrency else None
        self._reports = reports
        self._name = f"harvester-{secrets.token_hex(8)}"
        self._under_way: dict[str, Future[Any]] = {}

    async def run(self, parts: AsyncIterator[Part], stop: StopSignal) -> None:
        """Until all parts are there. Raises what ended one of them."""
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
        """Cancels what is under way, and has the workers forget this run."""
        # A cluster that is gone has nothing to forget.
        with anyio.move_on_after(_TO_LEAVE), suppress(Exception):
            await self._client.cancel(list(self._under_way.values()), force=True)
            await self._client.run(dask_worker.leave, self._name, on_error="ignore")

    @property
    def _width(self) -> int:
        return _PARTS_A_THREAD * max(1, sum(self._threads.values()))

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
        """Dask itself would wait for workers for ever."""
        seen = anyio.current_time()
        while True:
            await anyio.sleep(_LOOK)
            threads = dict(await self._client.nthreads())
            self._threads = {name: threads[name] for name in self._bound or threads if name in threads}
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
