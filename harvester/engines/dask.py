"""Runs whole parts as tasks on a Dask cluster, whose workers write straight to a target that all can reach.

Dask schedules: it picks the worker, and gives the parts of a worker that is lost to another. Here parts are
only submitted, a few for each thread of the cluster, so that a plan of any size is no load on the
scheduler, and taken note of as they come back. What runs on the workers is `harvester.engines.dask_worker`.

The pacers of the workers need not know of each other: each finds the server's limit, and together they
share it. Limits that the user set are divided among the worker processes there are at the start; then
those alone get parts, so that nothing that joins later makes them more.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import dask
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.engines.dask_worker import (
    PACKAGES,
    Done,
    Order,
    begin_no_more,
    harvest,
    leave,
    without_secrets,
)
from harvester.engines.local import Part
from harvester.engines.messages import decoded, encoded
from harvester.engines.processes import WorkerFailed, raise_ended
from harvester.errors import BadInput, CannotFinishNow, first_of
from harvester.events import Counters, one_line
from harvester.output.commit import Commit
from harvester.output.target import Target
from harvester.part import Work

# Who configured the process's logging keeps it: distributed would send its own lines to standard error.
with dask.config.set({"logging": {"version": 1, "incremental": True}}):
    from distributed import Client, Future, KilledWorker, as_completed

_TO_CONNECT = 8.0  # seconds for the scheduler to answer, and as many for a first worker to be there
_WITHOUT_WORKERS = 60.0  # seconds in which a cluster that has lost all its workers may get new ones
_LOOK = 2.0  # seconds between two looks at the workers
_TO_LEAVE = 5.0  # seconds for workers to drop what is cancelled
_PARTS_A_THREAD = 2  # one under way and one that waits, so that no thread does
_RETRIES = 2  # of a task that fails without having begun; workers that are lost do not count


async def run(
    work: Work,
    parts: AsyncIterator[Part],
    *,
    target: Target,
    counters: Counters,
    on_event: Callable[[str, Mapping[str, Any]], None],
    on_commit: Callable[[Commit], None],
    stopping: anyio.Event,
    grace: float,
) -> None:
    """Harvests and commits `parts`, whose rows are not used, on the cluster. Stops as the local engine does.

    Raises:
        Stop: what ended a part on a worker, as itself.
        BadInput: the cluster cannot do it: a worker lacks harvester, or cannot see the target.
        CannotFinishNow: the scheduler cannot be reached, or there are no workers.
    """
    address = work.limits.scheduler or ""
    async with AsyncExitStack() as stack:
        client = await _connect(address, stack)
        threads = await _workers(client, address)
        versions = await _common_versions(client)
        order = Order(_for_one_of(len(threads), work, target), versions)
        tasks = _Tasks(client, order, threads, counters, on_event, on_commit)
        try:
            await tasks.run(parts, stopping, grace)
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        except OSError as error:
            raise CannotFinishNow(f"the scheduler at {address} is lost: {one_line(str(error))}") from error
        finally:
            with anyio.CancelScope(shield=True):
                await tasks.leave()
                await in_thread(target.sweep)  # of workers that were lost


def _for_one_of(workers: int, work: Work, target: Target) -> Work:
    limits = msgspec.structs.replace(
        work.limits,
        max_rps=work.limits.max_rps and work.limits.max_rps / workers,
        concurrency=work.limits.concurrency and max(1, work.limits.concurrency // workers),
        engine="local",
        scheduler=None,
    )
    name = target.name if "://" in target.name else str(Path(target.name).absolute())
    return msgspec.structs.replace(
        work, connection=without_secrets(work.connection), limits=limits, target=name
    )


async def _connect(address: str, stack: AsyncExitStack) -> Client:
    try:
        client = Client(
            address, asynchronous=True, timeout=_TO_CONNECT, set_as_default=False, name="harvester"
        )
        stack.push_async_callback(_close, client)
        with anyio.fail_after(_TO_CONNECT + 1):
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


async def _workers(client: Client, address: str) -> dict[str, int]:
    """The threads of each worker process, by its address."""
    try:
        await cast(Awaitable[None], client.wait_for_workers(1, timeout=_TO_CONNECT))
    except TimeoutError:
        raise CannotFinishNow(
            f"the scheduler at {one_line(address)} has no workers: start some first"
        ) from None
    return dict(await client.nthreads())


async def _common_versions(client: Client) -> dict[str, str | None]:
    """The versions of `PACKAGES`, which are the same everywhere."""
    found: Any = await cast(Awaitable[Any], client.get_versions(packages=list(PACKAGES)))
    own = {name: found["client"]["packages"][name] for name in PACKAGES}
    # The scheduler reads tasks, and so needs harvester, but no more than that.
    _check("the scheduler", {"harvester": own["harvester"]}, found["scheduler"])
    for address, theirs in found["workers"].items():
        _check(f"worker {address}", own, theirs)
    return own


def _check(who: str, own: Mapping[str, str | None], theirs: Mapping[str, Any] | None) -> None:
    for name, version in own.items():
        other = ((theirs or {}).get("packages") or {}).get(name)
        if other != version:
            has = f"has {name} {other}" if other else f"lacks the package {name}"
            raise BadInput(f"{who} {has}: install {name} {version} there, as here")


class _Tasks:
    """The parts of one run, as tasks."""

    def __init__(
        self,
        client: Client,
        order: Order,
        threads: dict[str, int],
        counters: Counters,
        on_event: Callable[[str, Mapping[str, Any]], None],
        on_commit: Callable[[Commit], None],
    ) -> None:
        limits = order.work.limits
        self._client = client
        self._order = order
        self._threads = threads
        self._bound = sorted(threads) if limits.max_rps or limits.concurrency else None
        self._counters = counters
        self._on_event = on_event
        self._on_commit = on_commit
        self._name = f"harvester-{secrets.token_hex(8)}"
        self._under_way: dict[str, Future[Any]] = {}

    async def run(self, parts: AsyncIterator[Part], stopping: anyio.Event, grace: float) -> None:
        """Until all parts are there. Raises what ended one of them."""
        async with anyio.create_task_group() as watches:
            watches.start_soon(self._watch_workers)
            watches.start_soon(self._stop_in_time, stopping, grace, watches.cancel_scope)
            order = encoded(self._order)
            completed = as_completed(loop=self._client.loop)
            more = True
            while True:
                while more and not stopping.is_set() and len(self._under_way) < self._width:
                    if more := (part := await anext(parts, None)) is not None:
                        self._begin(part[0], order, completed)
                if not self._under_way:
                    break
                await self._take(await anext(completed))
            watches.cancel_scope.cancel()

    async def leave(self) -> None:
        """Cancels what is under way, and has the workers forget this run."""
        with (
            anyio.move_on_after(_TO_LEAVE),
            suppress(Exception),
        ):  # a cluster that is gone has nothing to forget
            await self._client.cancel(list(self._under_way.values()), force=True)
            await self._client.run(leave, self._name, on_error="ignore")

    @property
    def _width(self) -> int:
        return _PARTS_A_THREAD * max(1, sum(self._threads.values()))

    def _begin(self, part: int, order: bytes, completed: as_completed) -> None:
        future = self._client.submit(
            harvest,
            order,
            part,
            key=f"{self._name}/{part}",
            pure=False,
            retries=_RETRIES,
            workers=self._bound,
        )
        self._under_way[str(future.key)] = future
        completed.add(future)
        self._on_event("part.started", {"part": part})

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
        for said in done.said:
            self._on_event(said.event, said.fields)
        for name, number in done.counted.items():
            setattr(self._counters, name, getattr(self._counters, name) + number)
        if done.ended is not None:
            raise_ended(done.ended)
        if (commit := done.commit) is None:
            return
        for outcome, number in commit.rows.items():
            setattr(self._counters, outcome, getattr(self._counters, outcome) + number)
        for kind, counts in commit.records.items():
            setattr(self._counters, kind, getattr(self._counters, kind) + counts.written)
        self._counters.out_bytes += sum(file.bytes for file in commit.files)
        self._on_commit(commit)

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

    async def _stop_in_time(self, stopping: anyio.Event, grace: float, scope: anyio.CancelScope) -> None:
        await stopping.wait()
        await self._client.run(begin_no_more, self._name, on_error="ignore")
        await anyio.sleep(grace)
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
