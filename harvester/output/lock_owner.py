"""The process that holds the lock of a target: named in messages, and checked for being alive."""

import os
import shlex
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harvester.events import one_line

_PROC = Path("/proc")


class LockOwner(msgspec.Struct, frozen=True):
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
    def this_process(cls) -> "LockOwner":
        """Return a description of the current process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=one_line(shlex.join(sys.argv), limit=300),
            machine=_machine(_PROC),
            started=_started(_PROC, os.getpid()) or "",
        )

    def __str__(self) -> str:
        return one_line(f"process {self.pid} on {self.host} since {self.since}: {self.command}")

    def is_alive(
        self, proc: Path = _PROC, send_signal: Callable[[int, int], object] = os.kill
    ) -> bool | None:
        """Return whether the process runs, or None if that cannot be seen from this machine.

        Where `proc` hides the processes of other users (proc(5), ``hidepid``), `send_signal` tells whether
        there is one with that number. It is then taken for the holder.
        """
        if not self.started or not self.machine or self.machine != _machine(proc):
            return None
        if (started := _started(proc, self.pid)) is not None:
            return started == self.started
        try:
            send_signal(self.pid, 0)  # kill(2): signal 0 only checks
        except PermissionError:
            return True
        except (ProcessLookupError, OverflowError):
            return False
        return None


def _machine(proc: Path) -> str:
    """Return an id of this boot of this machine and of its process namespace, or "" if it is unknown."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(proc / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(proc: Path, pid: int) -> str | None:
    """Return when a process started, in ticks since boot, "" for a zombie, or None if it is not shown."""
    try:
        # proc(5): the name is in parentheses and may hold any character; of the fields after it, the first
        # is the state and the 20th the start time.
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None
