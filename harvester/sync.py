"""The sync, which keeps an export fresh: list again -> what has changed -> harvest that -> a generation."""

import shlex
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.asked_again import AskedAgain, asked_again
from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, Unsound
from harvester.events import Counters, one_line, say
from harvester.filters.naming import is_digest
from harvester.filters.own import OwnFilter
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.ontology_reach import Reach
from harvester.output import planfile
from harvester.output.generations import (
    Changed,
    FeedWriter,
    describe,
    drop_generation,
    drop_listing,
    feed_is_there,
    folder_of,
    read_changed,
    read_listing,
    write_changed,
)
from harvester.output.layout import LISTED, LISTED_ROWS, PLAN
from harvester.output.listing_file import mend_listings
from harvester.output.manifest import Manifest, read_manifest, with_generations, write_manifest
from harvester.output.planfile import PlanHeader
from harvester.output.purpose import Project, Purpose
from harvester.output.target import Target, open_target
from harvester.plan.changes import OntologyChange, Step, SyncOptions, changes_between
from harvester.plan.drift import Drift
from harvester.plan.order import label_order, plan_order, rows_of, sorted_lines
from harvester.plan.sorting import sorter
from harvester.run import GenerationRun, Reader
from harvester.settings import Limits
from harvester.stopping import Stopping, held, stopping_when

if TYPE_CHECKING:
    from harvester.encord.session import Session


class SyncSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync came to.

    `generation` is the last one, `changes` what it changed; where nothing had changed, `is_unchanged`,
    none was added. `counts` are the rows of the whole export as it is now; `records`, `notes`, `drift`
    and `run` are of this sync alone. `ontology` is how the ontology has changed for the records that the
    export held, None where it has not; `kept_names` says that records stay that an earlier one was used for.
    """

    target: str
    project: str
    generation: int
    changes: dict[str, int]
    counts: dict[str, int]
    records: dict[str, Any]
    notes: dict[str, int]
    drift: Drift | None
    run: dict[str, Any]
    resumed: bool = False
    is_unchanged: bool = False
    ontology: OntologyChange | None = None
    kept_names: bool = False

    @property
    def exit_code(self) -> int:
        """3 where rows of the export failed, else 0."""
        return 3 if self.counts["failed"] else 0


async def sync(
    session: "Session",
    project: ProjectInfo,
    target: Path | str,
    limits: Limits,
    *,
    counters: Counters,
    on_event: Callable[[str, Mapping[str, Any]], None] = say,
    stopping: anyio.Event | None = None,
    filters: Collection[str] = (),
    functions: Mapping[str, OwnFilter] | None = None,
    options: SyncOptions = SyncOptions(),
) -> SyncSummary:
    """Brings a finished export up to date, or goes on where an earlier sync stopped.

    The export's own project (see `purpose_of`), selection and format hold. `filters` are the names of the
    user's filters that may run, `functions` those of them that no module holds. `options` hold until the sync
    has ended: one that goes on with an earlier sync goes on with what that was asked to do. The other
    arguments are those of `harvester.export.export`.

    Raises:
        BadInput: there is no export, it is not finished, or it has other filters; or a label row to fetch
            again is not in it.
        Unsound: it is damaged, so that what has changed since cannot be told.
        CannotFinishNow, and others: as `harvester.export.export` does; the same call goes on.
    """
    store = open_target(target)
    purpose = await in_thread(purpose_of, store, filters)
    reader = partial(Extractor, purpose.selection, purpose.format, functions=functions)
    async with stopping_when(stopping, limits.max_duration) as ending, held(store.lock(), ending):
        manifest = await in_thread(_finished, store)
        run = _SyncRun(
            session, project, purpose, limits, store, manifest, options, reader, counters, on_event, ending
        )
        if not await run.freeze_changes():
            return run.unchanged()
        await run.harvest_parts()
        await run.look_for_drift(settle=False)
        await run.write_manifest()
        return await run.publish()


def purpose_of(target: Target, filters: Collection[str]) -> Purpose:
    """What the export in `target` is of. Blocking.

    Its filters are code, and the author of an export may have named any: they run only if `filters`, those
    that the user has named for this sync, are the same.

    Raises:
        BadInput: there is no export, or it was made with other filters.
    """
    header = planfile.read_header(target)
    if header is None:
        raise BadInput(f"{one_line(target.name)} holds no export that could be synced")
    _check_filters(target.name, header.selection.filters, filters)
    return header.purpose


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


def _finished(target: Target) -> Manifest:
    try:
        manifest = read_manifest(target)
    except Unsound as error:
        raise Unsound(f"{one_line(target.name)}: its manifest {error.message}; export it again") from error
    if manifest is None:
        raise BadInput(f"{one_line(target.name)} is not finished: finish it first, with harvester export")
    return manifest


class _NotListed(BadInput):
    """A label row that is to be fetched again is not there."""


def _told(ontology: OntologyChange) -> dict[str, object]:
    """Return the fields of the event about a changed ontology, which is sent before anything is fetched."""
    rows = "all" if ontology.rows is None else ontology.rows
    told: dict[str, object] = {"nodes": [str(node) for node in ontology.nodes], "rows": rows}
    if ontology.more:
        told["more_nodes"] = ontology.more
    if ontology.why:
        told["why"] = ontology.why
    if ontology.kept:
        told["kept"] = True
    return told


class _SyncRun(GenerationRun):
    """A run whose target is the next generation's folder, and whose plan is the rows that changed."""

    _listing: PlanHeader
    _changed: Changed

    def __init__(
        self,
        session: "Session",
        project: ProjectInfo,
        purpose: Purpose,
        limits: Limits,
        whole: Target,
        manifest: Manifest,
        options: SyncOptions,
        reader: Reader,
        counters: Counters,
        on_event: Callable[[str, Mapping[str, Any]], None],
        stopping: Stopping,
    ) -> None:
        self._whole = whole
        self._before = manifest
        self._options = options
        self._number = len(manifest.generations) + 1
        self._purpose = Purpose(
            project=Project(project.project_hash, project.title),
            selection=purpose.selection,
            format=purpose.format,
        )
        folder = folder_of(whole, self._number)
        if manifest.run.get("harvested"):
            self._row_bytes = manifest.run["body_bytes"] / manifest.run["harvested"]
        super().__init__(
            session, project, purpose.selection, purpose.format, limits, folder, reader, counters, on_event,
            stopping,
        )  # fmt: skip

    async def freeze_changes(self) -> bool:
        """Lists again, compares, and freezes what has changed; or takes up what is there.

        Whether anything is listed otherwise than before. Where not, nothing is left of it.
        """
        given = self._options
        await self._ask(self._freeze_listing)
        try:
            await self.freeze_plan()
        except _NotListed:
            await in_thread(drop_generation, self._target)
            raise
        changed = await in_thread(read_changed, self._target)
        assert changed is not None
        self._changed = changed
        if changed.options != given:
            began = {"going_on_with": str(changed.options), "passed_over": str(given)}
            self._on_event("sync.options_passed_over", began)
        if (ontology := changed.ontology) is not None:
            self._on_event("ontology.changed", _told(ontology))
        elif not changed.relisted:
            await in_thread(drop_generation, self._target)
            return False
        self._on_event("changes.frozen", {"generation": self._number, **changed.changes})
        return True

    async def publish(self) -> SyncSummary:
        """Has the export's manifest name the generation: from here on it counts."""
        assert self._standing.manifest is not None
        generation = describe(self._changed, self._standing.manifest)
        whole = with_generations(self._before, [*self._before.generations, generation])
        await in_thread(write_manifest, self._whole, whole)
        if self._number > 1:
            await in_thread(drop_listing, self._whole, self._number - 1)
        own = self.summary()
        return SyncSummary(
            target=self._whole.name,
            project=own.project,
            generation=self._number,
            changes=generation.changes,
            counts=generation.counts,
            records=own.records,
            notes=own.notes,
            drift=own.drift,
            run=own.run,
            resumed=own.resumed,
            ontology=self._changed.ontology,
            kept_names=self._changed.kept_names,
        )

    def unchanged(self) -> SyncSummary:
        """The export is as it should be."""
        return SyncSummary(
            target=self._whole.name,
            project=self._project.title,
            generation=self._number - 1,
            changes=self._changed.changes,
            counts=self._counts_before(),
            records={},
            notes={},
            drift=None,
            run={"seconds": round(anyio.current_time() - self._began, 3), **self._counters.work()},
            is_unchanged=True,
            kept_names=self._changed.kept_names,
        )

    def _counts_before(self) -> dict[str, int]:
        return self._before.generations[-1].counts if self._before.generations else self._before.counts

    # -- blocking -----------------------------------------------------------------------------------

    def _freeze_listing(self) -> None:
        self._whole.sweep()
        self._before = mend_listings(self._whole, self._before)
        if self._number > 2:  # a run may have been killed before it did so itself
            drop_listing(self._whole, self._number - 2)
        listing = read_listing(self._target)
        if listing is None:
            drop_generation(self._target)
            listing = planfile.freeze(
                self._target,
                self._list_rows(),
                self._purpose,
                rows_file=LISTED_ROWS,
                header_file=LISTED,
            )
        self._listing = listing
        changed = read_changed(self._target)
        if changed is None or not feed_is_there(self._target, changed):
            self._target.delete(PLAN)  # so that all of it is made anew
        elif planfile.read_header(self._target):
            self._options = changed.options  # what has begun goes on as it began

    def _lines_to_freeze(self) -> Iterator[bytes]:
        """Writes the change feed, and gives the rows to ask for in the order of a plan."""
        encode = msgspec.json.encode
        feed, relisted = FeedWriter(self._target, self._format.compress), False
        with sorter() as wanted, self._asked_again() as again:
            try:
                with closing(self._steps(again)) as steps:
                    for step in steps:
                        relisted = True
                        feed.write(step.changes)
                        if step.wanted:
                            wanted.add(plan_order(step.wanted), encode(step.wanted))
                if again.not_met:
                    raise _NotListed(
                        one_line(f"no label row {again.not_met[0]} is listed that the export could hold")
                    )
                changes, files = feed.close()
            except BaseException:
                feed.discard()
                raise
            outcomes = self._listing.outcomes
            rows = {name: outcomes.get(name, 0) for name in ("unlabelled", "filtered")}
            write_changed(
                self._target,
                Changed(
                    generation=self._number,
                    listing=self._listing.digest,
                    relisted=relisted,
                    rows={"listed": self._listing.rows, **rows},
                    changes=changes,
                    feed=files,
                    options=self._options,
                    ontology=again.ontology,
                    kept_names=again.kept_names,
                ),
            )
            yield from wanted

    def _asked_again(self) -> AbstractContextManager[AskedAgain]:
        header = planfile.read_header(self._target)  # there only where its rows are damaged
        ontology = planfile.read_ontology(self._target, header) if header else self._project.ontology
        reach, check = Reach(self._selection, self._format), anyio.from_thread.check_cancelled
        return asked_again(self._whole, self._before, self._options, ontology, reach, check)

    def _steps(self, again: AskedAgain) -> Generator[Step, None, None]:
        yield from changes_between(
            self._rows_before(folder_of(self._whole, self._number - 1)),
            self._while_wanted(rows_of(self._frozen_lines())),
            generation=self._number,
            again=again,
            whole_rows="rows" in self._format.kinds,
        )

    def _rows_before(self, folder: Target) -> Iterator[PlanRow]:
        header = planfile.read_header(folder) if self._number == 1 else read_listing(folder)
        if header is None:
            raise Unsound(
                f"{one_line(folder.name)}: what was listed last is lost; export into another directory"
            )
        rows = planfile.rows(folder, header)
        return rows_of(sorted_lines(rows, label_order)) if self._number == 1 else rows

    _frozen_order = staticmethod(label_order)

    def _frozen_lines(self) -> Iterator[bytes]:
        return planfile.lines(self._target, self._listing)
