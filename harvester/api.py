"""The Python API: a project's records one after another, or an export; from async code and from plain code.

Credentials and the server's address come from the environment, as for the command line, unless a
`Connection` is given. A filter is a path, ``package.module:callable``, or a function: it gets a record
and says whether to keep it. It is called from several threads at once, in no order.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal
from anyio.streams.memory import MemoryObjectSendStream
from anyio.to_thread import run_sync as in_thread

from harvester.encord.opening import open_session
from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, SkipRow
from harvester.events import Counters, say
from harvester.export import export as export_project
from harvester.fetch.pool import FailedRow
from harvester.filters.given import Filters, with_filters
from harvester.filters.naming import is_digest, shown_name, stored_name
from harvester.filters.own import OwnFilter
from harvester.job import Job, Observer, OnEvent
from harvester.labels.extract import RowByRow
from harvester.output.stdout import standard_output
from harvester.output.target import open_target
from harvester.plan.changes import SyncOptions
from harvester.schema import Record
from harvester.settings import Connection, Format, Limits, Selection, connection_from_environment, strings
from harvester.stopping import in_own_task, stopping_when
from harvester.stream import stream_rows, write_stream
from harvester.summary import Summary
from harvester.sync import SyncSummary, spec_of
from harvester.sync import sync as sync_export

if TYPE_CHECKING:
    from harvester.encord.session import Session

T = TypeVar("T")

_BATCHES_AHEAD = 32  # batches that wait for a consumer that is slower than the server; mostly of one row each
_BATCH = 250  # records at once: a row may have millions


async def stream(
    project: str,
    *,
    filters: Filters = (),
    selection: Selection = Selection(),
    format: Format = Format(),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    on_failed: Callable[[FailedRow], object] | None = None,
) -> AsyncGenerator[Record, None]:
    """Yield the records of `project` (a hash or an exact title), in a fixed order, as they arrive.

    Objects and classifications, unless `format` names other kinds. Memory stays flat, and leaving the loop
    early ends the requests. Needs asyncio. `on_failed` is called with each label row that could not be
    fetched. `filters` are called from several threads at once, in no order.

    Raises:
        SkipRow: after all other records, where rows failed and there is no `on_failed`.
        Stop: see `harvester.errors`.
    """
    batches = _batches(project, filters, selection, format, limits, connection, on_failed)
    async with aclosing(batches):
        async for records in batches:
            for record in records:
                yield record


def records(
    project: str,
    *,
    filters: Filters = (),
    selection: Selection = Selection(),
    format: Format = Format(),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    on_failed: Callable[[FailedRow], object] | None = None,
) -> Iterator[Record]:
    """Yield what `stream` does, in code that is not async. The requests are made in a thread of their own."""
    batches = _batches(project, filters, selection, format, limits, connection, on_failed)
    with start_blocking_portal() as portal:
        try:
            while (found := portal.call(partial(anext, batches, None))) is not None:
                yield from found
        finally:
            portal.call(batches.aclose)


def export(
    project: str,
    target: Path | str,
    *,
    filters: Filters = (),
    selection: Selection = Selection(),
    format: Format = Format(),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    retry_failed: bool = False,
    settle: bool = False,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> Summary:
    """Export `project` (a hash or an exact title) into the directory `target`, or go on with it.

    This is `export_async` for code that is not async; it may be called where an event loop runs, as in a
    notebook. The work is done in a thread of its own, and `on_event` is called there.

    Raises:
        KeyboardInterrupt: the work ended in good order first, for which it had
            `harvester.run.GRACE` seconds; a second one ends it at once. The same call goes on. Within
            `asyncio.run` it takes one Ctrl-C more, since the first only cancels the main task.
        Stop: as `export_async` does.
    """
    return run_blocking(
        partial(
            export_async, project, target, filters=filters, selection=selection, format=format, limits=limits,
            connection=connection, retry_failed=retry_failed, settle=settle, counters=counters,
            on_event=on_event,
        ),
        stopping,
    )  # fmt: skip


async def export_async(
    project: str,
    target: Path | str,
    *,
    filters: Filters = (),
    selection: Selection = Selection(),
    format: Format = Format(),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    retry_failed: bool = False,
    settle: bool = False,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> Summary:
    """Export `project` (a hash or an exact title) into the directory `target`, or go on with it.

    Args:
        target: a directory, the address of an object store, or ``-`` for standard output.
        filters: called from several threads at once, in no order. The export stores their names, and refuses
            to go on with others. A function that cannot be imported is named by a digest of what it does; it
            may depend on plain values only.
        retry_failed: ask for the rows that failed again, and for no others.
        settle: harvest the rows edited since the plan was frozen again, once.
        stopping: once set, the work ends in good order. To be set in the event loop's thread, e.g. in
            `on_event`.
        counters: how far it is; they change as it goes on.
        on_event: called with what happens; by default it is logged.

    Raises:
        BadInput, CredentialsRefused, TargetRefused: see `harvester.errors`.
        CannotFinishNow: the server or the disk is in trouble, or the run was asked to stop. What is
            committed is kept: the same call goes on.
    """
    selection, functions = with_filters(selection, filters, shown_name if target == "-" else stored_name)
    if not limits.in_this_process:
        _check_importable(functions)
    observer = Observer(counters or Counters(), on_event, stopping)
    async with opened(project, connection, stopping) as (session, info):
        job = Job(info, selection, format, limits)
        if target == "-":
            return await write_stream(session, job, standard_output(), observer, functions=functions)
        return await in_own_task(
            partial(
                export_project, session, job, open_target(target), observer,
                retry_failed=retry_failed, settle=settle, functions=functions,
            )
        )  # fmt: skip


def sync(
    target: Path | str,
    *,
    filters: Filters = (),
    keep_names: bool = False,
    refetch: bool | str | Iterable[str] = False,
    limits: Limits = Limits(),
    connection: Connection | None = None,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> SyncSummary:
    """Bring the finished export in `target` up to date.

    This is `sync_async` for code that is not async; see `export` for where it may be called and how it is
    interrupted.
    """
    return run_blocking(
        partial(
            sync_async, target, filters=filters, keep_names=keep_names, refetch=refetch, limits=limits,
            connection=connection, counters=counters, on_event=on_event,
        ),
        stopping,
    )  # fmt: skip


async def sync_async(
    target: Path | str,
    *,
    filters: Filters = (),
    keep_names: bool = False,
    refetch: bool | str | Iterable[str] = False,
    limits: Limits = Limits(),
    connection: Connection | None = None,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> SyncSummary:
    """Bring the finished export in `target` up to date. Its project, selection and format are its own.

    Args:
        filters: those that it was made with: they are code, which runs only if it is named again.
        keep_names: leave rows as they are where only the ontology has changed; else those that hold what has
            changed in it are fetched again.
        refetch: fetch all rows again, or those of these label hashes, though nothing says that they changed.
        stopping, counters, on_event: as of `export_async`.

    A sync that goes on with an unfinished one keeps to the `keep_names` and `refetch` of that one.

    Raises:
        BadInput: there is no export, or it is not finished; or a label row to fetch again is not in it.
        Unsound: it is damaged, so that what has changed since cannot be told.
        CannotFinishNow, and others: as `export_async` does; the same call goes on.
    """
    selection, functions = with_filters(Selection(), filters, stored_name)
    if not isinstance(refetch, bool):
        refetch = tuple(sorted(set(strings("refetch", refetch)))) or False
    # First of all: nothing that the target names may be imported before.
    store = open_target(target)
    spec = await _in_thread(partial(spec_of, store, selection.filters), stopping)
    if not limits.in_this_process:
        _check_importable(functions)
    observer = Observer(counters or Counters(), on_event, stopping)
    options = SyncOptions(keep_names=keep_names, refetch=refetch)
    async with opened(spec.project.hash, connection, stopping) as (session, info):
        job = Job(info, spec.selection, spec.format, limits)
        return await in_own_task(
            partial(sync_export, session, job, store, observer, functions=functions, options=options)
        )


def run_blocking(work: Callable[..., Awaitable[T]], stopping: anyio.Event | None) -> T:
    """Return what `work` does, which runs in an event loop and a thread of its own; it is given `stopping`.

    An interrupt sets `stopping`, so that the work ends in good order, and is raised once it has. A second one
    cancels the work.
    """

    async def run() -> T:
        return await work(stopping=stopping)

    with start_blocking_portal() as portal:
        stopping = stopping or portal.call(anyio.Event)
        result = portal.start_task_soon(run)
        try:
            return result.result()
        except KeyboardInterrupt as interrupt:
            portal.call(stopping.set)
            raise interrupt from result.exception()


@asynccontextmanager
async def opened(
    project: str, connection: Connection | None, stopping: anyio.Event | None = None
) -> AsyncIterator[tuple["Session", ProjectInfo]]:
    """A session, closed at the end, and the project of that hash or title."""
    session = await _in_thread(partial(open_session, connection or connection_from_environment()), stopping)
    try:
        yield session, await _in_thread(partial(session.find_project, project), stopping)
    finally:
        session.close()


async def _in_thread(call: Callable[[], T], stopping: anyio.Event | None) -> T:
    """What `call` returns; its thread is left behind once `stopping` is set."""
    async with stopping_when(stopping, None) as ending:
        return await ending.cut_short(partial(in_thread, call, abandon_on_cancel=True))


async def _batches(
    project: str,
    filters: Filters,
    selection: Selection,
    format: Format,
    limits: Limits,
    connection: Connection | None,
    on_failed: Callable[[FailedRow], object] | None,
) -> AsyncGenerator[list[Record], None]:
    """The records of one label row after the other, at most `_BATCH` at once.

    The work is done by a task of its own, so that any task, also that of the garbage collector, may leave or
    close this generator: it holds no cancel scope.
    """
    selection, functions = with_filters(selection, filters, shown_name)
    send, receive = anyio.create_memory_object_stream[list[bytes]](_BATCHES_AHEAD)
    failed: list[FailedRow] = []

    async def produce(send: MemoryObjectSendStream[list[bytes]]) -> None:
        async with send, opened(project, connection) as (session, info):
            job = Job(info, selection, format, limits)
            rows = stream_rows(session, job, Observer(Counters()), functions=functions, reader=RowByRow)
            async with aclosing(rows):
                async for _, outcome in rows:
                    if not isinstance(outcome, FailedRow):
                        lines = _lines(chain.from_iterable(kind.chunks for kind in outcome.lines.values()))
                        while batch := list(islice(lines, _BATCH)):
                            await send.send(batch)
                    elif on_failed is not None:
                        on_failed(outcome)
                    else:
                        failed.append(outcome)

    producer = asyncio.create_task(produce(send))
    try:
        async for found in receive:
            yield [json.loads(line) for line in found]
        await producer
    finally:
        receive.close()
        producer.cancel()
        await asyncio.wait([producer])
    if failed:
        first = failed[0]
        raise SkipRow(
            f"{len(failed):,} label rows failed, the first of them {first.label_hash}: {first.message}",
            failure=first.error,
            row=first.label_hash,
        )


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in `chunks`, which may be cut anywhere and end with a line."""
    begun: list[bytes] = []
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        if ends:
            yield b"".join([*begun, ends[0]])
            yield from ends[1:]
            begun.clear()
        begun.append(rest)


def _check_importable(functions: Mapping[str, OwnFilter]) -> None:
    for name in functions:
        if is_digest(name):
            raise BadInput(f"filter {name}: other processes can only use a function that they can import")
