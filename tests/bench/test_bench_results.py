"""What the bench makes of its measurements."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.suite.bars import bars
from benchmarks.suite.chart import QUICK, draw
from benchmarks.suite.measure import Measured, RequestSample
from benchmarks.suite.results import Figure, RunResult, SuiteReport, limit_used, summed_up
from benchmarks.suite.running import run_scenario
from benchmarks.suite.scenarios import OURS, SCENARIOS, Scenario, ToolRun
from benchmarks.suite.served import rows_served
from benchmarks.suite.table import report_table
from harvester.cli.screen import show
from harvester.errors import CannotFinishNow
from harvester.simulator import Faults, Simulator, WorldSpec

ROOT = Path(__file__).parents[2]
MACHINE: dict[str, Any] = {
    "cpu": "A CPU",
    "cores": 2,
    "memory_bytes": 8_000_000_000,
    "system": "Linux",
    "python": "CPython 3.11.7",
    "versions": {"harvester": "0.1.0", "encord": "0.1.211"},
    "load": 0.5,
}
FIGURES = ("seconds", "rows_per_s", "records_per_s", "mb_per_s", "cpu_ms_per_row", "own_cpu_ms_per_row")


SERVED = 400.0  # rows a second that the simulator has


def as_if(run: ToolRun, *, slower: float = 1.0) -> Measured:
    """A measurement that nobody made: ours is ten times as fast as the peers."""
    seconds = slower * (1.0 if run.is_ours else 10.0)
    return Measured(
        rows=run.rows,
        records=4 * run.rows,
        seconds=seconds,
        cpu_seconds=seconds / 2,
        peak_bytes=200_000_000,
        requests=run.rows + 4,
        refused=1,
        wire_bytes=1000 * run.rows,
        json_bytes=10_000 * run.rows if run.is_ours else None,
        digest="same" if run.is_ours else None,
        samples=[RequestSample(at=at / 2, asked=25 * at, refused=0) for at in range(121)],
    )


def result_of(scenario: Scenario) -> Any:
    measured = {run: [as_if(run), as_if(run, slower=2)] for run in scenario.runs}
    startup = {run.work: Figure(0.1, 0.1, 0.1) for run in scenario.runs}
    return summed_up(scenario, measured, {}, startup, SERVED if scenario.in_flight else None)


@pytest.fixture(scope="module")
def report() -> SuiteReport:
    found = [result_of(scenario) for scenario in SCENARIOS]
    return SuiteReport(
        command="python -m benchmarks.suite",
        quick=False,
        machine=MACHINE,
        startup_cpu_seconds={OURS: Figure(1, 1, 1)},
        scenarios=found,
    )


def test_every_scenario_has_every_figure(report: SuiteReport) -> None:
    """In the JSON, for every run of every scenario."""
    written = msgspec.json.decode(msgspec.json.encode(report))
    assert [scenario["name"] for scenario in written["scenarios"]] == [one.name for one in SCENARIOS]
    for scenario in written["scenarios"]:
        for run in scenario["runs"]:
            assert run["fetched"] == run["rows"]
            assert all(run[figure]["median"] > 0 for figure in (*FIGURES, "peak_mb"))
            assert run["requests"] == run["rows"] + 4
            assert run["refused"] == 1
            assert (run["limit_used"] is not None) == (scenario["rate"] is not None)


def test_figures_are_medians_with_their_spread() -> None:
    """Of the whole process; own is less start-up; MB/s of the peers by the weight of our rows."""
    scenario = next(one for one in SCENARIOS if one.name == "bundles")
    ours, threads, _ = result_of(scenario).runs
    thousands = ours.rows / 1000
    assert ours.cpu_ms_per_row == Figure(0.75 / thousands, 0.5 / thousands, 1 / thousands)
    assert ours.cpu_ms_per_row.spread == pytest.approx(1 / 3)
    assert ours.own_cpu_ms_per_row.median == pytest.approx(0.65 / thousands)
    assert threads.mb_per_s.high == pytest.approx(3_000 * 0.01 / 10)


def test_a_bar_that_is_missed_is_seen(report: SuiteReport) -> None:
    """Ours is cheap enough a row, but no faster in two processes than it is."""
    found = {bar.what: bar for bar in bars(report.scenarios)}
    assert found["client CPU a row, a hundred rows a request"].met
    assert found["peak memory, growth from 10,000 to 300,000 rows"].value == 0
    latency = next(one for one in report.scenarios if one.name == "latency")
    assert latency.ours.rows_per_s is not None
    share = latency.ours.rows_per_s.median / SERVED * 100
    assert found["of the 400 rows/s that the server has for 64 in flight at 150 ms"].value == share
    scenario = next(one for one in SCENARIOS if one.name == "processes")
    slow = {run: [as_if(run, slower=2 if "2 processes" in run.name else 1)] for run in scenario.runs}
    missed = bars([summed_up(scenario, slow, {}, {})])
    assert [bar.met for bar in missed] == [False, True]


def test_what_the_simulator_serves_is_measured() -> None:
    """Four connections at 20 ms get no more than 200 answers a second, and are never refused."""
    with Simulator(WorldSpec(rows=20, unlabelled=0.2), faults=Faults(latency=0.02)) as simulator:
        served = rows_served(simulator, 4, warm_up=0.1, seconds=0.5)
        assert 0 < served <= 208
        assert simulator.stats()["refused"] == simulator.stats()["unauthentic"] == 0


@pytest.mark.parametrize(
    ("a_tick", "capacity", "used"),
    [(10, (), 1.0), (5, (), 0.5), (5, ((5.0, 0.5),), 5 / 7.5)],
)
def test_the_share_of_a_limit_follows_its_capacity(
    a_tick: int, capacity: tuple[tuple[float, float], ...], used: float
) -> None:
    """Requests admitted, against what the rate allowed while they were asked for."""
    samples = [RequestSample(at=tick / 5, asked=1 + a_tick * tick, refused=0) for tick in range(51)]
    # Until the command ends it asks for nothing more.
    samples.append(RequestSample(at=12.0, asked=samples[-1].asked, refused=0))
    assert limit_used(samples, Faults(rate=50, capacity=capacity)) == pytest.approx(used, rel=0.03)


def test_too_short_a_time_says_nothing_of_a_limit() -> None:
    """A burst would count for more than the rate."""
    assert limit_used([RequestSample(0.0, 1, 0), RequestSample(1.0, 90, 0)], Faults(rate=50)) is None


def test_the_table_and_the_chart_show_it(
    report: SuiteReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every scenario by its title, the machine, the bars; and a picture."""
    show(report_table(report, bars(report.scenarios)))
    shown = capsys.readouterr().out
    for part in (
        *(scenario.title for scenario in SCENARIOS),
        "platform's export script",
        "A CPU",
        "requests refused",
    ):
        assert part in shown
    draw(report, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("quick", [False, True])
def test_the_picture_of_a_quick_run_says_so(report: SuiteReport, tmp_path: Path, quick: bool) -> None:
    """Nobody shall take its figures for a measurement."""
    draw(msgspec.structs.replace(report, quick=quick), tmp_path / "bench.svg")
    assert (QUICK in (tmp_path / "bench.svg").read_text()) is quick


def test_a_peer_that_fails_is_left_out_and_named() -> None:
    """One failure of the SDK by hand does not lose the others' figures; one of ours ends the bench."""
    scenario = next(one for one in SCENARIOS if one.name == "bundles").quick()

    def failing(tool: str) -> Any:
        def measure(run: ToolRun, *_: Any, watched: bool) -> Measured:
            if run.tool == tool:
                raise CannotFinishNow("it gave up")
            return as_if(run)

        return measure

    def quiet(*_: Any) -> None: ...

    runs: list[RunResult] = run_scenario(scenario, 2, {}, quiet, failing("platform_export")).runs
    assert [run.failed for run in runs] == [None, None, "it gave up"]
    with pytest.raises(CannotFinishNow):
        run_scenario(scenario, 2, {}, quiet, failing(OURS))


def test_the_page_names_every_scenario() -> None:
    """As `--scenario` takes it."""
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert [one.name for one in SCENARIOS if f"`{one.name}`" not in page] == []


def test_the_readme_says_what_was_measured() -> None:
    """Its lines are those of the results that its picture is drawn of."""
    results = msgspec.json.decode((ROOT / "benchmarks/results/bench.json").read_bytes(), type=SuiteReport)
    by_name = {scenario.name: scenario for scenario in results.scenarios}

    def line(what: str, name: str, figure: str, unit: str) -> str:
        ours, *peers = (round_to_two(getattr(run, figure).median) for run in by_name[name].runs)
        low, high = min(peers), max(peers)
        there = f"{low:,g} to {high:,g}" if low < high else f"{low:,g}"
        return f"| {what} | {ours:,g}{unit} | {there}{unit} |"

    said = (ROOT / "README.md").read_text()
    for expected in (
        line("CPU for a label row, one a request", "singles", "cpu_ms_per_row", " ms"),
        line("CPU for a label row, a hundred a request", "bundles", "cpu_ms_per_row", " ms"),
        line("label rows a second, one a request, 150 ms latency", "latency", "rows_per_s", ""),
        line("peak memory, one row of 200 MB", "giant", "peak_mb", " MB"),
    ):
        assert expected in said


def round_to_two(value: float) -> float:
    """Round to two significant digits."""
    return float(f"{value:.2g}")
