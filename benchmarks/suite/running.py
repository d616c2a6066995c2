"""Runs scenarios: every command in turn, so that what else the machine does meets all of them alike."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks.suite.inputs import Input, made_input
from benchmarks.suite.measure import Measured, measure
from benchmarks.suite.results import Figure, ScenarioResult, summed_up
from benchmarks.suite.scenarios import BOXES, IMAGES, OURS, Scenario, ToolRun
from benchmarks.suite.served import rows_served
from harvester.errors import CannotFinishNow
from harvester.simulator import Faults, Simulator, WorldSpec

# Told of each command before it runs: the scenario, the command, which repeat, of how many.
Progress = Callable[[str, str, int, int], None]


class Measure(Protocol):
    """`measure.measure`, or what stands for it."""

    def __call__(
        self, run: ToolRun, source: Simulator | Path, faults: Faults, *, watched: bool = False
    ) -> Measured: ...


def startup(
    scenarios: Iterable[Scenario], repeats: int, progress: Progress, measured_by: Measure = measure
) -> dict[str, Figure]:
    """CPU seconds for a single row, by `ToolRun.work`. A peer that fails has none.

    Raises:
        CannotFinishNow: harvester itself failed.
    """
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        sources: dict[Input | None, Simulator | Path] = {}
        runs: dict[str, tuple[Input | None, ToolRun]] = {}
        for scenario in scenarios:
            if scenario.made_of == "syncs":
                continue  # the project of one sync is as large as that of many
            if scenario.made_of not in sources:
                sources[scenario.made_of] = _source(stack, scenario.made_of, IMAGES, 1)
            for run in scenario.runs:
                arguments = BOXES if run.tool == OURS else run.arguments
                one = ToolRun(run.tool, 1, arguments, converts=run.converts)
                runs.setdefault(run.work, (scenario.made_of, one))
        for repeat in range(repeats):
            for work, (made_of, run) in runs.items():
                progress("start-up", run.name, repeat, repeats)
                try:
                    found = measured_by(run, sources[made_of], Faults())
                except CannotFinishNow:
                    if run.is_ours:
                        raise
                else:
                    seconds.setdefault(work, []).append(found.cpu_seconds)
    return {work: Figure.of(values) for work, values in seconds.items()}


def _source(stack: ExitStack, made_of: Input | None, spec: WorldSpec, rows: int) -> Simulator | Path:
    if made_of is not None:
        return stack.enter_context(made_input(made_of, rows))
    return stack.enter_context(Simulator(msgspec.structs.replace(spec, rows=rows)))


def run_scenario(
    scenario: Scenario,
    repeats: int,
    startup: dict[str, Figure],
    progress: Progress,
    measured_by: Measure = measure,
) -> ScenarioResult:
    """All runs of a scenario, A B A B, on the same simulators or inputs all along.

    A peer that fails is left out from then on.

    Raises:
        CannotFinishNow: harvester itself failed.
    """
    measured: dict[ToolRun, list[Measured]] = {}
    failed: dict[ToolRun, str] = {}
    repeats = min(repeats, scenario.most_repeats)
    with ExitStack() as stack:
        sources = {
            rows: _source(stack, scenario.made_of, scenario.spec, rows)
            for rows in {run.rows for run in scenario.runs}
        }
        for repeat in range(repeats):
            for run in scenario.runs:
                if run in failed:
                    continue
                progress(scenario.name, run.name, repeat, repeats)
                try:
                    found = measured_by(run, sources[run.rows], scenario.faults, watched=scenario.watched)
                except CannotFinishNow as error:
                    if run.is_ours:
                        raise
                    failed[run] = error.message
                    measured.pop(run, None)
                else:
                    measured.setdefault(run, []).append(found)
        served = None
        if scenario.in_flight:
            progress(scenario.name, "what the simulator can serve", 0, 1)
            simulator = sources[scenario.runs[0].rows]
            assert isinstance(simulator, Simulator)
            simulator.set_faults(scenario.faults)
            served = rows_served(simulator, scenario.in_flight)
    return summed_up(scenario, measured, failed, startup, served)
