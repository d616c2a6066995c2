"""The sync: list again -> compare with the last listing -> harvest what has changed -> a new generation."""

import shlex
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.filters.naming import is_digest
from harvester.filters.own import OwnFilter
from harvester.job import Job, Observer, OnEvent, RunContext
from harvester.labels.extract import Extractor
from harvester.live import finished_manifest
from harvester.outdated import mend_ontologies
from harvester.output import planfile
from harvester.output.export_spec import ExportSpec, Project, check_spec
from harvester.output.generations import (
    Changed,
    base_folder,
    describe,
    drop_former,
    drop_generation,
    drop_listing,
    last_listing,
    read_changed,
)
from harvester.output.layout import MANIFEST
from harvester.output.listing_file import mend_listings
from harvester.output.manifest import Generation, Manifest, read_manifest, with_generations, write_manifest
from harvester.output.mending import check_mended, mend_state, spec_in
from harvester.output.target import Target
from harvester.plan.changes import OntologyChange, SyncOptions
from harvester.plan.drift import Drift
from harvester.plan_sources import FromChanges
from harvester.run import Run
from harvester.stopping import held, stopping_when

if TYPE_CHECKING:
    from harvester.encord.session import Session


class SyncSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a sync.

    `generation` is the number of the last generation, `changes` counts its changes by kind. If nothing
    had changed, `is_unchanged` is set and no generation was added. `counts` are the rows of the whole export
    as it is now; `records`, `notes`, `drift` and `run` are of this sync alone. `ontology` says how the
    ontology differs from the one that the live records were made with; None if it does not. `kept_names` says
    that some records still have names from an earlier ontology.
    """

    target: str
    project: str
    generation: int
    changes: dict[str, int]
    counts: dict[str, int]
    records: dict[str, Any] = {}
    notes: dict[str, int] = {}
    drift: Drift | None = None
    run: dict[str, Any]
    resumed: bool = False
    is_unchanged: bool = False
    ontology: OntologyChange | None = None
    kept_names: bool = False

    @property
    def exit_code(self) -> int:
        """3 if rows of the export failed, else 0."""
        return 3 if self.counts["failed"] else 0


async def sync(
    session: "Session",
    job: Job,
    target: Target,
    observer: Observer,
    *,
    functions: Mapping[str, OwnFilter] | None = None,
    options: SyncOptions = SyncOptions(),
) -> SyncSummary:
    """Bring a finished export up to date, or resume where an earlier sync stopped.

    Args:
        job: project, selection and format are the export's own: see `spec_of`.
        functions: by name, filters of the selection that cannot be imported from a module.
        options: what to do besides the usual. A sync that resumes an earlier one ignores these, and keeps the
            options that the earlier one began with.

    Raises:
        BadInput: there is no export, or it is not finished; or a label row to fetch again is not in it.
        Unsound: the export is damaged, so that changes since cannot be determined.
        TargetRefused: it is the export of another job.
        CannotFinishNow, and others: as `harvester.export.export` does; the same call resumes.
    """
    reader = partial(Extractor, job.selection, job.format, functions=functions)
    async with (
        stopping_when(observer.stopping, job.limits.max_duration) as stopping,
        held(target, stopping),
    ):
        before = await in_thread(_finished, target, job)
        context = RunContext(session, job, observer, stopping)
        source = FromChanges(context, target, before, options)
        run = Run(context, source.folder, source, reader)
        await source.freeze_listing()
        await run.freeze_plan()
        changed = await in_thread(read_changed, source.folder)
        assert changed is not None
        _tell(changed, options, observer.on_event)
        ended = partial(
            SyncSummary,
            target=target.name,
            project=job.project.title,
            changes=changed.changes,
            kept_names=changed.kept_names,
        )
        if changed.ontology is None and not changed.relisted:
            await in_thread(drop_generation, source.folder)
            counts = (before.generation(before.last) or before).counts
            took = {"seconds": run.seconds, **observer.counters.work()}
            return ended(generation=before.last, counts=counts, run=took, is_unchanged=True)
        observer.on_event("changes.frozen", {"generation": source.number, **changed.changes})
        await run.harvest_parts()
        await run.look_for_drift(settle=False)
        await run.write_manifest()
        generation = describe(changed, run.manifest)
        await in_thread(_publish, target, before, generation)
        done = await in_thread(run.summary)
        own = {name: getattr(done, name) for name in ("records", "notes", "drift", "run", "resumed")}
        return ended(generation=generation.number, counts=generation.counts, ontology=changed.ontology, **own)


def spec_of(target: Target, filters: Collection[str]) -> ExportSpec:
    """Return the project, selection and format of the export in `target`. Blocking.

    Filters are code, and whoever made the export chose them. They run only if the user has named the same
    ones for this sync, in `filters`.

    Raises:
        BadInput: there is no export, or it was made with other filters.
        Unsound: its plan is lost.
    """
    header = planfile.read_header(base_folder(target))
    if header is None and target.read(MANIFEST) is not None:
        raise _plan_lost(target)
    if header is None:
        raise BadInput(f"{one_line(target.name)} holds no export that could be synced")
    _check_filters(target.name, header.selection.filters, filters)
    return header.spec


def project_of(target: Target) -> Project:
    """Return the project of the finished export in `target`. Blocking.

    Raises:
        BadInput: there is no finished export.
        Unsound: its manifest is damaged.
    """
    return finished_manifest(target).project


def _plan_lost(target: Target) -> Unsound:
    return Unsound(f"{one_line(target.name)}: its plan is lost or damaged: run its export again")


def _check_filters(target: str, held: Collection[str], given: Collection[str]) -> None:
    for path in given:
        if path not in held:
            raise BadInput(one_line(f"{target} was not made with --filter {path}: leave it out"))
    missing = [path for path in dict.fromkeys(held) if path not in given]
    if own := [name for name in missing if is_digest(name)]:
        raise BadInput(
            one_line(
                f"{target} was made by a program with a function of its own ({', '.join(own)}): "
                "run that program again, with filters="
            )
        )
    if missing:
        flags = shlex.join(word for path in dict.fromkeys(held) for word in ("--filter", path))
        raise BadInput(
            one_line(
                f"{target} was made with {flags}, which is code: give it again to run it: "
                f"harvester sync {shlex.quote(target)} {flags} (in Python: filters=)"
            )
        )


def _finished(target: Target, job: Job) -> Manifest:
    """Return the manifest of the export in `target`, after clearing leftovers of earlier runs. Blocking."""
    check_spec(target.name, spec_of(target, job.selection.filters), job.spec)
    try:
        manifest = read_manifest(target)
    except Unsound as error:
        raise Unsound(f"{one_line(target.name)}: its manifest {error.message}; export it again") from error
    if manifest is None:
        raise BadInput(f"{one_line(target.name)} is not finished: finish it first, with harvester export")
    manifest = made_ready(target, manifest)
    mend_ontologies(target, manifest, job.project.ontology)
    return manifest


def made_ready(target: Target, manifest: Manifest) -> Manifest:
    """Clear leftovers of earlier runs, and mend what files of the export can mend. Return its manifest.

    Blocking. Only under the lock.

    Raises:
        Unsound: it is damaged, so that changes since cannot be determined.
    """
    target.sweep()
    drop_former(target, manifest.base)
    mend_state(target, spec_in(manifest))
    check_mended(target, manifest)
    folder, frozen = last_listing(target)
    if frozen is None or not (manifest.generations or planfile.intact(folder, frozen)):
        raise _plan_lost(target)
    if len(manifest.generations) > 1:  # a run may have been killed before it did so itself
        drop_listing(target, manifest.last - 1)
    return mend_listings(target, manifest)


def _tell(changed: Changed, options: SyncOptions, on_event: OnEvent) -> None:
    """Report ignored options and changes of the ontology, before anything is fetched."""
    if changed.options != options:
        began = {"going_on_with": str(changed.options), "passed_over": str(options)}
        on_event("sync.options_passed_over", began)
    if (ontology := changed.ontology) is not None:
        told: dict[str, object] = {
            "nodes": [str(node) for node in ontology.nodes],
            "rows": "all" if ontology.rows is None else ontology.rows,
        }
        told |= {"more_nodes": ontology.more} if ontology.more else {}
        told |= {"why": ontology.why} if ontology.why else {}
        told |= {"kept": True} if ontology.kept else {}
        on_event("ontology.changed", told)


def _publish(target: Target, before: Manifest, generation: Generation) -> None:
    """Add the generation to the manifest of the export: from here on it counts. Blocking."""
    write_manifest(target, with_generations(before, [*before.generations, generation]))
    if before.generations:
        drop_listing(target, generation.number - 1)
