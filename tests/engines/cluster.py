"""A Dask cluster on loopback: `dask scheduler` and `dask worker`, each a process of its own."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.forked import ForkedCommand


class Cluster:
    """On loopback. A context manager; leaving it ends all of it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**environment, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}
        self._file = folder / "scheduler.json"
        self.workers: list[ForkedCommand] = []

    def __enter__(self) -> "Cluster":
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", self._file
        )
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()

    @property
    def address(self) -> str:
        """The scheduler's, once it has said so."""
        while not (text := self._said()):
            try:
                self.scheduler.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(self.logs())
        return str(json.loads(text)["address"])

    def add_worker(self, **environment: str) -> None:
        """Starts a worker with two threads."""
        name = f"worker-{len(self.workers)}"
        options = ("--no-nanny", "--nthreads", "2", "--host", "127.0.0.1", "--name", name)
        folder = ("--local-directory", self._folder / name)
        started = self._start("worker", self.address, *options, *folder, name=name, **environment)
        self.workers.append(started)

    def logs(self) -> str:
        """All that its processes have said."""
        return "".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def _said(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    def _start(
        self, what: str, *options: str | Path, name: str | None = None, **environment: str
    ) -> ForkedCommand:
        with (self._folder / f"{name or what}.log").open("wb") as log:
            return ForkedCommand(
                what,
                *options,
                "--no-dashboard",
                environment={**self._environment, **environment},
                folder=self._folder,
                stdout=log,
                stderr=log,
                main="dask.__main__:main",
            )
