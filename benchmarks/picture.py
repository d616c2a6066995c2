"""Draw the terminal picture of the README: an export that is killed and goes on, and a sync.

``python -m benchmarks.picture``, or ``make picture``, runs the installed command against a simulated project
in a pseudo-terminal, and writes its final screen to ``docs/export.svg``.
"""

import fcntl
import io
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from harvester.simulator import Faults, Simulator, WorldSpec

PICTURE = Path(__file__).parents[1] / "docs" / "export.svg"
HARVESTER = Path(sys.executable).with_name("harvester")
TITLE = "Street scenes"
WIDTH = 104  # columns
ROWS = 20_000
KILL_AT = 40  # percent of the rows
THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [
        (72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65),
        (121, 192, 255), (210, 168, 255), (86, 212, 221), (177, 186, 196),
    ],
    [
        (72, 79, 88), (45, 190, 165), (86, 211, 100), (227, 179, 65),
        (165, 214, 255), (226, 197, 255), (179, 240, 255), (240, 246, 252),
    ],
)  # fmt: skip

# Pictures in a page load no fonts from elsewhere; the reader's own monospace font takes their place.
_FONT_FILES = re.compile(r"\s*@font-face \{.*?\}", re.S)
_STEP = re.compile(r"(\n|\r|\x1b\[1A|\x1b\[2K|\x1b\[\?25[lh])")
_PERCENT = re.compile(r"(\d+)%")


def main() -> None:
    """Run the three commands and write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Simulator(WorldSpec(rows=ROWS, title=TITLE), Faults(latency=0.15)) as simulator,
    ):
        environment = os.environ | {
            "ENCORD_SSH_KEY_FILE": str(simulator.ssh_key_file),
            "ENCORD_DOMAIN": simulator.url,
            "REQUESTS_CA_BUNDLE": str(simulator.ca_file),
            "TERM": "xterm-256color",
            "COLUMNS": str(WIDTH),
        }
        for command, kill_at in (
            (f"harvester export {shlex.quote(TITLE)} -o out", KILL_AT),
            (f"harvester export {shlex.quote(TITLE)} -o out", None),
            ("harvester sync out", None),
        ):
            console.print(Text.assemble(("$ ", "bright_green"), (command, "bold")))
            for line in play(command, Path(folder), environment, kill_at):
                console.print(Text.from_ansi(line), no_wrap=True, crop=True)
            if kill_at is not None:
                console.print("Killed")  # the shell says so
            else:
                simulator.edit(random=25, added=3)
            console.print()
    svg = _FONT_FILES.sub("", console.export_svg(title="harvester", theme=THEME, unique_id="export"))
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


def play(command: str, folder: Path, environment: dict[str, str], kill_at: int | None) -> list[str]:
    """Run `command` in a pseudo-terminal and return its final screen: lines with their colours.

    Kill it with SIGKILL as soon as its progress bar says `kill_at` percent.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    _, *arguments = shlex.split(command)
    process = subprocess.Popen(
        [HARVESTER, *arguments], cwd=folder, env=environment, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    written = b""
    while chunk := _read(ours):
        written += chunk
        shares = _PERCENT.findall(chunk.decode(errors="replace"))
        if kill_at is not None and shares and int(shares[-1]) >= kill_at:
            process.send_signal(signal.SIGKILL)
            kill_at = None
    process.wait()
    os.close(ours)
    return screen(written.decode(errors="replace"))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows after `written`.

    Of all control sequences only those that rich's progress bar uses are understood: cursor up, erase line.
    """
    lines, at = [""], 0
    for step in _STEP.split(written):
        match step:
            case "\n":
                at += 1
                if at == len(lines):
                    lines.append("")
            case "\x1b[1A":
                at -= 1
            case "\x1b[2K":
                lines[at] = ""
            case "\r" | "\x1b[?25l" | "\x1b[?25h":
                pass
            case text:
                lines[at] += text
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


if __name__ == "__main__":
    main()
