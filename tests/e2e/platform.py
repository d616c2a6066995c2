"""The installed command on a simulator that misbehaves: what it did and said, what the server counted."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.simulator import Faults, Simulator
from tests.e2e.conftest import command_for, parts, wait_for
from tests.forked import ForkedCommand

PROJECT = "Demo street scenes"
SMALL = ("--bundle-size", "4", "--concurrency", "8", "--rows-per-part", "20")


@dataclass(frozen=True)
class Ended:
    """How an export ended, and what the server counted meanwhile."""

    code: int
    said: str
    counts: dict[str, int]
    parts: dict[str, bytes]
    stats: dict[str, Any]

    @property
    def failed(self) -> dict[str, dict[str, Any]]:
        """The failed rows, by the number in their title."""
        lines = b"".join(lines for name, lines in self.parts.items() if name.startswith("failed-"))
        rows = [json.loads(line) for line in lines.splitlines()]
        return {row["data_title"].rpartition("_")[2].partition(".")[0]: row for row in rows}

    def kept(self, kind: str = "objects") -> bytes:
        return b"".join(lines for name, lines in self.parts.items() if name.startswith(kind))


class Platform:
    """A simulator, and the installed command that exports from it while something is the matter."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.command = command_for(simulator)

    def export(
        self,
        target: Path,
        *flags: str,
        faults: Faults | None = None,
        variables: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> Ended:
        """Exports with `faults` and `changes` to them, and `variables` in the environment."""
        self.simulator.set_faults(faults, **changes)
        before = self.simulator.stats()
        done = self.command("export", PROJECT, "-o", target, "--json", *flags, **(variables or {}))
        summary = json.loads(done.stdout) if done.stdout else {"counts": {}}
        assert "Traceback" not in done.stderr
        return Ended(
            done.returncode,
            done.stderr,
            summary["counts"],
            parts(target),
            since(before, self.simulator.stats()),
        )

    def start(self, target: Path, *flags: str) -> ForkedCommand:
        """An export under way: a part is committed, and other answers wait until other faults are set."""
        # Three parts of twenty rows are open: after 57 rows one of them is complete.
        self.simulator.set_faults(hold_after=70)
        running = self.command.start("export", PROJECT, "-o", target, *flags, stderr=subprocess.PIPE)
        wait_for(running, lambda: any(target.glob(".harvester/commits/*.json")))
        return running


def since(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was counted between two snapshots."""
    return {
        name: since(before[name], value) if isinstance(value, dict) else value - before.get(name, 0)
        for name, value in after.items()
        if name in before or not isinstance(value, dict)
    }
