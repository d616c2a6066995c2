"""The export: plan -> parts -> manifest. Read this first."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput
from harvester.events import Counters, one_line, say
from harvester.filters.own import OwnFilter
from harvester.known import check_selection
from harvester.labels.extract import Extractor
from harvester.output.planfile import is_free_for, read_header, recorded_digests
from harvester.output.purpose import Purpose
from harvester.output.target import Target, open_target
from harvester.run import Run
from harvester.settings import Format, Limits, Selection
from harvester.stopping import held, stopping_when
from harvester.summary import Summary

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session

__all__ = ["Summary", "export"]


async def export(
    session: "Session",
    project: "ProjectInfo",
    selection: Selection,
    format: Format,
    limits: Limits,
    target: Path | str,
    *,
    counters: Counters,
    on_event: Callable[[str, Mapping[str, Any]], None] = say,
    stopping: anyio.Event | None = None,
    retry_failed: bool = False,
    settle: bool = False,
    functions: Mapping[str, OwnFilter] | None = None,
) -> Summary:
    """Exports a project's labels into `target`, or goes on where an earlier run stopped.

    Args:
        counters: how far it is, for a progress bar.
        stopping: once set, no part is begun; those under way have `harvester.run.GRACE` seconds to end.
        retry_failed: harvest the parts that hold failed rows again.
        settle: harvest the rows edited since the plan was frozen again, once.
        functions: the filters that `selection` names but that no module holds.

    Raises:
        BadInput, CredentialsRefused, TargetRefused: see `harvester.errors`.
        CannotFinishNow: the server or the disk is in trouble, or the run was asked to stop. What is
            committed is kept: the same call goes on.
    """
    format = format.for_files()
    # First of all: a filter that does not import is told before anything is listed or made.
    reader = partial(Extractor, selection, format, functions=functions)
    reader(project.ontology)
    store = open_target(target)
    purpose = Purpose.of(project.project_hash, project.title, selection, format)
    async with stopping_when(stopping, limits.max_duration) as ending:
        if await in_thread(_is_new, store, purpose):
            # Before anything is made: what is misspelt leaves nothing behind.
            check = partial(check_selection, session, project, selection, on_event)
            await ending.cut_short(partial(in_thread, check, abandon_on_cancel=True))
        await in_thread(store.ensure)
        async with held(store.lock(), ending):
            run = Run(session, project, selection, format, limits, store, reader, counters, on_event, ending)
            await run.freeze_plan()
            if (retry_failed or settle) and run.synced:
                raise BadInput(f"{one_line(store.name)} has been synced: sync it again instead")
            await run.mend_generations()
            if retry_failed:
                await run.reopen_failed()
            if run.complete and not settle:
                return await in_thread(run.summary)
            await run.harvest_parts()
            if await run.look_for_drift(settle=settle):
                await run.harvest_parts()
            await run.write_manifest()
            return await in_thread(run.summary)


def _is_new(store: Target, purpose: Purpose) -> bool:
    """Whether nothing is there to go on with. Makes nothing."""
    if not store.is_there():
        return True
    store.ensure()
    header = read_header(store)
    return is_free_for(store, header, purpose) if header else not recorded_digests(store)
