"""The process that holds the lock of a target: named in messages, and checked for being alive."""

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
    """A process that holds a lock.

    On Linux `machine` and `started` identify it even if its process number is used again. Elsewhere they are
    empty.
    """

    pid: int
    host: str
    since: str
    command: str
    machine: str = ""
    started: str = ""

    @classmethod
    def this_process(cls) -> "Holder":
        """Return a description of the current process."""
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
        """Return whether the process runs, or None if that cannot be seen from this machine."""
        if not self.machine or self.machine != _machine():
            return None
        return self.started == _started(self.pid)


def _machine() -> str:
    """Return an id of this boot of this machine and of its process namespace, or "" if it is unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot, or "" if it does not exist or is a zombie."""
    try:
        # proc(5): the name is in parentheses and may hold any character; of the fields after it, the first
        # is the state and the 20th the start time.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
