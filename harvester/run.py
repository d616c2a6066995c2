"""The steps of a run over a target: resume or freeze a plan, harvest, look for drift, write the manifest.

`harvester.export` and `harvester.sync` call them in order. The two differ in the source of the plan: see
`harvester.plan_sources`.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester import engines
from harvester.engines import local, processes
from harvester.errors import CannotFinishNow, Unsound
from harvester.events import Counters
from harvester.job import RunContext
from harvester.labels.extract import Extractor
from harvester.nothing_left import nothing_left_in
from harvester.output import planfile
from harvester.output.commit import Commit, write_commit
from harvester.output.generations import folder_of, last_generation, read_generations
from harvester.output.listing_file import in_plan_order, mend_listing, order_of, write_listing
from harvester.output.manifest import (
    Base,
    Manifest,
    build_manifest,
    list_files,
    read_manifest,
    with_base,
    with_generations,
    write_manifest,
)
from harvester.output.planfile import PlanHeader
from harvester.output.repair import ResumeState, discard_parts, repair
from harvester.output.target import Target
from harvester.part import Work
from harvester.plan.drift import Comparison, Drift, compared, no_drift
from harvester.plan_sources import FromGeneration, PlanSource, listed_again
from harvester.stopping import while_wanted
from harvester.summary import Summary

Reader = Callable[[bytes | None], Extractor]  # makes the extractor for an ontology (its JSON, if known)

GRACE = 15.0  # seconds that open parts have to finish after a stop was requested
_PACE = 120  # the largest number of (seconds, rows) points that the manifest keeps of a run


class Run:
    """The state of a run. Its target is locked by the caller, and steps must not run concurrently."""

    _plan: PlanHeader
    _ontology: bytes | None  # as it was when the plan was frozen
    _standing: ResumeState
    _drift: Drift | None = None
    _resumed = False
    _harvested = False
    _harvested_before = 0
    _committed_rows = 0

    def __init__(
        self,
        context: RunContext,
        target: Target,
        source: PlanSource,
        reader: Reader,
        base: Base | None = None,
    ) -> None:
        """`target` is the folder of the run; `base` is given if that is a compacted generation."""
        self._context = context
        self._job = context.job
        self._counters = context.observer.counters
        self._on_event = context.observer.on_event
        self._stopping = context.stopping
        self._target = target
        self._source = source
        self._reader = reader
        self._base = base or Base()
        self._began = anyio.current_time()
        self._pace: list[tuple[float, int]] = []
        self._reopened: dict[int, int] = {}  # parts with failed rows -> rows that were harvested before

    # -- plan ---------------------------------------------------------------------------------------

    async def freeze_plan(self) -> None:
        """Freeze the rows of the source as the plan, or resume from the plan and parts in the target.

        Raises:
            TargetRefused: the target belongs to another export.
        """
        ontology = self._job.project.ontology
        found = await self._stopping.waited_for(
            partial(planfile.take_up, self._target, self._job.spec, ontology)
        )
        self._resumed = bool(found.known)
        self._plan = found.header or await self._freeze(found)
        self._ontology = await in_thread(planfile.read_ontology, self._target, self._plan)
        self._standing = await in_thread(self._repaired)
        for part in self._standing.dropped:
            self._on_event("part.repaired", {"part": part})
        facts = {"rows": self._plan.rows, "parts": self._plan.parts, "committed": len(self._standing.commits)}
        self._on_event("export.resumed" if self._resumed else "plan.frozen", facts)
        self._counters.listed = self._plan.rows
        for commit in self._standing.commits.values():
            self._counters.add(commit.counted)
        self._harvested_before = self._counters.harvested

    async def _freeze(self, found: planfile.TakenUp) -> PlanHeader:
        async with self._source.rows() as rows:
            return await self._stopping.waited_for(
                partial(
                    planfile.freeze, self._target, while_wanted(rows), self._job.spec, found.ontology,
                    known=found.known if self._source.is_bound else (),
                )
            )  # fmt: skip

    def _repaired(self) -> ResumeState:
        self._target.sweep()
        resume_state = repair(self._target, self._plan)
        if resume_state.manifest:
            frozen = self._source.frozen(self._plan)
            resume_state.manifest = mend_listing(self._target, resume_state.manifest, frozen)
        return resume_state

    @property
    def complete(self) -> bool:
        """Whether the target has its manifest, so that nothing is left to do."""
        return self._standing.manifest is not None

    async def reopen_failed(self) -> None:
        """Have the failed rows fetched again. The parts that they are in stay, until they are replaced."""
        commits = self._standing.commits
        failed = [part for part, commit in commits.items() if commit.rows["failed"]]
        if failed:
            await in_thread(discard_parts, self._target, ())
            self._standing.manifest = None
        for part in failed:
            commit = commits.pop(part)
            self._counters.add(commit.counted, times=-1)
            self._reopened[part] = commit.rows["harvested"]

    def _forget(self, parts: Iterable[int]) -> None:
        """Take dropped parts out of the state and out of the counters."""
        self._standing.manifest = None
        for part in parts:
            commit = self._standing.commits.pop(part)
            self._harvested_before -= commit.rows["harvested"]
            self._counters.add(commit.counted, times=-1)

    # -- parts --------------------------------------------------------------------------------------

    async def harvest_parts(self) -> None:
        """Harvest the parts of the plan that are not committed yet.

        Raises:
            CannotFinishNow: the run was asked to stop before all were committed.
        """
        if missing := set(range(self._plan.parts)) - self._standing.commits.keys():
            self._harvested = True
            await self._harvest(missing)
        kept, parts = len(self._standing.commits), self._plan.parts
        if kept < parts:
            raise CannotFinishNow(f"{self._stopping.reason}: {kept:,} of {parts:,} parts are kept")

    async def _harvest(self, missing: set[int]) -> None:
        session, job = self._context.session, self._job
        name, folder, token = self._target.opened_as
        work = Work(
            connection=session.connection,
            job=msgspec.structs.replace(
                job, project=msgspec.structs.replace(job.project, ontology=self._ontology)
            ),
            target=name,
            folder=folder,
            token=token,
            plan=self._plan.digest,
            row_bytes=self._source.row_bytes,
            retry_failed=bool(self._reopened),
        )
        run: Callable[..., Any] = partial(processes.run, work)
        if job.limits.engine == "dask":
            run = partial(engines.cluster().run, work, target=self._target)
        elif job.limits.processes == 1:
            source = session.label_rows(job.project, job.selection, job.format)
            equipment = local.Equipment(source, self._target, self._reader(self._ontology))
            run = partial(local.run, work, equipment=equipment)
        try:
            await run(
                parts=local.in_thread_each(planfile.slices(self._target, self._plan, missing)),
                reports=local.Reports(self._counters, self._on_event, self._committed),
                stop=local.StopSignal(self._stopping.event, GRACE),
            )
        except BaseException:
            with anyio.CancelScope(shield=True):  # a killed worker process leaves temporary files
                await in_thread(self._target.sweep)
            raise

    def _committed(self, commit: Commit) -> None:
        self._standing.commits[commit.part] = commit
        self._committed_rows += commit.rows["harvested"] - self._reopened.pop(commit.part, 0)
        self._pace.append((self.seconds, self._committed_rows))
        if len(self._pace) > _PACE:
            del self._pace[:-1:2]  # drop every second point, which bounds the list; keep the last one
        self._on_event("part.committed", {"part": commit.part, **commit.rows})

    # -- generations

    async def mend_generations(self, whole: Target) -> None:
        """Harvest damaged parts of the generations of earlier syncs again. `whole` is the export."""
        mended = False
        count = await in_thread(last_generation, whole)
        last = folder_of(whole, count)
        for number in range(self._base.generation + 1, count + 1):
            folder = await in_thread(folder_of, whole, number)
            observer = self._context.observer._replace(counters=Counters())
            context = self._context._replace(observer=observer)
            run = Run(context, folder, FromGeneration(folder, last), self._reader)
            await run.freeze_plan()
            if not run.complete:
                await run.harvest_parts()
                await run.write_manifest()
                mended = True
        if mended and self._standing.manifest and not self._base.generation:
            generations = await in_thread(read_generations, whole)
            self._standing.manifest = with_generations(self._standing.manifest, generations)
            await in_thread(write_manifest, whole, self._standing.manifest)

    def publish(self, whole: Target) -> Manifest:
        """Return the manifest of the `whole` export. Write it, if this run is of a compacted generation.

        Blocking.
        """
        if not self._base.generation:
            return self.manifest
        manifest = with_generations(self.manifest, read_generations(whole))
        try:
            is_there = read_manifest(whole) == manifest
        except Unsound:
            is_there = False
        if not is_there:
            write_manifest(whole, manifest)
        return manifest

    # -- drift --------------------------------------------------------------------------------------

    async def look_for_drift(self, *, settle: bool) -> bool:
        """List once more, compare with the plan, and return whether parts must be harvested again.

        With `settle`, edited rows are replaced in the plan, at their old positions, by what is listed now,
        and their parts are dropped. Rows added or removed since are only counted and named: a sync, or an
        export into another directory, brings them.

        Raises:
            CannotFinishNow: the run was asked to stop, and the grace period is over or rows need settling.
        """
        frozen = self._source.frozen(self._plan)
        assert frozen is not None
        found, dropped = no_drift(), set[int]()
        # All parts are committed: what is left of the grace period is often enough to finish the export.
        again = listed_again(self._context, order_of(frozen), self._source.digest, grace=GRACE)
        async with again as listed:
            if listed is not None:
                found, dropped = await self._stopping.waited_for(
                    partial(self._compare, frozen, listed, settle), grace=GRACE
                )
        if dropped:
            self._forget(dropped)
        self._drift = found
        if found.edited or found.added or found.removed:
            counts = {"edited": found.edited, "added": found.added, "removed": found.removed}
            self._on_event("rows.drifted", counts)
        return bool(dropped)

    def _compare(self, frozen: PlanHeader, listed: Iterable[bytes], settle: bool) -> tuple[Drift, set[int]]:
        """Return the drift that is left after settling, and the parts dropped to settle rows. Blocking."""
        planned, order = planfile.lines(self._target, frozen), order_of(frozen)
        with compared(while_wanted(planned), while_wanted(listed), order) as comparison:
            found = comparison.drift()
            if not settle or not found.edited:
                return found, set()
            if self._stopping.event.is_set():  # no part is begun any more, so none may be dropped
                raise CannotFinishNow(f"{self._stopping.reason}: rows edited since are left to the next run")
            edited = comparison.edited_parts(self._job.format.rows_per_part)
            self._settle(comparison, edited)
            return msgspec.structs.replace(found, edited=0, named={**found.named, "edited": []}), edited

    def _settle(self, comparison: Comparison, edited: set[int]) -> None:
        """Replace edited rows in the plan by what is listed now, and drop their parts."""
        discard_parts(self._target, edited)
        lines = comparison.settled(planfile.lines(self._target, self._plan))
        self._plan = planfile.replace_rows(self._target, self._plan, lines)
        for part in self._standing.commits.keys() - edited:
            commit = msgspec.structs.replace(self._standing.commits[part], plan=self._plan.digest)
            self._standing.commits[part] = commit
            write_commit(self._target, commit)

    # -- manifest -----------------------------------------------------------------------------------

    async def write_manifest(self) -> None:
        """Write the manifest: from here on the target is complete."""
        facts = {
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "resumed": self._resumed,
            "harvested": self._counters.harvested - self._harvested_before,
            **self._counters.work(),
            "pace": self._pace,
        }
        self._standing.manifest = await in_thread(self._write_manifest, facts)
        self._on_event("export.finished", self._standing.manifest.counts)

    def _write_manifest(self, facts: dict[str, Any]) -> Manifest:
        from importlib.metadata import version  # not before it is needed

        listing, commits = None, self._standing.commits
        if frozen := self._source.frozen(self._plan):
            files = list_files(commits[part] for part in sorted(commits))
            listing = write_listing(self._target, in_plan_order(self._target, frozen), files)
        manifest = build_manifest(
            self._plan,
            commits,
            harvester=version("encord-harvester"),
            sdk=version("encord"),
            drift=self._drift,
            run=facts,
            listing=listing,
        )
        if self._base.generation:
            manifest = with_base(manifest, self._base)
        else:
            manifest = with_generations(manifest, read_generations(self._target))
        write_manifest(self._target, manifest)
        return manifest

    @property
    def seconds(self) -> float:
        """The duration of the run so far, in seconds, rounded to milliseconds."""
        return round(anyio.current_time() - self._began, 3)

    @property
    def manifest(self) -> Manifest:
        """The manifest of a complete target."""
        assert self._standing.manifest is not None
        return self._standing.manifest

    def summary(self) -> Summary:
        """Return the result of the run: its manifest, and the predicates that left nothing. Blocking."""
        manifest = self.manifest
        return Summary(
            target=self._target.name,
            project=self._job.project.title,
            counts=manifest.counts,
            records=msgspec.to_builtins(manifest.records),
            notes=manifest.notes,
            drift=manifest.drift,
            run={name: value for name, value in manifest.run.items() if name != "pace"},
            resumed=self._resumed,
            already_complete=self._resumed and not self._harvested,
            nothing_left=nothing_left_in(self._target, self._plan, manifest, self._standing.commits),
            synced=manifest.last > 0,
        )
