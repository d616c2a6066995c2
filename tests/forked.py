"""The installed command, and the same in a process forked from one that has imported all of it.

Importing the SDK takes a second of CPU, and the tests run the command some hundred times. What is forked is
a process of its own as well, with its own environment, output and exit code: it lacks only an interpreter's
start. Tests of that, of signals and of memory start the installed command.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from io import TextIOWrapper
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import cast

from harvester import cli
from tests.patience import LONG

HARVESTER = Path(sys.executable).with_name("harvester")

# What the verbs import when they are called.
IMPORTED = (
    *(f"harvester.cli.{module}" for module in cli.VERBS.values()),
    "harvester.encord.session",
    "harvester.encord.transport",
    "harvester.output.objectstore",
    "harvester.output.verify",
    "harvester.forecast.forecast",
    "harvester.sync",
    "anyio._backends._asyncio",
    "obstore.store",
    "rich.traceback",
    "structlog.dev",
)

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([__name__, *IMPORTED])
_LOCK = Lock()  # for what looks at all processes, of other threads too


def run_forked(
    *arguments: str | Path,
    environment: Mapping[str, str],
    folder: Path | None = None,
    timeout: float = LONG,
) -> subprocess.CompletedProcess[str]:
    """Run one command line in `folder`, as `subprocess.run` would.

    Variables that the interpreter reads as it starts have no effect.
    """
    argv = [str(HARVESTER), *map(str, arguments)]
    with TemporaryDirectory() as written:
        out, err = (Path(written, name) for name in ("out", "err"))
        out.touch()
        err.touch()
        process = _FORKED.Process(
            target=_become, args=(argv, dict(environment), folder or Path.cwd(), (out, err))
        )
        with _LOCK:
            process.start()
        wait([process.sentinel], timeout)
        with _LOCK:
            code = process.exitcode
        if code is None:
            process.kill()
            raise subprocess.TimeoutExpired(argv, timeout, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(argv, code, out.read_text("utf-8"), err.read_text("utf-8"))


def _become(argv: list[str], environment: dict[str, str], folder: Path, output: tuple[Path, Path]) -> None:
    """Become the process of a command line, which writes its output to two files."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None  # it is found anew, in this environment
    for number, path in enumerate(output, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    cast(TextIOWrapper, sys.stdout).reconfigure(encoding="utf-8", line_buffering=False)
    cast(TextIOWrapper, sys.stderr).reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.argv = argv
    sys.exit(cli.main())
