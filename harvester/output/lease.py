"""The lock of a target in an object store: a lease, kept in one object by conditional writes.

The owner rewrites the object every few seconds. A process that finds a lease of another owner watches the
object. If the object changes, the owner is alive, and the newcomer is refused. If it stays the same for the
length of a lease, measured by the newcomer's own clock, the owner is considered dead and the lease is taken
over. Clocks of different machines are never compared. On the owner's own machine the newcomer checks at once
whether the process is alive.

An owner that was only suspended must not continue to write after it wakes up. It therefore checks the lease
before each write, and the write itself is conditional (see `harvester.output.objectstore`), so that it cannot
overwrite an object that its successor has written.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import msgspec

from harvester.errors import BadInput, CannotFinishNow, HarvesterError, TargetRefused
from harvester.events import one_line, say
from harvester.output.holder import Holder
from harvester.output.layout import STATE
from harvester.output.store_client import ObjectChanged, Objects

if TYPE_CHECKING:
    from obstore import UpdateVersion

LOCK = f"{STATE}/lock"

LEASE = 30.0  # seconds after the last renewal, after which the owner is considered dead
_RENEWAL = 10.0  # seconds between two renewals: two may fail before the lease ends
_MARGIN = 10.0  # seconds: with less than this left, a write waits for a renewal first
_POLL = 0.5  # seconds between two looks at the lease of another owner


class _Lock(msgspec.Struct, frozen=True):
    """The content of the object. `token` is new for each owner, `beat` counts the renewals."""

    token: str
    beat: int = 0
    holder: Holder | None = None  # None: the lease is free


class Clock:
    """The time of threads that block, and so have no event loop's clock. Tests give their own."""

    def now(self) -> float:
        """Return seconds since a fixed moment."""
        return time.monotonic()  # noqa: TID251

    def pause(self, seconds: float) -> None:
        """Sleep. Raises if this thread works for a task of an event loop that has been cancelled."""
        with suppress(anyio.NoEventLoopError):
            anyio.from_thread.check_cancelled()
        threading.Event().wait(seconds)


class Lease:
    """The lease of one target, as seen by one process. `renewal`: seconds between two renewals."""

    def __init__(
        self, objects: Objects, name: str, *, clock: Clock | None = None, renewal: float = _RENEWAL
    ) -> None:
        self._clock = clock or Clock()
        self._renewal = renewal
        self._objects = objects
        self._name = one_line(name)
        self._mutex = threading.Lock()  # a thread renews the lease
        self._held: _Lock | None = None
        self._version: UpdateVersion | None = None
        self._until = 0.0
        self._lost = False
        self._for: str | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Acquire the lease, and renew it until the context is left.

        Waits for the lease of a dead owner to end.

        Raises:
            TargetRefused: another process holds the lease.
            BadInput: the store does not support conditional writes.
        """
        self._acquire()
        ended = threading.Event()
        renewal = threading.Thread(target=self._keep_renewing, args=(ended,), name="lease", daemon=True)
        renewal.start()
        try:
            self._check_conditions()
            yield
        finally:
            ended.set()
            renewal.join()
            self._release()

    def assure(self) -> None:
        """Check that this process may write now, because it holds the lease or works for the owner.

        Raises:
            TargetRefused: another process has taken over the lease.
            CannotFinishNow: the lease cannot be renewed.
        """
        if self._held is None:
            return self._assure_same_holder()
        with self._mutex:
            if not self._lost and self._clock.now() > self._until - _MARGIN:
                self._renew()
            if self._lost:
                raise TargetRefused(f"{self._name} was taken over by {self._who()}")
        return None

    def _acquire(self) -> None:
        seen, since = None, 0.0
        while True:
            found = self._objects.get(LOCK)
            lock = _parse(found[0]) if found else None
            if (
                lock is not None
                and lock.holder is not None
                and (alive := lock.holder.is_alive()) is not False
            ):
                if alive or (seen is not None and lock != seen):
                    raise TargetRefused(f"{self._name} is in use by {lock.holder}")
                if seen is None:
                    seen, since = lock, self._clock.now()
                    say("target.waiting", {"for": str(lock.holder), "seconds": LEASE})
                if self._clock.now() - since < LEASE:
                    self._clock.pause(_POLL)
                    continue
            with suppress(ObjectChanged):
                taken = _Lock(secrets.token_hex(16), 0, Holder.this_process())
                return self._write(taken, found[1] if found else None)

    def _check_conditions(self) -> None:
        try:
            self._objects.put(LOCK, b"{}", over=None)
        except ObjectChanged:
            return
        raise BadInput(f"{self._name}: its store takes no conditional writes, which an export there needs")

    def _write(self, lock: _Lock, over: "UpdateVersion | None") -> None:
        """Write the object. Raises ObjectChanged if another process has written it since version `over`."""
        data, began = msgspec.json.encode(lock), self._clock.now()
        try:
            version = self._objects.put(LOCK, data, over=over)
        except ObjectChanged:
            found = self._objects.get(LOCK)
            if found is None or found[0] != data:  # else the store repeated a request that had succeeded
                raise
            version = found[1]
        self._held, self._version, self._until, self._lost = lock, version, began + LEASE, False

    def _renew(self) -> None:
        assert self._held is not None
        try:
            self._write(msgspec.structs.replace(self._held, beat=self._held.beat + 1), self._version)
        except ObjectChanged:
            self._lost = True

    def _keep_renewing(self, ended: threading.Event) -> None:
        while not ended.wait(self._renewal):
            with self._mutex, suppress(HarvesterError):  # the next write raises it, in `assure`
                if not self._lost:
                    self._renew()

    def _release(self) -> None:
        assert self._held is not None
        lost, held = self._lost, self._held
        if not lost:
            with suppress(ObjectChanged, HarvesterError):  # then the lease ends by itself
                self._write(msgspec.structs.replace(held, beat=held.beat + 1, holder=None), self._version)
        self._held = None

    def _assure_same_holder(self) -> None:
        found = self._objects.get(LOCK)
        lock = _parse(found[0]) if found else None
        token = lock.token if lock and lock.holder else ""
        if self._for is None:
            self._for = token
        if self._for != token:
            raise TargetRefused(
                f"{self._name} is no longer in the hands of the export that this process works for"
            )

    def _who(self) -> str:
        with suppress(CannotFinishNow):
            found = self._objects.get(LOCK)
            lock = _parse(found[0]) if found else None
            if lock and lock.holder:
                return str(lock.holder)
        return "another process"


def _parse(data: bytes) -> _Lock | None:
    try:
        return msgspec.json.decode(data, type=_Lock)
    except (ValueError, RecursionError):
        return None
