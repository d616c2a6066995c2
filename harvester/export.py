"""The export: plan -> parts -> manifest. Read this first."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.filters.own import OwnFilter
from harvester.job import Job, Observer, RunContext
from harvester.known import check_selection, is_first_run
from harvester.labels.extract import Extractor
from harvester.output.generations import base_of, folder_of, last_generation
from harvester.output.layout import MANIFEST
from harvester.output.mending import check_mended, mend_state
from harvester.output.target import Target
from harvester.plan_sources import FromListing
from harvester.run import Run
from harvester.stopping import held, stopping_when
from harvester.summary import Summary

if TYPE_CHECKING:
    from harvester.encord.session import Session

__all__ = ["Summary", "export"]


async def export(
    session: "Session",
    job: Job,
    target: Target,
    observer: Observer,
    *,
    retry_failed: bool = False,
    settle: bool = False,
    functions: Mapping[str, OwnFilter] | None = None,
) -> Summary:
    """Export what `job` names into `target`, or resume where an earlier run stopped.

    Args:
        retry_failed: fetch the rows that failed again, and no others.
        settle: harvest rows again, once, if they were edited after the plan was frozen.
        functions: by name, filters of the job's selection that cannot be imported from a module.

    Raises:
        BadInput, CredentialsRefused, TargetRefused: see `harvester.errors`.
        CannotFinishNow: the server or the disk fails, or the run was asked to stop. Committed parts are
            kept: the same call resumes.
    """
    job = msgspec.structs.replace(job, format=job.format.for_files())
    # A filter that does not import must raise before anything is listed or created.
    reader = partial(Extractor, job.selection, job.format, functions=functions)
    reader(job.project.ontology)
    async with stopping_when(observer.stopping, job.limits.max_duration) as stopping:
        if await stopping.waited_for(partial(is_first_run, target, job.spec)):
            # Before the target is created: a misspelt name must leave nothing behind.
            check = partial(check_selection, session, job.project, job.selection, observer.on_event)
            await stopping.cut_short(partial(in_thread, check, abandon_on_cancel=True))
        await stopping.waited_for(target.ensure)
        async with held(target, stopping):
            await in_thread(mend_state, target, job.spec)
            context = RunContext(session, job, observer, stopping)
            base = await in_thread(base_of, target)
            run = Run(context, folder_of(target, base.generation), FromListing(context), reader, base)
            await run.freeze_plan()
            if not run.complete:
                await in_thread(target.delete, MANIFEST)
            if (retry_failed or settle) and await in_thread(last_generation, target) > 0:
                raise BadInput(f"{one_line(target.name)} has been synced: sync it again instead")
            await run.mend_generations(target)
            if retry_failed:
                await run.reopen_failed()
            if run.complete and not settle:
                await in_thread(check_mended, target, await in_thread(run.publish, target))
                return await in_thread(run.summary)
            await run.harvest_parts()
            if await run.look_for_drift(settle=settle):
                await run.harvest_parts()
            await run.write_manifest()
            await in_thread(check_mended, target, await in_thread(run.publish, target))
            return await in_thread(run.summary)
