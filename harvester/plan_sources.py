"""Sources of the rows of a plan: a listing (export), or the difference between two listings (sync).

A listing is spooled to temporary files in a thread that may be abandoned (`first_listing`, `listed_again`).
Only afterwards is anything written to the target, by a thread that is always waited for.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from functools import partial
from itertools import chain, islice
from typing import NamedTuple, Protocol

import anyio.from_thread
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.asked_again import AskedAgain, asked_again, hashes_on_disk
from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.job import RunContext
from harvester.labels.wire import PlanRow
from harvester.ontology_reach import Reach
from harvester.output import planfile
from harvester.output.generations import (
    NEW_EXPORT,
    Changed,
    FeedWriter,
    drop_generation,
    feed_is_there,
    folder_of,
    read_changed,
    read_listing,
    write_changed,
)
from harvester.output.layout import LISTED, LISTED_ROWS, PLAN
from harvester.output.lines import read_as
from harvester.output.manifest import Manifest
from harvester.output.planfile import PlanHeader
from harvester.output.repair import sound_file
from harvester.output.target import Target
from harvester.plan.changes import Change, Step, SyncOptions, changes_between
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import Order, label_order, plan_order, rows_of, sorted_lines
from harvester.plan.planned import plan_lines
from harvester.plan.sorting import sorter
from harvester.stopping import while_wanted


class PlanSource(Protocol):
    """A source of the rows of a plan.

    `digest` is that of the listing that was frozen in this run, None where it was not or is not known.
    `row_bytes` is what a label row weighed on average in an earlier run, if that is known. `is_bound`: a plan
    that is lost must come out as it was, else the target is refused.
    """

    is_bound: bool
    digest: str | None
    row_bytes: float | None

    def rows(self) -> AbstractAsyncContextManager[Iterator[bytes]]:
        """Yield the rows to freeze as JSON, in plan order. The iterator is blocking: read it in a thread."""

    def frozen(self, plan: PlanHeader) -> PlanHeader | None:
        """Return the frozen listing that `plan` was made from; None if it was deleted. Blocking."""


class FromListing:
    """All rows that are listed. The plan itself is the frozen listing."""

    is_bound = True
    digest: str | None = None
    row_bytes: float | None = None

    def __init__(self, context: RunContext) -> None:
        self._context = context

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[Iterator[bytes]]:
        async with first_listing(self._context, plan_order) as listing:
            self.digest = listing.digest
            yield listing.lines

    def frozen(self, plan: PlanHeader) -> PlanHeader | None:
        return plan


class FromGeneration:
    """The rows that a finished sync has fetched, as far as they are still listed: to mend what it brought.

    The change feed names them. They come as the last sync listed them, so the plan of an earlier one may not
    come out as it was; then its rows are harvested again.
    """

    is_bound = False
    digest: str | None = None
    row_bytes: float | None = None

    def __init__(self, folder: Target, last: Target) -> None:
        """`folder` is that of the generation, `last` that of the last one, which has the frozen listing."""
        self._folder = folder
        self._last = last

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[Iterator[bytes]]:
        with closing(self._fetched_rows()) as rows:
            yield rows

    def frozen(self, plan: PlanHeader) -> PlanHeader | None:
        return planfile.read_header(self._folder, LISTED)

    def _fetched_rows(self) -> Generator[bytes, None, None]:
        folder, changed, listing = self._folder, read_changed(self._folder), read_listing(self._last)
        if changed is None or listing is None or not all(sound_file(folder, file) for file in changed.feed):
            raise Unsound(f"{one_line(folder.name)}: {NEW_EXPORT}: its plan is lost or damaged")
        with hashes_on_disk() as fetched, sorter() as by_order:
            for file in changed.feed:
                for change in read_as(folder, file.name, Change):
                    if change.change in ("added", "edited"):
                        fetched.add(change.label_hash)
            for line in planfile.lines(self._last, listing):
                row = msgspec.json.decode(line, type=PlanRow)
                if row.outcome is None and row.label_hash in fetched:
                    by_order.add(plan_order(row), line)
            yield from by_order


class _NotListed(BadInput):
    """A label row that the user asked to fetch again is not listed."""


class FromChanges:
    """The rows that have changed since the listing of the export, or of its last sync.

    The target of the run is `folder`, the folder of the next generation. It also gets the frozen listing and
    the change feed.
    """

    is_bound = True
    _listing: PlanHeader

    def __init__(self, context: RunContext, whole: Target, before: Manifest, options: SyncOptions) -> None:
        """`before` is the manifest of the `whole` export."""
        self.number = before.last + 1
        self.folder = folder_of(whole, self.number)
        self.digest: str | None = None
        self.row_bytes: float | None = None
        body_bytes, harvested = before.run.get("body_bytes"), before.run.get("harvested")
        if body_bytes and harvested:
            self.row_bytes = body_bytes / harvested
        self._context = context
        self._whole = whole
        self._before = before
        self._options = options

    async def freeze_listing(self) -> None:
        """Freeze the listing, unless the sync that this one resumes has done so. Drops incomplete state."""
        found = await in_thread(self._begun)
        if found is None:
            async with first_listing(self._context, label_order) as listing:
                self.digest = listing.digest
                lines, spec = while_wanted(listing.lines), self._context.job.spec
                freeze = partial(planfile.freeze, rows_file=LISTED_ROWS, header_file=LISTED)
                found = await self._context.stopping.waited_for(partial(freeze, self.folder, lines, spec))
        self._listing = found
        await in_thread(self._go_on)

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[Iterator[bytes]]:
        with closing(self._changed_rows()) as rows:
            try:
                yield rows
            except _NotListed:
                await in_thread(drop_generation, self.folder)
                raise

    def frozen(self, plan: PlanHeader) -> PlanHeader | None:
        return self._listing

    # -- blocking

    def _begun(self) -> PlanHeader | None:
        listing = read_listing(self.folder)
        if listing is None:
            drop_generation(self.folder)
        return listing

    def _go_on(self) -> None:
        changed = read_changed(self.folder)
        if changed is None or not feed_is_there(self.folder, changed):
            self.folder.delete(PLAN)  # so that plan and feed are made again
        elif planfile.read_header(self.folder):
            self._options = changed.options  # a resumed sync keeps the options it began with

    def _changed_rows(self) -> Generator[bytes, None, None]:
        """Write the change feed, then yield the rows to fetch in plan order."""
        encode = msgspec.json.encode
        format = self._context.job.format
        feed, relisted = FeedWriter(self.folder, format.compress), False
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
                self.folder,
                Changed(
                    generation=self.number,
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
        job = self._context.job
        header = planfile.read_header(self.folder)  # exists only if the rows of the plan are damaged
        ontology = planfile.read_ontology(self.folder, header) if header else job.project.ontology
        reach, check = Reach(job.selection, job.format), anyio.from_thread.check_cancelled
        return asked_again(self._whole, self._before, self._options, ontology, reach, check)

    def _steps(self, again: AskedAgain) -> Generator[Step, None, None]:
        yield from changes_between(
            self._rows_before(folder_of(self._whole, self.number - 1)),
            while_wanted(planfile.rows(self.folder, self._listing)),
            generation=self.number,
            again=again,
            whole_rows="rows" in self._context.job.format.kinds,
        )

    def _rows_before(self, folder: Target) -> Iterator[PlanRow]:
        is_first = not self._before.generations
        header = planfile.read_header(folder) if is_first else read_listing(folder)
        assert header is not None  # the sync has checked that
        rows = planfile.rows(folder, header)
        return rows_of(sorted_lines(rows, label_order)) if is_first else rows


# -- listing


class SortedListing(NamedTuple):
    """The rows of a listing as JSON, sorted, and the digest of what the server sent (None if unknown)."""

    lines: Iterator[bytes]
    digest: str | None


@asynccontextmanager
async def first_listing(context: RunContext, order: Order) -> AsyncIterator[SortedListing]:
    """Yield the listing for a plan, in `order`. Updates the counters, and warns of filters it contradicts."""
    decide, counters = ListingFilter(context.job.selection), context.observer.counters

    def listed(count: int) -> None:
        anyio.from_thread.check_cancelled()
        counters.listed = count

    counters.is_listing = True
    async with context.stopping.left_behind(_spooled(context, order, decide, listed)) as found:
        counters.is_listing = False
        decide.report(context.observer.on_event)
        yield found


@asynccontextmanager
async def listed_again(
    context: RunContext, order: Order, former: str | None, *, grace: float
) -> AsyncIterator[Iterator[bytes] | None]:
    """Yield the rows listed now, in `order`; None if the listing has the digest `former`: nothing changed."""
    decide = ListingFilter(context.job.selection)

    def listed(count: int) -> None:
        anyio.from_thread.check_cancelled()

    spooled = _spooled(context, order, decide, listed, former)
    async with context.stopping.left_behind(spooled, grace=grace) as found:
        yield None if found.digest is not None and found.digest == former else found.lines


@contextmanager
def _spooled(
    context: RunContext,
    order: Order,
    decide: ListingFilter,
    on_listed: Callable[[int], None],
    former: str | None = None,
) -> Iterator[SortedListing]:
    """Spool a listing to disk, whole, and yield it. A listing with the digest `former` is not sorted."""
    selection, format = context.job.selection, context.job.format
    with context.session.listing(context.job.project, selection, format) as listing:
        if former is not None and former == listing.digest():
            yield SortedListing(iter(()), former)
            return
        lines = plan_lines(listing, selection, format, order=order, decide=decide, on_listed=on_listed)
        first = list(islice(lines, 1))  # comes when the last row has been listed
        yield SortedListing(chain(first, lines), listing.digest())
