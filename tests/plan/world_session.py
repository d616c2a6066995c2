"""A simulated project in this process, in virtual time: what a forecast says of it, and what it comes to."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, Self, cast
from unittest import mock

import anyio
import msgspec

import harvester.forecast.forecast
from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.engines.local import Part, StopSignal, spread, usual_width
from harvester.errors import RateLimited
from harvester.events import Counters
from harvester.fetch.pool import FailedRow, Pool
from harvester.fetch.source import RowsResponse
from harvester.filters import request_selection
from harvester.forecast.forecast import Forecast, forecast
from harvester.job import Job
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.plan.order import rows_of
from harvester.plan.planned import Items, plan_lines
from harvester.settings import Format, Limits, Selection
from harvester.simulator.world import World, WorldSpec
from tests.fakes import FakeProject
from tests.fetch.virtual import OK, Server, Unlimited
from tests.fetch.virtual_loop import VirtualLoop, calls_on_the_loop, cpu_to_spare

LATENCY = 0.12


class WorldSession(FakeProject):
    """A simulated project, whose server answers in virtual time."""

    def __init__(self, spec: WorldSpec, server: Server | None = None) -> None:
        super().__init__()
        self.world = World(spec)
        self.project = ProjectInfo(
            self.world.project_hash, spec.title, "2024-01-01", json.dumps(self.world.ontology()).encode()
        )
        self.server = server or Unlimited()
        self.listings = 0
        self.request_selection = Selection()
        self.before_answer = self._judge
        self._made: dict[str, bytes | None] = {}

    @contextmanager
    def listing(
        self, project: ProjectInfo, selection: Selection, format: Format = Format()
    ) -> Iterator[Items]:
        self.listings += 1
        statuses = list(selection.task_statuses)
        query: dict[str, Any] = {"label_statuses": statuses} if statuses else {}
        if selection.data_title_like:
            query |= {"data_title_like": selection.data_title_like}
        yield ([msgspec.Raw(item)] for item in self.world.listing(query))

    def label_rows(
        self, project: ProjectInfo, selection: Selection, format: Format, *, as_sent: bool = False
    ) -> Self:
        self.request_selection = request_selection(selection, format)
        return self

    def row(self, label_hash: str) -> bytes | None:
        if label_hash not in self._made:
            self._made[label_hash] = self.world.label_row(label_hash)
        return self._made[label_hash]

    def answer(self, asked: tuple[str, ...]) -> RowsResponse:
        answer = super().answer(asked)
        answer.body_bytes += 100
        answer.wire_bytes = answer.body_bytes // 4
        return answer

    def _judge(self) -> None:
        if self.server.judge(anyio.current_time())[0] != OK:
            raise RateLimited("too many requests")


class Truth(msgspec.Struct):
    """What an export comes to."""

    requests: int
    label_bytes: int
    wire_bytes: int
    records: dict[str, int]
    output_bytes: dict[str, int]
    seconds: float
    failed: int


def foreseen(
    session: WorldSession,
    *,
    sample: int = 100,
    explain: bool = False,
    selection: Selection = Selection(),
    format: Format = Format(),
    limits: Limits = Limits(),
    seed: int = 0,
) -> Forecast:
    return _virtually(
        partial(
            forecast, cast(Session, session), Job(session.project, selection, format, limits),
            sample=sample, explain=explain, seed=seed, on_event=lambda event, fields: None,
        )
    )  # fmt: skip


def exported(
    session: WorldSession,
    *,
    selection: Selection = Selection(),
    format: Format = Format(),
    limits: Limits = Limits(),
) -> Truth:
    """Fetches all of it, part by part, as an export does."""
    return _virtually(partial(_export, session, selection, format.for_files(), limits))


async def _export(session: WorldSession, selection: Selection, format: Format, limits: Limits) -> Truth:
    extractor = Extractor(selection, format, session.project.ontology)
    with session.listing(session.project, selection) as listing:
        rows = list(rows_of(plan_lines(listing, selection, format)))
    counters, written, lines = Counters(), Counter[str](), Counter[str]()
    counts = Counter[str]()

    async def parts() -> AsyncIterator[Part]:
        for number, start in enumerate(range(0, len(rows), format.rows_per_part)):
            yield number, rows[start : start + format.rows_per_part]

    began = anyio.current_time()
    async with Pool(session, limits, counters=counters) as pool:

        async def harvest(number: int, part: Sequence[PlanRow]) -> None:
            wanted = [row for row in part if row.outcome is None]
            async with aclosing(pool.stream(wanted, extractor)) as outcomes:
                async for _, outcome in outcomes:
                    if isinstance(outcome, FailedRow):
                        counts["failed"] += 1
                        continue
                    written.update(outcome.written)
                    lines.update({kind: text.size for kind, text in outcome.lines.items()})

        await spread(parts(), harvest, width=usual_width(limits, format), stop=StopSignal(anyio.Event(), 1.0))
    return Truth(
        requests=counters.requests,
        label_bytes=counters.body_bytes,
        wire_bytes=counters.wire_bytes,
        records=dict(written),
        output_bytes=dict(lines),
        seconds=anyio.current_time() - began,
        failed=counts["failed"],
    )


def _virtually(call: Callable[..., Any]) -> Any:
    """Runs it in virtual time, with calls that would be made in threads made on the loop."""

    async def in_thread(func: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return func(*args)

    with (
        cpu_to_spare(),
        calls_on_the_loop(LATENCY),
        mock.patch.object(harvester.forecast.forecast, "in_thread", in_thread),
    ):
        return anyio.run(call, backend_options={"loop_factory": VirtualLoop})
