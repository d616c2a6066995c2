"""Runs scenarios: every command in turn, so that what else the machine does meets all of them alike."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Protocol

import msgspec

from benchmarks.suite.measure import Measured, measure
from benchmarks.suite.results import Figure, ScenarioResult, summed_up
from benchmarks.suite.scenarios import BOXES, IMAGES, OURS, Scenario, ToolRun, is_ours
from benchmarks.suite.served import rows_served
from harvester.errors import CannotFinishNow
from harvester.simulator import Faults, Simulator

# Told of each command before it runs: the scenario, the command, which repeat, of how many.
Progress = Callable[[str, str, int, int], None]


class Measure(Protocol):
    """`measure.measure`, or what stands for it."""

    def __call__(
        self, run: ToolRun, simulator: Simulator, faults: Faults, *, watched: bool = False
    ) -> Measured: ...


def startup(
    scenarios: Iterable[Scenario], repeats: int, progress: Progress, measured_by: Measure = measure
) -> dict[str, Figure]:
    """CPU seconds for a single row, for each tool that the scenarios use. A peer that fails has none.

    Raises:
        CannotFinishNow: harvester itself failed.
    """
    tools = dict.fromkeys(run.tool for scenario in scenarios for run in scenario.runs)
    runs = [ToolRun(tool, 1, BOXES if tool == OURS else ()) for tool in tools]
    seconds: dict[str, list[float]] = {run.tool: [] for run in runs}
    with Simulator(msgspec.structs.replace(IMAGES, rows=1)) as simulator:
        for repeat in range(repeats):
            for run in runs:
                progress("start-up", run.name, repeat, repeats)
                try:
                    seconds[run.tool].append(measured_by(run, simulator, Faults()).cpu_seconds)
                except CannotFinishNow:
                    if is_ours(run.tool):
                        raise
    return {tool: Figure.of(values) for tool, values in seconds.items() if values}


def run_scenario(
    scenario: Scenario,
    repeats: int,
    startup: dict[str, Figure],
    progress: Progress,
    measured_by: Measure = measure,
) -> ScenarioResult:
    """All runs of a scenario, A B A B; each project is simulated by one process all along.

    A peer that fails is left out from then on.

    Raises:
        CannotFinishNow: harvester itself failed.
    """
    measured: dict[ToolRun, list[Measured]] = {}
    failed: dict[ToolRun, str] = {}
    repeats = min(repeats, scenario.most_repeats)
    with ExitStack() as stack:
        simulators = {
            rows: stack.enter_context(Simulator(msgspec.structs.replace(scenario.spec, rows=rows)))
            for rows in {run.rows for run in scenario.runs}
        }
        for repeat in range(repeats):
            for run in scenario.runs:
                if run in failed:
                    continue
                progress(scenario.name, run.name, repeat, repeats)
                try:
                    found = measured_by(run, simulators[run.rows], scenario.faults, watched=scenario.watched)
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
            simulator = simulators[scenario.runs[0].rows]
            simulator.set_faults(scenario.faults)
            served = rows_served(simulator, scenario.in_flight)
    return summed_up(scenario, measured, failed, startup, served)
