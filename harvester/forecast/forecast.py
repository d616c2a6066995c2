"""The forecast: list, draw, look, estimate, rehearse. Read this first."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.engines.local import usual_width
from harvester.events import Counters, say
from harvester.fetch.pool import Pool
from harvester.forecast.estimate import Estimate, exactly, spread_of, total
from harvester.forecast.rehearsal import Course, Server, Weight, rehearse
from harvester.forecast.sample import CallTimes, Look, Sample, Weigher, look_at
from harvester.forecast.steps import FilterStep, ListingSteps, record_steps, server_steps
from harvester.forecast.strata import Draw, Stratum
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

_REHEARSALS = 40
# How much quicker or slower a server may answer an export than it answered the sample: a factor of two is
# not unusual, and more is rare. As the standard deviation of its logarithm.
_MOODS = 0.35
_LISTINGS = 2  # that an export makes: for its plan, and to see what has changed since


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What an export will come to, by the sample. Bytes of label rows count as sent (undone of compression)
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
    """What an export would ask for, and what it will come to; each part only where it was asked for."""

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
    """Foresee an export into a target.

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
        rng.shuffle(rows)  # so that light and heavy ones are asked for together, as in an export
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
        prediction = await in_thread(
            partial(_predict, numbers, looked, foreseen, format, limits, listing, rng)
        )
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
    """Totals over all rows of what the looks at a sample of them show."""

    def __init__(self, strata: Sequence[Stratum], sample: Sample) -> None:
        self.strata = [
            (stratum.rows, [sample.looks[row.label_hash or ""] for row in stratum.drawn])
            for stratum in strata
        ]

    def total(self, of: Callable[[Look], float]) -> Estimate:
        return total((rows, [of(look) for look in looks]) for rows, looks in self.strata)

    def redrawn(self, rng: random.Random) -> tuple[list[Look], list[float]]:
        """As many looks drawn from the looks, stratum by stratum, each with the chance of being met."""
        looks: list[Look] = []
        chances: list[float] = []
        for rows, drawn in self.strata:
            all_seen = rows == len(drawn)
            looks += drawn if all_seen else rng.choices(drawn, k=len(drawn))
            chances += [rows / len(drawn)] * len(drawn)
        return looks, chances


def _predict(
    numbers: _Totals,
    sample: Sample,
    preview: Preview,
    format: Format,
    limits: Limits,
    listing: float,
    rng: random.Random,
) -> Prediction:
    counters = sample.counters
    looks = [look for _, drawn in numbers.strata for look in drawn]
    weighed = sum(look.body for look in looks)
    label_bytes = numbers.total(lambda look: look.body)
    courses = list(_rehearsals(numbers, sample.server, preview, format, limits, rng))
    around = counters.body_bytes / weighed if weighed else 1.0  # the envelopes
    return Prediction(
        sampled=len(looks),
        strata=len(numbers.strata),
        failed_in_sample=sum(look.failed for look in looks),
        requests=spread_of([course.requests for course in courses]),
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
        seconds=spread_of([course.seconds + _LISTINGS * listing for course in courses]),
        failed=numbers.total(lambda look: look.failed) if looks else exactly(0),
        assumptions=list(_assumptions(sample, limits)),
    )


def _rehearsals(
    numbers: _Totals, server: Server, preview: Preview, format: Format, limits: Limits, rng: random.Random
) -> Iterator[Course]:
    for _ in range(_REHEARSALS):
        looks, chances = numbers.redrawn(rng)
        yield rehearse(
            _parts(preview, format, rng),
            [Weight(look.body, sum(look.lines.values())) for look in looks],
            chances,
            _in_mood(server, rng),
            limits,
            open_parts=usual_width(limits, format),
            rng=rng,
        )


def _in_mood(server: Server, rng: random.Random) -> Server:
    """A server that is as quick as another day, and saves up requests for a tenth of a second or for two."""
    mood = rng.lognormvariate(0, _MOODS)
    rate = None if server.rate is None else server.rate / mood
    burst = max(1.0, (rate or 1.0) * rng.uniform(0.1, 2.0))
    return Server(server.latency * mood, server.per_byte * mood, rate, burst)


def _parts(preview: Preview, format: Format, rng: random.Random) -> list[int]:
    """The rows to ask for in each part, as if they stood anywhere in the listing."""
    listed, asked, parts = preview.listed, preview.to_fetch, []
    while listed:
        size = min(listed, format.rows_per_part)
        share = asked / listed
        spread = math.sqrt(size * share * (1 - share) * (listed - size) / max(1, listed - 1))
        drawn = round(rng.gauss(size * share, spread))
        parts.append(min(max(drawn, 0, asked - (listed - size)), size, asked))
        listed, asked = listed - size, asked - parts[-1]
    return parts


def _assumptions(sample: Sample, limits: Limits) -> Iterator[str]:
    server, counters = sample.server, sample.counters
    yield (
        f"the server answers as it did {counters.requests:,} requests of the sample: "
        f"{server.latency * 1000:.0f} ms each, and {server.per_byte * 1e9:.1f} ms a MB"
    )
    if server.rate is not None:
        yield f"it takes about {server.rate:.1f} requests a second: {counters.refused:,} were refused"
    elif limits.max_rps is not None:
        yield f"no more than {limits.max_rps:g} requests a second are sent, and it takes as many"
    else:
        yield "it takes as many requests a second as come: none was refused, and --max-rps sets no limit"
    yield "this machine and its disk keep up; one process"
