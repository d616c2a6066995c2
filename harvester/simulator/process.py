"""Runs the simulator in a process of its own, for tests, benchmarks and the demo."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import msgspec
import urllib3

from harvester.process import worker_command
from harvester.simulator.faults import Faults
from harvester.simulator.server import Listening, Options
from harvester.simulator.spec import WorldSpec

SECONDS_TO_END = 5


class Started(Protocol):
    """A process that runs `harvester.simulator.__main__.run`."""

    @property
    def pid(self) -> int: ...

    def first_line(self) -> bytes:
        """Wait for the line that says how to reach the server; empty if it did not start."""

    def end(self) -> None:
        """End its input, and wait until the process has ended; kill it after a few seconds."""


class Interpreter:
    """A new interpreter.

    Args:
        options: the line that it reads.
    """

    def __init__(self, options: bytes) -> None:
        self._process = subprocess.Popen(
            worker_command("harvester.simulator.__main__"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._process.stdin.write(options)
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def first_line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Simulator:
    """A simulated Encord API on loopback, in a process of its own. A context manager.

    `url`, `media_url` (where signed URLs lead), `ssh_key_file`, `ca_file` (None without TLS), `token_file`,
    `project_hash`, `project_title` and `rows` are there once it runs. Key and certificates are made for it
    and removed with it. `start_process` starts its process, given the line that it reads.

    Args:
        spec: what the project is.
        faults: what goes wrong from the start.
        tls: https, with a certificate of its own authority; else http.
        port: 0 is any free one.
        directory: where key and certificates are written and kept.
        edit_every: seconds between two random edits (`World.edit_at_random`).
    """

    start_process: ClassVar[Callable[[bytes], Started]] = Interpreter

    url: str
    ssh_key_file: Path
    ca_file: Path | None
    token_file: Path
    media_url: str
    project_hash: str
    project_title: str
    rows: int

    def __init__(
        self,
        spec: WorldSpec | None = None,
        faults: Faults | None = None,
        *,
        tls: bool = True,
        port: int = 0,
        directory: Path | None = None,
        edit_every: float | None = None,
    ) -> None:
        self._options = Options(
            spec=spec or WorldSpec(),
            faults=faults or Faults(),
            tls=tls,
            port=port,
            directory=str(directory) if directory else None,
            edit_every=edit_every,
        )

    def start(self) -> Self:
        """Start the process and wait until it listens.

        Raises:
            RuntimeError: it did not start; the reason is on standard error.
        """
        self._process = type(self).start_process(msgspec.json.encode(self._options) + b"\n")
        line = self._process.first_line()
        if not line:
            self.stop()
            raise RuntimeError("the simulator did not start")
        told = msgspec.json.decode(line, type=Listening)
        self.url, self.media_url, self.rows = told.url, told.media_url, told.rows
        self.project_hash, self.project_title = told.project_hash, told.project_title
        self.ssh_key_file, self.token_file = Path(told.ssh_key_file), Path(told.token_file)
        self.ca_file = Path(told.ca_file) if told.ca_file else None
        self._http = urllib3.PoolManager(ca_certs=told.ca_file, retries=False)
        return self

    def stop(self) -> None:
        """End the process and remove what it wrote to a temporary directory."""
        self._process.end()
        if hasattr(self, "_http"):
            self._http.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process id, to measure the process by."""
        return self._process.pid

    def stats(self) -> dict[str, Any]:
        """Return the counts since the start, as `Stats` has them."""
        counts: dict[str, Any] = self._control("GET", "stats")
        return counts

    def set_faults(self, faults: Faults | None = None, /, **changes: Any) -> None:
        """Replace the faults; by default, by none.

        Raises:
            ValueError: they contradict one another.
        """
        self._control("POST", "faults", msgspec.structs.replace(faults or Faults(), **changes))

    def edit(self, **changes: Any) -> dict[str, Any]:
        """Edit the project while clients read it; arguments as of `Edits`.

        Returns what was changed, as `Edited` has it.

        Raises:
            ValueError: the edits are invalid; nothing was changed.
        """
        edited: dict[str, Any] = self._control("POST", "edit", changes)
        return edited

    def _control(self, method: str, name: str, body: object = None) -> Any:
        sent = msgspec.json.encode(body) if body is not None else None
        answer = self._http.request(method, f"{self.url}/_simulator/{name}", body=sent)
        told = msgspec.json.decode(answer.data)
        if answer.status != 200:
            raise ValueError(told["message"])
        return told
