"""Who holds the lock of a target: for the message to whoever comes second, and to see if it still lives."""

import os
import shlex
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harvester.events import one_line

_PROC = Path("/proc")


class Holder(msgspec.Struct, frozen=True):
    """A process. `machine` and `started` tell it from any other, where the system says so (Linux)."""

    pid: int
    host: str
    since: str
    command: str
    machine: str = ""
    started: str = ""

    @classmethod
    def this_process(cls) -> "Holder":
        """The process that asks."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=one_line(shlex.join(sys.argv), limit=300),
            machine=_machine(),
            started=_started(os.getpid()),
        )

    def __str__(self) -> str:
        return one_line(f"process {self.pid} on {self.host} since {self.since}: {self.command}")

    def is_alive(self) -> bool | None:
        """Whether the process runs; None where that cannot be seen from here."""
        if not self.machine or self.machine != _machine():
            return None
        return self.started == _started(self.pid)


def _machine() -> str:
    """This boot of this machine, and the space in which its process numbers count; empty if unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; empty if there is none, or only its corpse."""
    try:
        # After the name, which may hold anything, in parentheses: state, ..., start as the 20th.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
