"""The Python API of compaction, see `harvester.compaction`."""

from functools import partial
from pathlib import Path

import anyio

from harvester.api import run_blocking
from harvester.compaction import CompactSummary, compact_target
from harvester.events import Counters, say
from harvester.job import Observer, OnEvent
from harvester.output.target import open_target
from harvester.stopping import in_own_task


def compact(
    target: Path | str,
    *,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> CompactSummary:
    """Merge the export in `target` and its syncs into one base.

    This is `compact_async` for code that is not async; see `export` for where it may be called and how it is
    interrupted.
    """
    return run_blocking(partial(compact_async, target, counters=counters, on_event=on_event), stopping)


async def compact_async(
    target: Path | str,
    *,
    stopping: anyio.Event | None = None,
    counters: Counters | None = None,
    on_event: OnEvent = say,
) -> CompactSummary:
    """Merge the finished export in `target` and its syncs into one base. Asks no server.

    Its record files are then those that a new export of the same listing and ontology would have.

    Args:
        stopping, counters, on_event: as of `export_async`.

    Raises:
        BadInput: there is no finished export, a sync of it is not finished, or its records have signed URLs.
        Unsound: it is damaged.
        CannotFinishNow: the disk is in trouble, or the run was asked to stop. The same call begins anew.
    """
    observer = Observer(counters or Counters(), on_event, stopping)
    return await in_own_task(partial(compact_target, open_target(target), observer))
