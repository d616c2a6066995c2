"""The forecast: list, draw a sample, fetch it, estimate. Read this first."""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.events import Counters, say
from harvester.fetch.pool import Pool
from harvester.forecast.course import Course, course
from harvester.forecast.estimate import Estimate, exactly, total
from harvester.forecast.sample import CallTimes, Draw, Look, Sample, Stratum, Weigher, look_at
from harvester.forecast.steps import FilterStep, ListingSteps, record_steps, server_steps
from harvester.job import Job, OnEvent
from harvester.known import check_selection
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import rows_of
from harvester.plan.planned import plan_lines
from harvester.plan.status import Preview, preview
from harvester.settings import Format, Limits, Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session

_LISTINGS = 2  # of an export: one for its plan, one at the end to see what has changed
# Uncertainty of the simulated time: its interval is divided and multiplied by this. Chosen on
# ten exports against simulated servers: seven took 0.7 to 1.3 times as long as forecast. The three
# others met a rate limit that the sample had hardly seen, and took two to four times as long.
_ROUGH = 1.3
# The same for a rate limit that the sample has met: how many requests the server lets through at once is not
# known. Chosen on the same exports.
_RATE_ROUGH = 2.0


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The forecast from the sample. Bytes of label rows count as sent (after decompression)
    in `label_bytes`, as they come over the network in `wire_bytes` (None where that is not known)."""

    sampled: int
    strata: int
    failed_in_sample: int
    requests: Estimate
    label_bytes: Estimate
    wire_bytes: Estimate | None
    records: dict[str, Estimate]
    output_bytes: dict[str, Estimate]
    output_total: Estimate
    seconds: Estimate
    failed: Estimate
    assumptions: list[str]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of an export, and its forecast. Each part is there only if it was asked for."""

    preview: Preview
    prediction: Prediction | None
    steps: list[FilterStep] | None


async def forecast(
    session: "Session",
    job: Job,
    *,
    sample: int,
    explain: bool = False,
    seed: int = 0,
    on_event: OnEvent = say,
) -> Forecast:
    """Forecast an export into a target.

    Asks for the listing, and for about `sample` label rows (0: for none).

    `explain` asks for the listing once more for each predicate of the server's, to count what it leaves.

    Raises:
        BadInput, CredentialsRefused, CannotFinishNow: see `harvester.errors`.
    """
    project, selection, limits = job.project, job.selection, job.limits
    format = job.format.for_files()
    extractor = Weigher(selection, format, project.ontology)
    extractor.weights = {}
    check = partial(check_selection, session, project, selection, on_event)
    await in_thread(check, abandon_on_cancel=True)
    draw, listing_steps = Draw(sample, seed), ListingSteps(selection)
    decide = ListingFilter(selection)
    began = anyio.current_time()
    foreseen = await in_thread(
        partial(_list, session, project, selection, format, decide, draw, listing_steps),
        abandon_on_cancel=True,
    )
    decide.report(on_event)
    listing = anyio.current_time() - began
    strata = draw.strata() if sample else []
    rng = random.Random(seed)
    prediction = looked = None
    if sample:
        rows = [row for stratum in strata for row in stratum.drawn]
        rng.shuffle(rows)  # so that small and large rows share bundles, as in an export
        counters, times = Counters(), CallTimes(on_event)
        pool = Pool(
            session.label_rows(project, selection, format, as_sent=True),
            limits,
            counters=counters,
            on_event=times,
            rng=rng,
            request_deadline=session.connection.request_deadline,
        )
        looked = await look_at(rows, pool, extractor, format, counters=counters, times=times)
        numbers = _Totals(strata, looked)
        prediction = _predict(numbers, looked, foreseen, format, limits, listing)
    steps = None
    if explain:
        steps = await in_thread(
            lambda: list(server_steps(session, project, selection, foreseen.listed)), abandon_on_cancel=True
        )
        steps += listing_steps.steps()
        if looked is not None:
            steps += record_steps(selection, extractor.filters, numbers.total)
    return Forecast(preview=foreseen, prediction=prediction, steps=steps)


