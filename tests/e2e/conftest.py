"""The installed command against the simulator over TLS."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.forked import HARVESTER, ForkedCommand, run_forked
from tests.output.stores import S3, s3_server
from tests.patience import LONG


@dataclass(frozen=True)
class Command:
    """The command, as a user of one simulator runs it: forked or installed, to its end or under way."""

    environment: dict[str, str]

    def __call__(
        self, *arguments: str | Path, timeout: float = LONG, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return run_forked(*arguments, environment=self.environment | variables, timeout=timeout)

    def installed(
        self, *arguments: str | Path, timeout: float = LONG, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HARVESTER, *map(str, arguments)],
            cwd=cwd,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str | Path, **options: Any) -> ForkedCommand:
        """Start it forked; options are those of `ForkedCommand`."""
        return ForkedCommand(*arguments, environment=self.environment, **options)

    def start_installed(self, *arguments: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
        """Start the installed one; options are those of `subprocess.Popen`."""
        return subprocess.Popen([HARVESTER, *map(str, arguments)], env=self.environment, **options)

    def export(self, target: Path, *arguments: str) -> dict[str, Any]:
        """Exports into `target` and gives the summary line."""
        done = self("export", *arguments, "-o", target, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]


def command_for(simulator: Simulator) -> Command:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "ENCORD_"))
    }
    return Command(
        environment
        | {
            "ENCORD_SSH_KEY_FILE": str(simulator.ssh_key_file),
            "ENCORD_DOMAIN": simulator.url,
            "REQUESTS_CA_BUNDLE": str(simulator.ca_file),
        }
    )


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """3,000 data units of all types, served over TLS by another process."""
    with Simulator(WorldSpec(rows=3000)) as running:
        yield running


@pytest.fixture(scope="session")
def harvester(simulator: Simulator) -> Command:
    return command_for(simulator)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as running:
        yield running


def wait_for(running: "ForkedCommand | subprocess.Popen[bytes]", condition: Callable[[], bool]) -> None:
    """Waits until `condition` holds of what `running` is doing."""
    while not condition():
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.01)
            assert condition(), "it ended too soon"


def children_of(process: int) -> list[int]:
    """Return the processes that any thread of a process has started."""
    found = list[int]()
    for thread in Path(f"/proc/{process}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


def parts(target: Path) -> dict[str, bytes]:
    """The bytes of every part in `target` by name."""
    return {path.name: path.read_bytes() for path in sorted(target.glob("*-*.ndjson"))}
