"""One run of an export, step by step: `harvester.export` says in which order."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.from_thread
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester import engines
from harvester.encord.project import ProjectInfo
from harvester.engines import local, processes
from harvester.errors import CannotFinishNow
from harvester.events import Counters
from harvester.labels.extract import Extractor
from harvester.output import planfile
from harvester.output.commit import Commit, write_commit
from harvester.output.generations import folder_of, generation_count, read_generations
from harvester.output.layout import LISTED
from harvester.output.listing_file import InOrder, in_plan_order, mend_listing, write_listing
from harvester.output.manifest import (
    ListingFile,
    build_manifest,
    list_files,
    with_generations,
    write_manifest,
)
from harvester.output.planfile import PlanHeader
from harvester.output.purpose import Project, Purpose
from harvester.output.repair import Standing, reopen, repair
from harvester.output.target import Target
from harvester.part import Work
from harvester.plan.drift import Comparison, Drift, compared, no_drift
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import plan_order
from harvester.plan.planned import plan_lines
from harvester.settings import Format, Limits, Selection
from harvester.stopping import Stopping
from harvester.summary import Summary

if TYPE_CHECKING:
    from harvester.encord.sdk import Listing
    from harvester.encord.session import Session

T = TypeVar("T")
Reader = Callable[[bytes | None], Extractor]  # what reads label rows, by an ontology

GRACE = 15.0  # seconds that open parts have to end, once the run is asked to stop
_PACE = 120  # points of a run's pace that are kept, at most


class Run:
    """The state of a run. Its target is locked, and no step runs beside another."""

    _plan: PlanHeader
    _planned_from: str | None = None  # digest of the listing that was frozen, where that is known
    _ontology: bytes | None  # as it was when the plan was frozen
    _standing: Standing
    _drift: Drift | None = None
    _row_bytes: float | None = None
    _resumed = False
    _harvested = False
    _harvested_before = 0
    _committed_rows = 0

    def __init__(
        self,
        session: "Session",
        project: ProjectInfo,
        selection: Selection,
        format: Format,
        limits: Limits,
        target: Target,
        reader: Reader,
        counters: Counters,
        on_event: Callable[[str, Mapping[str, Any]], None],
        stopping: Stopping,
    ) -> None:
        self._session = session
        self._project = project
        self._selection = selection
        self._format = format
        self._limits = limits
        self._target = target
        self._reader = reader
        self._counters = counters
        self._on_event = on_event
        self._stopping = stopping
        self._decide = ListingFilter(selection)  # of the first listing
        self._began = anyio.current_time()
        self._pace: list[tuple[float, int]] = []

    # -- plan ---------------------------------------------------------------------------------------

    async def freeze_plan(self) -> None:
        """Lists the project's rows and freezes them, or takes up the plan and the parts that are there.

        Raises:
            TargetRefused: the target belongs to another export.
        """
        project = Project(self._project.project_hash, self._project.title)
        purpose = Purpose(project=project, selection=self._selection, format=self._format)
        self._plan, self._resumed = await self._ask(
            lambda: planfile.ensure_plan(self._target, purpose, self._lines_to_freeze, self._project.ontology)
        )
        self._decide.report(self._on_event)
        self._ontology = await in_thread(planfile.read_ontology, self._target, self._plan)
        await in_thread(self._target.sweep)
        self._standing = await in_thread(repair, self._target, self._plan)
        for part in self._standing.dropped:
            self._on_event("part.repaired", {"part": part})
        if manifest := self._standing.manifest:
            self._standing.manifest = await in_thread(
                mend_listing, self._target, manifest, self._listed_last(), self._in_plan_order
            )
        facts = {"rows": self._plan.rows, "parts": self._plan.parts, "committed": len(self._standing.commits)}
        self._on_event("export.resumed" if self._resumed else "plan.frozen", facts)
        self._counters.listed = self._plan.rows
        for commit in self._standing.commits.values():
            self._count(commit)
        self._harvested_before = self._counters.harvested

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self._standing.manifest is not None

    async def reopen_failed(self) -> None:
        """Drops the parts that hold failed rows, so that they are harvested again."""
        await self._drop({part for part, commit in self._standing.commits.items() if commit.rows["failed"]})

    # -- parts --------------------------------------------------------------------------------------

    async def harvest_parts(self) -> None:
        """Harvests the parts of the plan that are not there yet.

        Raises:
            CannotFinishNow: the run was asked to stop before all were there.
        """
        missing = set(range(self._plan.parts)) - self._standing.commits.keys()
        if missing:
            self._harvested = True
            await self._harvest(missing)
        kept, parts = len(self._standing.commits), self._plan.parts
        if kept < parts:
            raise CannotFinishNow(f"{self._stopping.reason}: {kept:,} of {parts:,} parts are kept")

    async def _harvest(self, missing: set[int]) -> None:
        project = msgspec.structs.replace(self._project, ontology=self._ontology)
        name, folder = self._target.opened_as
        work = Work(
            connection=self._session.connection,
            project=project,
            selection=self._selection,
            format=self._format,
            limits=self._limits,
            target=name,
            folder=folder,
            plan=self._plan.digest,
            row_bytes=self._row_bytes,
        )
        run: Callable[..., Any] = partial(processes.run, work)
        if self._limits.engine == "dask":
            run = partial(engines.cluster().run, work, target=self._target)
        elif self._limits.processes == 1:
            run = partial(
                local.run,
                work,
                source=self._session.label_rows(project, self._selection, self._format),
                target=self._target,
                extractor=self._reader(self._ontology),
            )
        try:
            await run(
                parts=local.in_thread_each(planfile.slices(self._target, self._plan, missing)),
                reports=local.Reports(self._counters, self._on_event, self._committed),
                stop=local.StopSignal(self._stopping.event, GRACE),
            )
        except BaseException:
            with anyio.CancelScope(shield=True):  # a process that had to be killed leaves its drafts
                await in_thread(self._target.sweep)
            raise

    def _committed(self, commit: Commit) -> None:
        self._standing.commits[commit.part] = commit
        self._committed_rows += commit.rows["harvested"]
        self._pace.append((round(anyio.current_time() - self._began, 3), self._committed_rows))
        if len(self._pace) > _PACE:
            del self._pace[:-1:2]  # half as fine, however many parts there are; the last one stays
        self._on_event("part.committed", {"part": commit.part, **commit.rows})

    # -- generations

    @property
    def synced(self) -> bool:
        """Whether syncs have brought the export up to date since it ended."""
        return generation_count(self._target) > 0

    async def mend_generations(self) -> None:
        """Harvests again what is damaged in what syncs have brought."""
        mended = False
        for number in range(1, await in_thread(generation_count, self._target) + 1):
            folder = await in_thread(folder_of, self._target, number)
            run = GenerationRun(
                self._session, self._project, self._selection, self._format, self._limits, folder,
                self._reader, Counters(), self._on_event, self._stopping,
            )  # fmt: skip
            await run.freeze_plan()
            if not run.complete:
                await run.harvest_parts()
                await run.write_manifest()
                mended = True
        if mended and self._standing.manifest:
            generations = await in_thread(read_generations, self._target)
            self._standing.manifest = with_generations(self._standing.manifest, generations)
            await in_thread(write_manifest, self._target, self._standing.manifest)

    # -- drift --------------------------------------------------------------------------------------

    async def look_for_drift(self, *, settle: bool) -> bool:
        """Lists once more and compares with the plan. Whether parts must be harvested again.

        That is so where `settle` asks for it and rows were edited: then they stand in the plan as they
        are listed now, in their old places, and their parts are dropped. Rows added or removed since are
        counted and named, and left to the next export.

        Raises:
            CannotFinishNow: the run was asked to stop: before the end of the grace, or with rows to settle.
        """
        comparing = self._comparing()
        # With all parts there, what is left of the grace is often enough to end the export.
        found: Drift
        found, comparison = await self._ask(comparing.__enter__, grace=GRACE)
        try:
            settled = settle and found.edited > 0
            if settled and self._stopping.event.is_set():  # nobody would harvest the parts that it drops
                raise CannotFinishNow(f"{self._stopping.reason}: rows edited since are left to the next run")
            if settled:
                found = await in_thread(self._settle, comparison, found)  # it writes: not left behind
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(comparing.__exit__, None, None, None)
        self._drift = found
        if found.edited or found.added or found.removed:
            counts = {"edited": found.edited, "added": found.added, "removed": found.removed}
            self._on_event("rows.drifted", counts)
        return settled

    @contextmanager
    def _comparing(self) -> Iterator[tuple[Drift, Comparison | None]]:
        """What has drifted, and the comparison that says so, where one had to be made. Blocking.

        Writes nothing, and ends early in a thread that was left behind.
        """
        with self._listing_now() as listing:
            if self._planned_from is not None and self._planned_from == listing.digest():
                yield no_drift(), None
                return
            planned = self._while_wanted(self._frozen_lines())
            listed = plan_lines(listing, self._selection, self._format, order=self._frozen_order)
            with compared(planned, self._while_wanted(listed), self._frozen_order) as comparison:
                drift = comparison.drift()
                anyio.from_thread.check_cancelled()  # nobody would close it
                yield drift, comparison

    _frozen_order = staticmethod(plan_order)

    def _frozen_lines(self) -> Iterator[bytes]:
        """What drift is measured against, in that order."""
        return planfile.lines(self._target, self._plan)

    def _settle(self, comparison: Comparison, found: Drift) -> Drift:
        """Has the edited rows harvested again. What has drifted is what is left then."""
        edited = comparison.edited_parts(self._format.rows_per_part)
        reopen(self._target, edited)
        lines = comparison.settled(planfile.lines(self._target, self._plan))
        self._plan, self._planned_from = planfile.replace_rows(self._target, self._plan, lines), None
        for part, commit in list(self._standing.commits.items()):
            if part in edited:
                self._count(self._standing.commits.pop(part), times=-1)
            else:
                self._standing.commits[part] = msgspec.structs.replace(commit, plan=self._plan.digest)
                write_commit(self._target, self._standing.commits[part])
        self._standing.manifest = None
        return msgspec.structs.replace(found, edited=0, named={**found.named, "edited": []})

    # -- manifest -----------------------------------------------------------------------------------

    async def write_manifest(self) -> None:
        """Ends the export."""
        run = {
            "seconds": round(anyio.current_time() - self._began, 3),
            "resumed": self._resumed,
            "harvested": self._counters.harvested - self._harvested_before,
            **self._counters.work(),
            "pace": self._pace,
        }
        from importlib.metadata import version  # not before it is needed

        self._standing.manifest = build_manifest(
            self._plan,
            self._standing.commits,
            harvester=version("harvester"),
            sdk=version("encord"),
            drift=self._drift,
            run=run,
            listing=await in_thread(self._write_listing),
            generations=await in_thread(read_generations, self._target),
        )
        await in_thread(write_manifest, self._target, self._standing.manifest)
        self._on_event("export.finished", self._standing.manifest.counts)

    def _write_listing(self) -> ListingFile | None:
        frozen, commits = self._listed_last(), self._standing.commits
        if frozen is None:
            return None
        files = list_files(commits[part] for part in sorted(commits))
        return write_listing(self._target, self._in_plan_order(self._target, frozen), files)

    def _listed_last(self) -> PlanHeader | None:
        """What the listing is of; None where that is gone."""
        return self._plan

    _in_plan_order: InOrder = staticmethod(planfile.lines)

    def summary(self) -> Summary:
        """What the manifest says."""
        manifest = self._standing.manifest
        assert manifest is not None
        return Summary(
            target=self._target.name,
            project=self._project.title,
            counts=manifest.counts,
            records=msgspec.to_builtins(manifest.records),
            notes=manifest.notes,
            drift=manifest.drift,
            run={name: value for name, value in manifest.run.items() if name != "pace"},
            resumed=self._resumed,
            already_complete=self._resumed and not self._harvested,
            synced=bool(manifest.generations),
        )

    async def _ask(self, call: Callable[[], Any], *, grace: float = 0.0) -> Any:
        """A call that lists: in a thread, which is left behind if the run is to stop."""
        return await self._stopping.cut_short(partial(in_thread, call, abandon_on_cancel=True), grace=grace)

    def _listing_now(self) -> AbstractContextManager["Listing"]:
        return self._session.listing(self._project, self._selection, self._format)

    def _lines_to_freeze(self) -> Iterator[bytes]:
        """The rows of the plan."""
        return self._list_rows()

    def _list_rows(self) -> Iterator[bytes]:
        """What is listed now, in the order in which it is frozen. For the first listing of a run."""
        with self._listing_now() as listing:
            lines = plan_lines(
                listing, self._selection, self._format,
                order=self._frozen_order, decide=self._decide, on_listed=self._listed,
            )  # fmt: skip
            yield from self._while_wanted(lines)
            self._planned_from = listing.digest()

    def _while_wanted(self, items: Iterable[T]) -> Iterator[T]:
        items = iter(items)
        while some := list(islice(items, 1000)):
            anyio.from_thread.check_cancelled()  # a thread that was left behind must not go on writing
            yield from some
        anyio.from_thread.check_cancelled()  # nor seal what it has written

    def _listed(self, count: int) -> None:
        anyio.from_thread.check_cancelled()
        self._counters.listed = count

    async def _drop(self, parts: set[int]) -> None:
        if not parts:
            return
        await in_thread(reopen, self._target, parts)
        self._standing.manifest = None
        for part in parts:
            self._count(self._standing.commits.pop(part), times=-1)

    def _count(self, commit: Commit, *, times: int = 1) -> None:
        """Has the counters know of a part that is there already; or no longer, with `times` = -1."""
        self._harvested_before += min(0, times) * commit.rows["harvested"]
        self._counters.add(commit.counted, times=times)


class GenerationRun(Run):
    """A run whose target is a generation's folder."""

    def _listed_last(self) -> PlanHeader | None:
        return planfile.read_header(self._target, LISTED)

    _in_plan_order = staticmethod(in_plan_order)