def _list(
    session: "Session",
    project: "ProjectInfo",
    selection: Selection,
    format: Format,
    decide: ListingFilter,
    draw: Draw,
    steps: ListingSteps,
) -> Preview:
    def seen() -> Iterator[str | None]:
        with session.listing(project, selection, format) as listing:
            for row in rows_of(plan_lines(listing, selection, format, decide=decide)):
                steps.add(row, row.outcome)
                if row.outcome is None:
                    draw.add(row, row.number_of_frames)
                yield row.outcome

    return preview(seen(), selection, format)


class _Totals:
    """Totals over all rows, estimated from the measured sample."""

    def __init__(self, strata: Sequence[Stratum], sample: Sample) -> None:
        self.strata = [
            (stratum.rows, [sample.looks[row.label_hash or ""] for row in stratum.drawn])
            for stratum in strata
        ]

    def total(self, of: Callable[[Look], float]) -> Estimate:
        return total((rows, [of(look) for look in looks]) for rows, looks in self.strata)


def _predict(
    numbers: _Totals, sample: Sample, preview: Preview, format: Format, limits: Limits, listing: float
) -> Prediction:
    counters = sample.counters
    looks = [look for _, drawn in numbers.strata for look in drawn]
    weighed = sum(look.body for look in looks)
    label_bytes = numbers.total(lambda look: look.body)
    line_bytes = numbers.total(lambda look: sum(look.lines.values()))
    around = (
        counters.body_bytes / weighed if weighed else 1.0
    )  # bytes of the envelopes around label rows, as a factor

    def go(weight: float, slowness: float, rate: float | None) -> Course:
        return course(
            preview.to_fetch, weight, line_bytes.value, sample.calls.slower(slowness), limits, rate=rate
        )

    likely = go(label_bytes.value, 1.0, sample.rate)
    least = go(label_bytes.low, sample.calls.quick, sample.rate and sample.rate * _RATE_ROUGH)
    most = go(label_bytes.high, sample.calls.slow, sample.rate and sample.rate / _RATE_ROUGH)
    # The last bundle of each part is smaller, and the first one may be.
    ends = 2 * preview.parts * (1 - 1 / likely.bundle)
    growing = (_ROUGH - 1) * max(0.0, likely.requests - preview.to_fetch / likely.bundle)
    return Prediction(
        sampled=len(looks),
        strata=len(numbers.strata),
        failed_in_sample=sum(look.failed for look in looks),
        requests=Estimate(
            likely.requests + ends / 2 + counters.refused,
            least.requests - growing,
            most.requests + growing + ends + 2 * counters.refused,
        ),
        label_bytes=label_bytes.times(around),
        wire_bytes=label_bytes.times(counters.wire_bytes / weighed)
        if weighed and counters.wire_bytes
        else None,
        records={
            kind: numbers.total(lambda look, kind=kind: look.written.get(kind, 0))  # type: ignore[misc]
            for kind in format.kinds
        },
        output_bytes={
            kind: numbers.total(
                lambda look, kind=kind: sample.packed[kind] * look.lines.get(kind, 0)  # type: ignore[misc]
            )
            for kind in format.kinds
        },
        output_total=numbers.total(
            lambda look: sum(sample.packed[kind] * size for kind, size in look.lines.items())
        ),
        seconds=Estimate(likely.seconds, least.seconds / _ROUGH, most.seconds * _ROUGH).plus(
            _LISTINGS * listing
        ),
        failed=numbers.total(lambda look: look.failed) if looks else exactly(0),
        assumptions=list(_assumptions(sample, limits)),
    )


def _assumptions(sample: Sample, limits: Limits) -> Iterator[str]:
    calls, counters = sample.calls, sample.counters
    yield (
        f"the server answers as it did {counters.requests:,} requests of the sample: "
        f"{calls.latency * 1000:.0f} ms each, and {calls.per_byte * 1e9:.1f} ms a MB"
    )
    if sample.rate is not None:
        yield f"it takes about {sample.rate:.1f} requests a second: {counters.refused:,} were refused"
    elif limits.max_rps is not None:
        yield f"no more than {limits.max_rps:g} requests a second are sent, and it takes as many"
    else:
        yield "it takes as many requests a second as come: none was refused, and --max-rps sets no limit"
    yield "this machine and its disk keep up; one process"
