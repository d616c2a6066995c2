"""A real project, measured: what its server gives, one row a request and many. Reads only."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec

from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, CannotFinishNow, RateLimited, Retry, SkipRow, TooMuchAsked
from harvester.fetch.bundles import Batch
from harvester.fetch.call import Call, Fetched
from harvester.fetch.source import LabelRows
from harvester.labels.extract import Extracted, Extractor
from harvester.labels.wire import PlanRow
from harvester.plan.planned import unsorted_rows
from harvester.settings import Format, Selection

if TYPE_CHECKING:
    from harvester.encord.session import Session

LOOKUPS = 3  # calls that find the project, its ontology and its rows
# In flight: enough to be fast on any server, and few enough for one whose limit is not known yet.
CONCURRENCY = 8
# Rows a request, and the share of the calls that each gets: single rows need many to say something.
_TRIALS = ((1, 0.4), (10, 0.2), (50, 0.2), (100, 0.2))
# As good as the best: the smaller bundle wins, for it is retried and resumed in smaller steps.
_AS_GOOD = 0.95
_PAUSE = 1.0  # seconds after a refusal that names no time
_LONGEST_PAUSE = 30.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one size of bundle gave.

    `cut_short`: the server refused so large a bundle. `call_seconds` is what a call took, on average.
    """

    bundle_size: int
    calls: int
    rows: int
    records: int
    failed: int
    refused: int
    cut_short: bool
    seconds: float
    call_seconds: float
    rows_per_s: float
    mb_per_s: float


class ProjectReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a project's server answers, and what follows for an export.

    `whole_seconds`: what an export of all `labelled` rows takes at the fastest speed seen.
    """

    project_hash: str
    title: str
    labelled: int
    calls: int
    row_kb: float
    trials: list[Trial]
    fastest: int
    whole_seconds: float


async def measure_project(
    session: "Session",
    project: ProjectInfo,
    selection: Selection,
    max_calls: int,
    progress: Callable[[int], None] = lambda bundle_size: None,
) -> ProjectReport:
    """Asks for label rows of `project`, in at most `max_calls` calls, look-ups included.

    Raises:
        BadInput: no row has labels.
        CannotFinishNow: no label row came, or the server wants to be left alone for long.
    """
    most = sum(size * _calls(max_calls, share) for size, share in _TRIALS)
    rows, labelled = await anyio.to_thread.run_sync(_sample, session, project, selection, most)
    if not rows:
        raise BadInput(f"no row of {project.title!r} has labels to measure")
    source = session.label_rows(project, selection, Format())
    probe = _Probe(source, Extractor(selection, Format(), project.ontology))
    supply = cycle(rows)
    for size, share in _TRIALS:
        if size <= len(rows):
            progress(size)
            bundles = [list(islice(supply, size)) for _ in range(_calls(max_calls, share))]
            await probe.trial(bundles, size)
    best = max(trial.rows_per_s for trial in probe.trials)
    if not best:
        raise CannotFinishNow("no label row came: try again later")
    got = sum(trial.rows for trial in probe.trials)
    return ProjectReport(
        project_hash=project.project_hash,
        title=project.title,
        labelled=labelled,
        calls=LOOKUPS + sum(trial.calls for trial in probe.trials),
        row_kb=sum(trial.mb_per_s * trial.seconds * 1000 for trial in probe.trials) / got,
        trials=probe.trials,
        fastest=next(t.bundle_size for t in probe.trials if t.rows_per_s >= best * _AS_GOOD),
        whole_seconds=labelled / best,
    )


def _calls(max_calls: int, share: float) -> int:
    return int((max_calls - LOOKUPS) * share)


def _sample(
    session: "Session", project: ProjectInfo, selection: Selection, most: int
) -> tuple[list[PlanRow], int]:
    """The first rows that have labels, and how many have."""
    rows, labelled = list[PlanRow](), 0
    with session.listing(project, selection) as listing:
        for row in unsorted_rows(listing, selection, Format()):
            if row.outcome is None:
                labelled += 1
                if len(rows) < most:
                    rows.append(row)
    return rows, labelled


class _Probe:
    """Makes calls, a few at a time, and makes no call twice."""

    def __init__(self, source: LabelRows, extractor: Extractor) -> None:
        self.trials: list[Trial] = []
        self._source = source
        self._extractor = extractor
        self._limiter = anyio.CapacityLimiter(CONCURRENCY)

    async def trial(self, bundles: list[list[PlanRow]], size: int) -> None:
        """Asks for `bundles`, and adds what came of it to the trials."""
        tally, todo = _TrialCounts(), iter(bundles)
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(CONCURRENCY):
                group.start_soon(self._work, todo, tally)
        seconds = max(anyio.current_time() - began, 1e-6)
        self.trials.append(
            Trial(
                bundle_size=size,
                calls=tally.calls,
                rows=tally.rows,
                records=tally.records,
                failed=tally.failed,
                refused=tally.refused,
                cut_short=tally.cut_short,
                seconds=seconds,
                call_seconds=tally.call_seconds / max(1, tally.calls),
                rows_per_s=tally.rows / seconds,
                mb_per_s=tally.body_bytes / seconds / 1e6,
            )
        )

    async def _work(self, todo: Iterator[Sequence[PlanRow]], tally: "_TrialCounts") -> None:
        for rows in todo:
            if tally.cut_short:
                return
            await anyio.sleep_until(tally.closed_until)
            began = anyio.current_time()
            tally.calls += 1
            try:
                fetched = await anyio.to_thread.run_sync(
                    Call(self._source, self._extractor, Batch(rows, range(len(rows)))),
                    limiter=self._limiter,
                    abandon_on_cancel=True,
                )
            except RateLimited as error:
                tally.refused += 1
                pause = _PAUSE if error.retry_after is None else error.retry_after
                if pause > _LONGEST_PAUSE:
                    raise CannotFinishNow(f"the server wants to be left alone for {pause:.0f} s") from error
                tally.closed_until = max(tally.closed_until, anyio.current_time() + pause)
            except TooMuchAsked:
                tally.cut_short = True
            except (Retry, SkipRow):
                tally.failed += len(rows)
            else:
                tally.add(fetched)
            tally.call_seconds += anyio.current_time() - began


class _TrialCounts:
    """What came in one trial, all workers together. `closed_until`: nobody asks before."""

    def __init__(self) -> None:
        self.calls = self.rows = self.records = self.failed = self.refused = self.body_bytes = 0
        self.call_seconds = 0.0
        self.closed_until = float("-inf")
        self.cut_short = False

    def add(self, fetched: Fetched) -> None:
        self.body_bytes += fetched.body_bytes
        self.failed += len(fetched.missing)
        for span in fetched.spans:
            if isinstance(span.outcome, Extracted):
                self.rows += span.rows
                self.records += sum(span.outcome.written.values())
            else:
                self.failed += span.rows
