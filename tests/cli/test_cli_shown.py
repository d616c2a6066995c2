"""What stands on the screen: summary, progress, tables."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from harvester.cli.export import as_json
from harvester.cli.look import projects_table, status_table
from harvester.cli.plan import plan_table
from harvester.cli.progress import Speed, Speedometer, line, picture
from harvester.cli.screen import Screen, fraction_bar
from harvester.cli.summary import summary
from harvester.cli.sync import summary as sync_summary
from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput
from harvester.events import Counters
from harvester.plan.drift import Drift
from harvester.summary import Summary
from harvester.sync import SyncSummary

RUN = {"seconds": 2.0, "harvested": 1900, "requests": 107, "refused": 1, "retries": 0}
RUN |= {"wire_bytes": 8_000_000, "body_bytes": 35_000_000, "resumed": False}


def text(shown: RenderableType, width: int = 100) -> str:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def done(target: str = "-", **changed: Any) -> Summary:
    facts: dict[str, Any] = {
        "target": target,
        "project": "Street scenes",
        "counts": {"listed": 2000, "harvested": 1900, "unlabelled": 80, "filtered": 20, "failed": 0},
        "records": {"objects": {"seen": 40_100, "written": 38_000, "dropped": {"shape": 2100}}},
        "notes": {},
        "drift": Drift(),
        "run": RUN,
    }
    return Summary(**facts | changed)


def test_a_summary_adds_up(tmp_path: Path) -> None:
    """Outcome, rows that add up, records with what each filter dropped, requests, speed, files."""
    (tmp_path / "objects-00000.ndjson").write_bytes(b"x" * 2_000_000)
    (tmp_path / "objects-00001.ndjson").write_bytes(b"x" * 1_000_000)
    shown = text(summary(done(str(tmp_path))), 300)
    for line_ in (
        "✓ complete  Street scenes",
        "2,000 listed = 1,900 harvested + 80 unlabelled + 20 filtered + 0 failed",
        "38,000 written of 40,100 (dropped 2,100 by shape)",
        "107 · 1 refused · 0 retried",
        "2.0 s · 950 rows/s · 17.5 MB/s of labels · 8.0 MB received",
        "objects-00000.ndjson … objects-00001.ndjson  2 files, 3.0 MB",
    ):
        assert line_ in shown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"already_complete": True}, "✓ already complete"),
        ({"resumed": True}, "✓ complete, resumed"),
        ({"counts": {"listed": 2, "harvested": 1, "failed": 1}}, "✗ complete, but for 1 failed row"),
        ({"drift": Drift(edited=3, removed=1)}, "3 edited, 1 removed on the server"),
        ({"notes": {"listed_twice": 1, "stale": 1200}}, "1 listed twice, 1,200 stale"),
        ({"project": "evil\x1b[2J\u202e"}, "✓ complete  evil\n"),
    ],
)
def test_a_summary_says_how_it_went(changed: dict[str, Any], said: str) -> None:
    """Already done, resumed, failed rows, drift; and a title cannot steer the terminal."""
    assert said in text(summary(done(**changed)))


def synced(**changed: Any) -> SyncSummary:
    facts: dict[str, Any] = {
        "target": "out dir",
        "project": "Street scenes",
        "generation": 1,
        "changes": {"edited": 3},
        "counts": {"listed": 9, "harvested": 9, "failed": 0},
        "records": {},
        "notes": {},
        "drift": None,
        "run": RUN,
    }
    return SyncSummary(**facts | changed)


def test_a_sync_says_how_many_rows_failed() -> None:
    """Beside what changed; the command that asks for them again is left to the last line."""
    shown = text(sync_summary(synced(counts={"listed": 9, "harvested": 8, "failed": 1})))
    assert "✗ up to date, but for 1 failed row  Street scenes  3 edited (generation 1)" in shown
    assert "failed row" not in text(sync_summary(synced()))


def test_a_sync_that_only_lists_speaks_of_no_requests() -> None:
    """Those that list are not counted, and none would be untrue."""
    asked_for_none = synced(run={**RUN, "requests": 0, "refused": 0}, is_unchanged=True)
    assert "requests" not in text(sync_summary(asked_for_none))
    assert "requests  107 · 1 refused" in text(sync_summary(synced()))


def test_the_summary_for_machines_has_the_manifest_s_words() -> None:
    """Counts, records, notes, drift and run, and the target."""
    assert set(as_json(done())) == {"target", "counts", "records", "notes", "drift", "run"}


def test_the_progress_bar_fits_and_tells_trouble() -> None:
    """Two lines at any usual width; trouble is named only where there is some."""
    counters = Counters(listed=60_000, harvested=1700, unlabelled=62, objects=19_110)
    shown = text(picture(counters, Speed(232, 1.8e6, 251), 100))
    assert "3%" in shown
    assert "1,762 of 60,000 rows 4 min 11 s left" in shown
    assert "19,110 records · 232 rows/s · 1.8 MB/s\n" in shown
    counters.refused, counters.failed = 25, 2
    assert "· 25 refused · 2 failed" in text(picture(counters, Speed(), 100))
    assert all(len(row) <= 60 for row in text(picture(counters, Speed(232, 1.8e6, 251), 60), 60).splitlines())


def test_the_bar_keeps_to_its_line_in_a_narrow_terminal() -> None:
    """Numbers and time left stay; the unit goes."""
    first, *_ = text(
        picture(Counters(listed=4000, harvested=3204), Speed(313, 2.4e6, 2.5), 40), 40
    ).splitlines()
    assert first.split()[1:] == ["80%", "3,204", "of", "4,000", "2.5", "s", "left"]


def test_the_bar_before_the_listing_has_come() -> None:
    """Nothing is known yet, and nothing is made up."""
    assert "starting" in text(picture(Counters(), Speed(), 80))


def test_a_log_line_says_the_same() -> None:
    """For a pipe."""
    counters = Counters(listed=10, harvested=4, failed=1, objects=7)
    assert line(counters, Speed(2, 1e6, 2.5)) == {
        "rows": 5,
        "of": 10,
        "records": 7,
        "rows_per_s": 2,
        "mb_per_s": 1.0,
        "left": "2.5 s",
        "refused": 0,
        "retried": 0,
        "failed": 1,
    }


def test_the_bar_counts_rows_while_they_are_listed() -> None:
    """Without a share: nobody knows yet of how many."""
    shown = text(picture(Counters(listed=12_300, is_listing=True), Speed(), 80))
    assert "listing the rows: 12,300 so far" in shown
    assert "%" not in shown


def steady(seconds: float) -> float:
    """Rows done after that time: 232 a second, in bundles of 100."""
    return 232 * seconds // 100 * 100


def slow_start(seconds: float) -> float:
    """A rate that grows to 232 rows a second, by half of what is missing every 4 seconds."""
    return 232 * (seconds - 4 / math.log(2) * (1 - 2 ** (-seconds / 4)))


def short_pauses(seconds: float) -> float:
    """232 rows a second, but for 2 seconds of every 8, when the server asks to wait."""
    return 232 * (seconds // 8 * 6 + min(seconds % 8, 6))


@pytest.mark.parametrize("done", [steady, slow_start, short_pauses])
@pytest.mark.parametrize("total", [10_000, 100_000])
def test_the_time_left_is_right_and_does_not_swing(done: Callable[[float], float], total: int) -> None:
    """In the last two thirds of a run it is off by at most 30 %, or 5 s; before 5 s there is none."""
    ticks = [tick / 4 for tick in range(4 * total)]
    end = next(now for now in ticks if done(now) >= total)
    meter, counters = Speedometer(), Counters(listed=total)
    for now in ticks[: int(4 * end)]:
        counters.harvested = int(done(now))
        left = meter.sample(now, counters).left
        if now < 5:
            assert left is None
        elif now >= end / 3:
            assert left == pytest.approx(end - now, rel=0.3, abs=5)


def test_there_is_no_time_left_while_the_rows_are_listed() -> None:
    """The listing is no basis: neither its length nor its rows."""
    meter, counters = Speedometer(), Counters(is_listing=True)
    for second in range(60):
        counters.listed += 1000
        assert meter.sample(second, counters).left is None
    counters.is_listing = False
    for second in range(60, 90):
        counters.harvested += 600
        left = meter.sample(second, counters).left
    assert left == pytest.approx(70, rel=0.01)


def test_speed_is_of_the_last_seconds_and_not_of_what_was_resumed() -> None:
    """500 rows found done, then ten a second."""
    meter, counters = Speedometer(window=10), Counters(listed=1000, harvested=500)
    assert meter.sample(0, counters) == Speed()
    for second in range(1, 31):
        counters.harvested += 10
        speed = meter.sample(second, counters)
    assert speed.rows == 10
    assert speed.left == 20


def test_the_status_table_has_every_question() -> None:
    """Each value with its number, share and bar."""
    counts = {"rows": 4, "labelled": 3, "by_task_status": {"COMPLETED": 3, "QUEUED": 1}, "by_data_type": {}}
    shown = text(status_table(ProjectInfo("h", "Title", ""), counts))
    assert "4 label rows, 3 of them with labels" in shown
    assert "COMPLETED      3   75.0%   ██████████████████" in shown


@pytest.mark.parametrize("width", [24, 30, 40, 60, 80])
def test_a_status_keeps_its_numbers_in_a_narrow_terminal(width: int) -> None:
    """Bars go first, then the ends of names."""
    stages = {"Annotate the street scenes": 1_234_000, "Review": 500, "x" * 60: 66}
    counts = {"rows": 1_234_566, "labelled": 3, "by_stage": stages}
    rows = text(status_table(ProjectInfo("h", "Title", ""), counts), width).splitlines()
    assert all(len(row) <= width for row in rows)
    for number, share in (("1,234,000", "100.0%"), ("500", "0.0%"), ("66", "0.0%")):
        assert any(row.split()[-2:] == [number, share] or f"{number}    {share}" in row for row in rows)
    assert any("Review" in row for row in rows) == (width > 30)


def test_a_status_has_bars_where_there_is_room() -> None:
    """And is as wide in a pipe as it needs to be."""
    counts = {"rows": 4, "labelled": 3, "by_stage": {"Annotate": 4}}
    table = status_table(ProjectInfo("h", "Title", ""), counts)
    for width, bar in ((40, 9), (60, 24), (200, 24)):
        assert text(table, width).count("█") == bar
    assert "█" not in text(table, 30)


def test_projects_and_plans_are_tables() -> None:
    """Titles and hashes; what runs where."""
    assert "Title" in text(projects_table([ProjectInfo("the-hash", "Title", "2024-01-01T00:00")]))
    facts = {
        "asked_of_the_server": {"task_statuses": ("COMPLETED",)},
        "chosen_from_the_listing": {},
        "listed": 1200,
    }
    shown = text(plan_table(ProjectInfo("h", "Title", ""), facts))
    assert "1,200" in shown
    assert "task statuses" in shown
    assert "nothing" in shown


@pytest.mark.parametrize(("part", "bar"), [(0, ""), (1, "▏"), (50, "████"), (100, "████████")])
def test_a_bar_has_eighths_of_a_cell(part: int, bar: str) -> None:
    """The smallest share still shows."""
    assert fraction_bar(part, 100, 8) == bar


@pytest.mark.parametrize("wrong", [{"log_level": "loud"}, {"log_format": "xml"}])
def test_a_screen_knows_its_words(wrong: dict[str, Any]) -> None:
    """In words that list what there is."""
    with pytest.raises(BadInput):
        Screen(**wrong)
