"""The Python API: a project's records one after another, or an export; from async code and from plain code.

Credentials and the server's address come from the environment, as for the command line, unless a
`Connection` is given. A filter is a path, ``package.module:callable``, or a function: it gets a record
and says whether to keep it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import msgspec
from anyio.from_thread import start_blocking_portal
from anyio.streams.memory import MemoryObjectSendStream
from anyio.to_thread import run_sync as in_thread

from harvester.encord.opening import open_session
from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, SkipRow
from harvester.events import Counters, say
from harvester.export import export as export_project
from harvester.fetch.pool import FailedRow
from harvester.filters.own import OwnFilter, load_filter
from harvester.labels.extract import RowByRow
from harvester.output.target import open_target
from harvester.run import Summary
from harvester.settings import Connection, Format, Limits, Selection, connection_from_environment
from harvester.stopping import stopping_when
from harvester.streaming import stream_rows, write_stream
from harvester.sync import SyncSummary, purpose_of
from harvester.sync import sync as sync_export

if TYPE_CHECKING:
    from harvester.encord.session import Session

T = TypeVar("T")

Record = dict[str, Any]
Filters = Iterable[str | OwnFilter]
OnEvent = Callable[[str, Mapping[str, Any]], None]

_ROWS_AHEAD = 32  # label rows whose records wait for a consumer that is slower than the server


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
    """The records of `project` (a hash or an exact title), in a fixed order, as they arrive.

    Memory stays flat, and leaving the loop early ends the requests. Needs asyncio. `on_failed` hears of
    each label row that cannot be had.

    Raises:
        SkipRow: after all other records, where rows failed and no `on_failed` took note.
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
    """`stream` for code that is not async. The requests are made in a thread of their own."""
    batches = _batches(project, filters, selection, format, limits, connection, on_failed)
    with start_blocking_portal() as portal:
        try:
            while (found := portal.call(partial(anext, batches, None))) is not None:
                yield from found
        finally:
            portal.call(batches.aclose)


def export(project: str, target: Path | str, **options: Any) -> Summary:
    """`export_async` for code that is not async; takes the same options."""
    return anyio.run(partial(export_async, project, target, **options))


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
    """Exports `project` (a hash or an exact title) into the directory `target`, or goes on with it.

    A target of ``-`` is standard output. For the rest see `harvester.export.export`.
    """
    selection, functions = _with_filters(selection, filters)
    if not limits.in_this_process:
        _check_importable(functions)
    counters = counters or Counters()
    async with _opened(project, connection, stopping) as (session, info):
        if target == "-":
            # Unbuffered: whoever flushes a buffer waits for the thread that is stuck in writing it.
            stdout = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
            return await write_stream(
                session, info, selection, format, limits, stdout,
                counters=counters, on_event=on_event, stopping=stopping, functions=functions,
            )  # fmt: skip
        return await export_project(
            session, info, selection, format, limits, target,
            counters=counters, on_event=on_event, stopping=stopping, functions=functions,
            retry_failed=retry_failed, settle=settle,
        )  # fmt: skip


def sync(target: Path | str, **options: Any) -> SyncSummary:
    """`sync_async` for code that is not async; takes the same options."""
    return anyio.run(partial(sync_async, target, **options))


async def sync_async(
    target: Path | str,
    *,
    filters: Filters = (),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> SyncSummary:
    """Brings the finished export in `target` up to date. Its project and selection are its own.

    `filters` are those that it was made with: they are code, which runs only if it is named again. For the
    rest see `harvester.sync.sync`.
    """
    selection, functions = _with_filters(Selection(), filters)
    # First of all: nothing that the target names may be imported before.
    purpose = await in_thread(purpose_of, open_target(target), selection.filters)
    if not limits.in_this_process:
        _check_importable(functions)
    counters = counters or Counters()
    async with _opened(purpose.project.hash, connection, stopping) as (session, info):
        return await sync_export(
            session, info, target, limits,
            counters=counters, on_event=on_event, stopping=stopping,
            filters=selection.filters, functions=functions,
        )  # fmt: skip


@asynccontextmanager
async def _opened(
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
    """The records of one label row after the other.

    The work is done by a task of its own, so that this generator may be left, or closed by whoever
    collects garbage, in any task: it holds no cancel scope.
    """
    selection, functions = _with_filters(selection, filters)
    send, receive = anyio.create_memory_object_stream[list[Record]](_ROWS_AHEAD)
    failed: list[FailedRow] = []

    async def produce(send: MemoryObjectSendStream[list[Record]]) -> None:
        async with send, _opened(project, connection) as (session, info):
            rows = stream_rows(
                session, info, selection, format, limits,
                counters=Counters(), on_event=say, functions=functions, reader=RowByRow,
            )  # fmt: skip
            async with aclosing(rows):
                async for _, outcome in rows:
                    if not isinstance(outcome, FailedRow):
                        lines = b"".join(map(bytes, outcome.lines.values())).split(b"\n")[:-1]
                        await send.send([json.loads(line) for line in lines])
                    elif on_failed is not None:
                        on_failed(outcome)
                    else:
                        failed.append(outcome)

    producer = asyncio.create_task(produce(send))
    try:
        async for found in receive:
            yield found
        await producer
    finally:
        receive.close()
        producer.cancel()
        await asyncio.wait([producer])
    if failed:
        first = failed[0]
        raise SkipRow(
            f"{len(failed):,} label rows failed, the first of them {first.label_hash}: {first.message}",
            row=first.label_hash,
        )


def _with_filters(selection: Selection, filters: Filters) -> tuple[Selection, dict[str, OwnFilter]]:
    """`selection` with `filters` named in it, and the functions among them by those names."""
    names, functions = list(selection.filters), dict[str, OwnFilter]()
    for wanted in filters:
        name = wanted if isinstance(wanted, str) else _name_of(wanted)
        if not isinstance(wanted, str):
            while name in functions:
                name += "'"
            functions[name] = wanted
        names.append(name)
    return msgspec.structs.replace(selection, filters=tuple(names)), functions


def _name_of(function: OwnFilter) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _check_importable(functions: Mapping[str, OwnFilter]) -> None:
    for name, function in functions.items():
        try:
            found = None if name.startswith("__main__:") else load_filter(name)
        except BadInput:
            found = None
        if found is not function:
            raise BadInput(f"filter {name}: other processes can only use a function that they can import")
