"""The progress of an export: a bar on a terminal, a log line every few seconds in a pipe."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester import events
from harvester.cli import values
from harvester.cli.screen import Screen, joined
from harvester.events import Counters

TICK = 0.25  # seconds between two redraws of the bar
LINE = 5.0  # seconds between two log lines
WINDOW = 10.0  # seconds over which speed is measured
BASIS = 5.0  # seconds of work before the time left is estimated
NARROW = 50  # columns: below, no unit stands behind the numbers
MARKS = 50  # in the window of the estimate: bounds the memory of a long run


class Speed(NamedTuple):
    """Rows and bytes of label JSON per second over the last `WINDOW`, and the seconds left if known."""

    rows: float = 0.0
    bytes: float = 0.0
    left: float | None = None


class Speedometer:
    """Measures speed from samples of the counters. Pure: the time is an argument.

    Rows that a resumed export finds done are in its first sample and so do not count as speed.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._samples: deque[tuple[float, int, int]] = deque()
        self._time_left = TimeLeft()

    def sample(self, now: float, counters: Counters) -> Speed:
        self._samples.append((now, counters.done, counters.body_bytes))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        then, done, body = self._samples[0]
        if now <= then:
            return Speed()
        rows = (counters.done - done) / (now - then)
        left = None if counters.is_listing else self._time_left.sample(now, counters.done, counters.listed)
        return Speed(rows, (counters.body_bytes - body) / (now - then), left)


class TimeLeft:
    """Estimates the time left from the rate over the last half of the run, and at least over `WINDOW`.

    A window that grows with the run forgets a slow start, and does not swing with each pause that the
    server asks for. Pure: the time is an argument.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()  # time and number done, oldest first
        self._began: float | None = None

    def sample(self, now: float, done: int, total: int) -> float | None:
        """Return the seconds until `total` are done, None while there is no basis for an estimate."""
        if not total:
            return None
        if self._began is None:
            self._began = now
        elapsed = now - self._began
        if not self._marks or now - self._marks[-1][0] >= elapsed / 2 / MARKS:
            self._marks.append((now, done))
        while len(self._marks) > 1 and now - self._marks[1][0] >= max(WINDOW, elapsed / 2):
            self._marks.popleft()
        then, done_then = self._marks[0]
        if elapsed < BASIS or done == done_then:
            return None
        return (total - done) * (now - then) / (done - done_then)


def progress(
    screen: Screen, console: Console, counters: Counters, *, verb: str = "export"
) -> AbstractAsyncContextManager[None]:
    """Show `counters` for as long as the body runs. Log lines are events named after `verb`."""
    speedometer = Speedometer()

    def draw(now: float) -> RenderableType:
        return picture(counters, speedometer.sample(now, counters), console.width)

    def log(now: float) -> dict[str, object]:
        facts = line(counters, speedometer.sample(now, counters))
        if verb in _OFFLINE:
            facts = {name: fact for name, fact in facts.items() if name not in _OF_REQUESTS}
        return facts

    return shown_regularly(screen, console, draw, log, event=f"{verb}.progress")


@asynccontextmanager
async def shown_regularly(
    screen: Screen,
    console: Console,
    draw: Callable[[float], RenderableType],
    log: Callable[[float], dict[str, object]],
    *,
    event: str,
) -> AsyncIterator[None]:
    """Show what `draw` returns on a terminal, and log what `log` returns in a pipe, while the body runs.

    Both get the time in seconds.
    """
    async with anyio.create_task_group() as tasks:
        if screen.live(console):
            tasks.start_soon(_draw, console, draw)
        else:
            tasks.start_soon(_log, event, log)
        yield
        tasks.cancel_scope.cancel()


async def _draw(console: Console, draw: Callable[[float], RenderableType]) -> None:
    # Drawn by this task and not by rich's own thread, so that all numbers are of the same moment.
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            live.update(draw(anyio.current_time()), refresh=True)
            await anyio.sleep(TICK)


async def _log(event: str, log: Callable[[float], dict[str, object]]) -> None:
    log(anyio.current_time())  # speed is measured from here
    while True:
        await anyio.sleep(LINE)
        events.say(event, log(anyio.current_time()))


def picture(counters: Counters, speed: Speed, width: int) -> RenderableType:
    """Return two lines: a bar with rows and time left; records, speed and failures."""
    total = counters.listed
    bar = Table.grid(padding=(0, 1), expand=False)
    if counters.is_listing:
        total, head = 0, "listing the rows" + (f": {counters.listed:,} so far" if counters.listed else "")
    else:
        unit = " rows" if width >= NARROW else ""
        head = f"{counters.done:,} of {total:,}{unit}" if total else "starting"
    left = f"{values.show_duration(speed.left)} left" if speed.left is not None and total else ""
    tail = f"{counters.done / total:.0%}" if total else ""
    room = max(10, min(40, width - len(head) - len(left) - len(tail) - 4))
    bar.add_row(
        ProgressBar(total=total or None, completed=counters.done, width=room, pulse=not total),
        Text(tail, style="bold"),
        head,
        Text(left, style="dim"),
    )
    trouble = [
        f"{number:,} {what}"
        for number, what in (
            (counters.refused, "refused"),
            (counters.retries, "retried"),
            (counters.failed, "failed"),
        )
        if number
    ]
    facts = joined(
        [
            values.show_count(counters.objects + counters.classifications + counters.rows, "record"),
            f"{speed.rows:,.0f} rows/s",
            f"{speed.bytes / 1e6:.1f} MB/s" if speed.bytes or counters.requests else "",
        ],
        "dim",
    )
    if trouble:
        facts.append(" · " + " · ".join(trouble), style="yellow")
    return Group(bar, facts)


_OFFLINE = ("convert", "compact")  # verbs that make no request, and the facts that only requests have
_OF_REQUESTS = ("mb_per_s", "refused", "retried")


def line(counters: Counters, speed: Speed) -> dict[str, object]:
    """Return the same facts for a log line."""
    return {
        "rows": counters.done,
        "of": counters.listed,
        "records": counters.objects + counters.classifications + counters.rows,
        "rows_per_s": round(speed.rows, 1),
        "mb_per_s": round(speed.bytes / 1e6, 2),
        "left": values.show_duration(speed.left) if speed.left is not None else None,
        "refused": counters.refused,
        "retried": counters.retries,
        "failed": counters.failed,
    }
