"""The installed command and the simulator, in processes forked from one that has imported all of it.

Importing the SDK takes a second of CPU, and the tests run the command some hundred times; a simulator takes a
third of a second, and they start some fifty. What is forked is a process of its own as well, with its own
environment, output and exit code: it lacks only an interpreter's start. Tests of that, of signals and of
memory start the installed command.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from io import TextIOWrapper
from itertools import count
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock
from typing import cast

from harvester import cli
from harvester.simulator.process import SECONDS_TO_END, Interpreter, Started
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
    "harvester.simulator.__main__",
)
INTERPRETERS = 3  # simulators that cost as much as the imports of the process to fork from

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([__name__, *IMPORTED])
_LOCK = Lock()  # for what looks at all processes, of other threads too
_WORTHWHILE = Event()  # the process to fork from is there, or soon pays
_SIMULATORS = count(1)


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
        _WORTHWHILE.set()
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


class ForkedSimulator:
    """A simulator's process, without an interpreter's start."""

    def __init__(self, options: bytes) -> None:
        source, self._input = _FORKED.Pipe(duplex=False)
        self._output, sink = _FORKED.Pipe(duplex=False)
        self._process = _FORKED.Process(target=_serve, args=(source, sink))
        with _LOCK:
            self._process.start()
        source.close()
        sink.close()
        os.write(self._input.fileno(), options)

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def first_line(self) -> bytes:
        with open(self._output.fileno(), "rb", closefd=False) as output:
            return output.readline()

    def end(self) -> None:
        self._input.close()
        self._output.close()
        wait([self._process.sentinel], SECONDS_TO_END)
        with _LOCK:
            ended = self._process.exitcode is not None
        if not ended:
            self._process.kill()
            self._process.join()


def _serve(source: Connection, sink: Connection) -> None:
    from harvester.simulator.__main__ import run

    with (
        open(source.fileno(), "rb", closefd=False) as options,
        open(sink.fileno(), "wb", closefd=False) as out,
    ):
        run(options, out)


def start_simulator(options: bytes) -> Started:
    """Fork a simulator; the first few are new interpreters, unless there is something to fork from."""
    if next(_SIMULATORS) > INTERPRETERS:
        _WORTHWHILE.set()
    return ForkedSimulator(options) if _WORTHWHILE.is_set() else Interpreter(options)
