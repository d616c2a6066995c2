"""The lock of a target in an object store: a lease, kept in one object by conditional writes.

The owner rewrites the object every few seconds. A process that finds a lease of another owner watches the
object. If the object changes, the owner is alive, and the newcomer is refused. If it stays the same for the
length of a lease, measured by the newcomer's own clock, the owner is considered dead and the lease is taken
over. Clocks of different machines are never compared. On the owner's own machine the newcomer checks at once
whether the process is alive.

An owner that was only suspended must not continue to write after it wakes up. It therefore checks the lease
before each write, and the write itself is conditional (see `harvester.output.objectstore`), so that it cannot
overwrite an object that its successor has written. The thread that renews the lease reports its loss, which
ends the run.

Each time that the lease is taken it gets a new token. The processes that work for its owner get the token
with their work, and write only while the lease has that token.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from harvester.errors import BadInput, HarvesterError, StoreAway, TargetRefused
from harvester.events import one_line, say
from harvester.output.layout import STATE
from harvester.output.lock_owner import LockOwner
from harvester.output.outages import Clock, Outages
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
    owner: LockOwner | None = None  # None: the lease is free


OnLost = Callable[[TargetRefused], None]


def nobody_to_tell(error: TargetRefused) -> None:
    """Do nothing about a lease that is lost: the next write raises the error."""


class Lease:
    """The lease of one target, as seen by one process.

    Args:
        token: of the owner that this process works for. "": for none; it may write while the lease is free.
        renewal: seconds between two renewals.

    Attributes:
        token: of the owner, which is this process once it holds the lease.
        outages: those of the store, which its target waits out.
    """

    def __init__(
        self,
        objects: Objects,
        name: str,
        token: str = "",
        *,
        clock: Clock | None = None,
        renewal: float = _RENEWAL,
    ) -> None:
        # Who has a token works for a process that the store has answered.
        self.outages = Outages(one_line(name), clock=clock, answered=bool(token))
        self._clock = self.outages.clock
        self._renewal = renewal
        self._objects = objects
        self._name = one_line(name)
        self._mutex = threading.Lock()  # a thread renews the lease
        self._held: _Lock | None = None
        self._version: UpdateVersion | None = None
        self._until = 0.0
        self._lost = False
        self._released = False
        self.token = token

    @contextmanager
    def hold(self, on_lost: OnLost) -> Iterator[None]:
        """Acquire the lease, and renew it until the context is left.

        Waits for the lease of a dead owner to end. After an outage of the store it watches that lease anew:
        meanwhile nobody could renew it. `on_lost` is called, in a thread, when a renewal finds
        that another process has taken over the lease.

        Raises:
            TargetRefused: another process holds the lease.
            BadInput: the store does not support conditional writes.
        """
        ours = _Lock(secrets.token_hex(16), 0, LockOwner.this_process())
        self.outages.wait_out(lambda: self._acquire(ours))
        ended = threading.Event()
        renewal = threading.Thread(
            target=self._keep_renewing, args=(ended, on_lost), name="lease", daemon=True
        )
        try:
            self.outages.wait_out(self._check_conditions)
            renewal.start()
            yield
        finally:
            ended.set()
            if renewal.ident is not None:  # it was started
                renewal.join()
            self._release()

    def assure(self) -> None:
        """Check that this process may write now, because it holds the lease or works for the owner.

        Raises:
            TargetRefused: another process has taken over the lease, or this process has released it.
            StoreAway: the store does not answer, so nothing may be written now.
        """
        with self._mutex:
            if self._released:
                raise TargetRefused(f"{self._name} is no longer in the hands of this export, which has ended")
            if self._held is not None:
                if self._lost or self._clock.now() > self._until - _MARGIN:
                    self._renew()
                return
        self._assure_same_owner()

    def _acquire(self, ours: _Lock) -> None:
        seen, since = None, 0.0
        while True:
            found = self._objects.get(LOCK)
            lock = _parse(found[0]) if found else None
            if lock == ours:
                lock = None  # it was written, but the response was lost
            if lock is not None and lock.owner is not None and (alive := lock.owner.is_alive()) is not False:
                if alive or (seen is not None and lock != seen):
                    raise TargetRefused(f"{self._name} is in use by {lock.owner}")
                if seen is None:
                    seen, since = lock, self._clock.now()
                    say("target.waiting", {"for": str(lock.owner), "seconds": LEASE})
                if self._clock.now() - since < LEASE:
                    self._clock.pause(_POLL)
                    continue
            with suppress(ObjectChanged):
                return self._write(ours, found[1] if found else None)

    def _check_conditions(self) -> None:
        """Renew the lease once, then try writes whose conditions do not hold.

        The version before the renewal is a wrong one in the form of every store.
        """
        stale = self._version
        if stale:
            self._renew()
        if not stale or not (self._refuses(None) and self._refuses(stale)):
            raise BadInput(
                f"{self._name}: its store takes no conditional writes, which an export there needs"
            )

    def _refuses(self, wrong: "UpdateVersion | None") -> bool:
        try:
            self._objects.put(LOCK, b"{}", over=wrong)
        except ObjectChanged:
            return True
        return False

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
        self._held, self._version, self._until = lock, version, began + LEASE
        self._lost = self._released = False
        self.token = lock.token

    def _renew(self) -> None:
        """Renew the lease. Raises TargetRefused if it is lost."""
        assert self._held is not None
        if not self._lost:
            try:
                self._write(msgspec.structs.replace(self._held, beat=self._held.beat + 1), self._version)
            except ObjectChanged:
                self._lost = True
        if self._lost:
            raise TargetRefused(f"{self._name} was taken over by {self._who()}")

    def _keep_renewing(self, ended: threading.Event, on_lost: OnLost) -> None:
        while not ended.wait(self._renewal):
            try:
                with self._mutex:
                    self._renew()
                self.outages.over()
            except TargetRefused as error:
                on_lost(error)
                return
            except StoreAway as error:
                self.outages.noticed(error)  # the next renewal or the next write tries again
            except HarvesterError:
                pass

    def _release(self) -> None:
        assert self._held is not None
        with self._mutex:
            held = self._held
            if not self._lost:
                with suppress(ObjectChanged, HarvesterError):  # then the lease ends by itself
                    self._write(msgspec.structs.replace(held, beat=held.beat + 1, owner=None), self._version)
            self._held, self._released = None, True

    def _assure_same_owner(self) -> None:
        found = self._objects.get(LOCK)
        lock = _parse(found[0]) if found else None
        if self.token != (lock.token if lock and lock.owner else ""):
            taken = f"was taken over by {lock.owner}: it " if lock and lock.owner else ""
            raise TargetRefused(
                f"{self._name} {taken}is no longer in the hands of the export that this process works for"
            )

    def _who(self) -> str:
        with suppress(HarvesterError):
            found = self._objects.get(LOCK)
            lock = _parse(found[0]) if found else None
            if lock and lock.owner:
                return str(lock.owner)
        return "another process"


def _parse(data: bytes) -> _Lock | None:
    try:
        return msgspec.json.decode(data, type=_Lock)
    except (ValueError, RecursionError):
        return None
