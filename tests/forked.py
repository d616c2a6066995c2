"""The installed command and the simulator, in processes forked from one that has imported all of it.

Importing the SDK takes a second of CPU, and the tests run the command some hundred times; a simulator takes a
third of a second, and they start some fifty. What is forked is a process of its own as well, with its own
environment, output, signals and exit code: it lacks only an interpreter's start. Tests of that and of memory
start the installed command, and one test of each signal.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from multiprocessing.connection import Connection, wait
from pathlib import Path
from pkgutil import resolve_name
from runpy import run_path
from tempfile import TemporaryFile
from threading import Event, Lock, Thread
from typing import IO, Self

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


class ForkedCommand:
    """A command line under way, with what tests use of `subprocess.Popen`.

    Of the variables that the interpreter reads as it starts PYTHONPATH has an effect, by modules and a
    `sitecustomize.py`, and PYTHONIOENCODING; no other has. It has no standard input.
    """

    def __init__(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str],
        folder: Path | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        umask: int = -1,
        main: str = "harvester.cli:main",
    ) -> None:
        """Fork it.

        Args:
            folder: the one it works in; this process's by default.
            stdout: a file or its descriptor, `subprocess.PIPE` or `subprocess.DEVNULL`; this process's own by
                default. `stderr` alike.
            umask: -1 is that of the process that is forked from.
            main: the function that it calls.
        """
        self.args = [str(HARVESTER), *map(str, arguments)]
        self.stdout, out = _piped(1 if stdout is None else stdout)
        self.stderr, err = _piped(2 if stderr is None else stderr)
        with out, err:
            self._process = _FORKED.Process(
                target=_become,
                args=(self.args, dict(environment), folder or Path.cwd(), (out, err), umask, main),
                daemon=True,  # if a test fails while it runs, it ends with this process
            )
            with _LOCK:
                self._process.start()
        _WORTHWHILE.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self.wait()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def sentinel(self) -> int:
        """What is ready to be read, for `multiprocessing.connection.wait`, once it has ended."""
        return self._process.sentinel

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with _LOCK:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        wait([self.sentinel], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Read its pipes to their ends, and wait for it; raise TimeoutExpired as `wait` does."""
        read = [b"", b""]

        def drain(at: int, pipe: IO[bytes]) -> None:
            read[at] = pipe.read()

        pipes = [(at, pipe) for at, pipe in enumerate((self.stdout, self.stderr)) if pipe]
        threads = [Thread(target=drain, args=pair, daemon=True) for pair in pipes]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join()
        self._close()
        return read[0], read[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        for pipe in (self.stdout, self.stderr):
            if pipe:
                pipe.close()


def _piped(wanted: int | IO[bytes]) -> tuple[IO[bytes] | None, Connection]:
    """Return this process's end of a pipe, if one is wanted, and what the command writes to."""
    if wanted == subprocess.PIPE:
        ours, theirs = os.pipe()
        return open(ours, "rb"), Connection(theirs)
    if wanted == subprocess.DEVNULL:
        return None, Connection(os.open(os.devnull, os.O_RDWR))
    return None, Connection(os.dup(wanted if isinstance(wanted, int) else wanted.fileno()))


def run_forked(
    *arguments: str | Path,
    environment: Mapping[str, str],
    folder: Path | None = None,
    timeout: float = LONG,
) -> subprocess.CompletedProcess[str]:
    """Run one command line in `folder`, as `subprocess.run` would."""
    with TemporaryFile() as out, TemporaryFile() as err:
        running = ForkedCommand(*arguments, environment=environment, folder=folder, stdout=out, stderr=err)
        try:
            code = running.wait(timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(
            running.args, code, out.read().decode(), err.read().decode(errors="backslashreplace")
        )


def _become(
    argv: list[str],
    environment: dict[str, str],
    folder: Path,
    output: tuple[Connection, Connection],
    umask: int,
    main: str,
) -> None:
    """Become the process of a command line."""
    if umask != -1:
        os.umask(umask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for number, stream in enumerate(output, start=1):
        os.dup2(stream.fileno(), number)
        stream.close()
    # Not reconfigured: those that are there know whether they can seek, of another file.
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    for path in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        sys.path.append(path)
        if (customised := Path(path, "sitecustomize.py")).exists():
            run_path(str(customised))
    tempfile.tempdir = None  # it is found anew, in this environment
    sys.argv = argv
    sys.exit(resolve_name(main)())


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
