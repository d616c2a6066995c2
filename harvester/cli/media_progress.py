"""How fetching media is going: a bar on a terminal, a log line every few seconds in a pipe."""

from collections import deque
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.cli import values
from harvester.cli.progress import WINDOW, TimeLeft, shown_regularly
from harvester.cli.screen import Screen, joined
from harvester.media.counters import MediaCounters


class FileSpeed(NamedTuple):
    """Over the last seconds: files and bytes a second, and seconds left if known."""

    files: float = 0.0
    bytes: float = 0.0
    left: float | None = None


class FileSpeedometer:
    """Speed from samples of the counters. Pure: the time is given."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._samples: deque[tuple[float, int, int]] = deque()
        self._time_left = TimeLeft()

    def sample(self, now: float, counters: MediaCounters) -> FileSpeed:
        """Return the speed, with the counters as they are at this time, in seconds."""
        done_now = counters.fetched + counters.failed
        self._samples.append((now, done_now, counters.received))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        then, done, received = self._samples[0]
        if now <= then:
            return FileSpeed()
        files = (done_now - done) / (now - then)
        left = self._time_left.sample(now, done_now, counters.files - counters.there)
        return FileSpeed(files, (counters.received - received) / (now - then), left)


def media_progress(
    screen: Screen, console: Console, counters: MediaCounters
) -> AbstractAsyncContextManager[None]:
    """Show `counters` for as long as the body runs."""
    speedometer = FileSpeedometer()

    def draw(now: float) -> RenderableType:
        return media_picture(counters, speedometer.sample(now, counters), console.width)

    def log(now: float) -> dict[str, object]:
        return media_line(counters, speedometer.sample(now, counters))

    return shown_regularly(screen, console, draw, log, event="media.progress")


def media_picture(counters: MediaCounters, speed: FileSpeed, width: int) -> RenderableType:
    """Two lines: a bar with files and time left, and bytes and speed."""
    total, done = counters.files, min(counters.done, counters.files)
    head = f"{done:,} of {values.show_count(total, 'file')}" if total else "reading the export"
    left = f"{values.show_duration(speed.left)} left" if speed.left is not None and total else ""
    tail = f"{done / total:.0%}" if total else ""
    room = min(40, width - len(head) - len(left) - len(tail) - 4)
    drawn = ProgressBar(total=total or None, completed=done, width=room, pulse=not total)
    bar = Table.grid(padding=(0, 1), expand=False)
    if room < 10 and total:  # on a narrow terminal, the numbers take the room of the bar
        head = head.rpartition(" ")[0]
    bar.add_row(*[drawn] * (room >= 10), Text(tail, style="bold"), head, Text(left, style="dim"))
    facts = joined(
        [
            values.show_bytes(counters.received),
            f"{speed.files:,.0f} files/s",
            f"{speed.bytes / 1e6:.1f} MB/s",
        ],
        "dim",
    )
    trouble = [
        f"{number:,} {what}"
        for number, what in ((counters.retries, "retried"), (counters.failed, "failed"))
        if number
    ]
    if trouble:
        facts.append(" · " + " · ".join(trouble), style="yellow")
    return Group(bar, facts)


def media_line(counters: MediaCounters, speed: FileSpeed) -> dict[str, object]:
    """The same for a log line."""
    return {
        "files": counters.done,
        "of": counters.files,
        "mb": round(counters.received / 1e6, 1),
        "mb_per_s": round(speed.bytes / 1e6, 2),
        "left": values.show_duration(speed.left) if speed.left is not None else None,
        "retried": counters.retries,
        "failed": counters.failed,
    }
