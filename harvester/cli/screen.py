"""Output on the terminal: standard error for messages, standard output for data and tables."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from rich.console import Console, RenderableType
from rich.text import Text

from harvester import events
from harvester.cli.outputs import PLAIN
from harvester.errors import BadInput, CannotFinishNow
from harvester.output.stdout import send, standard_output

WIDEST = 500  # cells, of a table in a pipe
LEVELS = ("debug", "info", "warning", "error")


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the output: format and level."""

    json: bool = False
    quiet: bool = False
    log_level: str | None = None
    log_format: Literal["text", "json"] = "text"
    debug: bool = False

    def __post_init__(self) -> None:
        if self.log_level is not None and self.log_level not in LEVELS:
            raise BadInput(f"unknown log level {self.log_level!r}: one of {', '.join(LEVELS)}")
        if self.log_format not in ("text", "json"):
            raise BadInput(f"unknown log format {self.log_format!r}: text or json")

    def listen(self) -> Console:
        """Send log lines to standard error, and return the console that they share with all other output.

        On a terminal, next to a progress bar, only warnings are logged; in a pipe, events are, too.
        """
        console = stderr()
        level = self.log_level or ("error" if self.quiet else "warning" if self.live(console) else "info")
        events.configure(level, _ConsoleStream(console), self.log_format == "json")
        return console

    def live(self, console: Console) -> bool:
        """Return whether a progress bar can be drawn."""
        return console.is_terminal and not self.quiet and self.log_format == "text"


class _ConsoleStream:
    """A stream that writes log lines through the console, above the progress bar."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str, /) -> None:
        self._console.out(text, end="", highlight=False)

    def flush(self) -> None:
        pass


def stderr() -> Console:
    return Console(stderr=True, highlight=False)


def show(thing: RenderableType) -> None:
    """Print a table on standard output. Raises as `put_json`."""
    console = fitting(thing, Console(highlight=False))
    with console.capture() as shown:
        console.print(thing)
    # Not by the console itself, which ends the process if the reader has gone.
    send(standard_output(), shown.get().encode(console.encoding, PLAIN))


def tell(thing: RenderableType, console: Console) -> None:
    """Print on standard error. Output that cannot be written is lost."""
    fitting(thing, console).print(thing)


def fitting(thing: RenderableType, console: Console) -> Console:
    """Return a console for `thing`. In a pipe it is as wide as needed, so that no cell is cut."""
    if console.is_terminal:
        return console
    wide = console.options.update(max_width=WIDEST)
    width = max(console.width, console.measure(thing, options=wide).maximum)
    return Console(file=console.file, highlight=False, width=width)


def put_json(value: Any) -> None:
    """Print one line of JSON on standard output, in UTF-8 in every locale.

    Raises:
        BrokenPipeError: the reader has gone; the command line ends quietly on it.
        CannotFinishNow: it cannot be written, for the system's reason.
    """
    send(standard_output(), msgspec.json.encode(value) + b"\n")


def put_summary(value: Any) -> None:
    """Print the summary of finished work as JSON. If that fails, say so on standard error; never raises."""
    try:
        put_json(value)
    except BrokenPipeError:
        pass
    except CannotFinishNow as error:
        stderr().print(Text(f"harvester: the summary is lost: {error.message}"), soft_wrap=True)


def title(text: str, style: str = "") -> Text:
    """Return a title from the server without markup and terminal control codes."""
    return Text(events.printable(text), style=style, overflow="ellipsis")


def fraction_bar(part: int, whole: int, width: int) -> str:
    """Return a bar of at most `width` cells."""
    if not whole or not part:
        return ""
    eighths = max(1, round(part / whole * width * 8))
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def joined(parts: Sequence[str], style: str = "") -> Text:
    """Join short facts on one line."""
    return Text(" · ".join(part for part in parts if part), style=style)
