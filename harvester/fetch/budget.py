"""Limit the bytes in memory: of answers that are being fetched, and of results that wait for earlier ones.

Before a bundle is fetched, the estimated size of its answer and results is reserved. When the answer has been
read, the reservation shrinks to the size of the results; it ends when the consumer has taken them. A
reservation never has to grow, so a bundle that has one can always be finished: this rules out deadlocks.
"""

from collections.abc import Callable
from itertools import count

import anyio


class ByteBudget:
    """A budget of `total` bytes, shared by the streams of one pool; each stream has an `Account`.

    The total may be exceeded in one case: no bundle is being fetched, and a stream without any reservation
    wants its first. Otherwise a bundle larger than the whole budget could never be fetched, and results that
    wait in one stream could block another stream for ever. The excess is at most one bundle.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._asking = 0  # reservations whose answer is still being fetched
        self._waiting: list[_Waiting] = []
        self._ranks = count(1)

    def account(self) -> "Account":
        """Return the account of a new stream. Earlier streams go first, here and at the rate limiter."""
        return Account(self, next(self._ranks))

    def _fits(self, account: "Account", size: int) -> bool:
        if self.used + size <= self.total:
            return True
        return not self._asking and not account.holds

    def _hold(self, account: "Account", size: int) -> "Hold":
        hold = Hold(account, size)
        account.holds.add(hold)
        self.used += size
        self._asking += 1
        return hold

    def _grant(self) -> None:
        """Grant waiting reservations in priority order, as long as they fit.

        Streams without a reservation go first: they are blocked on their first bundle, and starving them
        would deadlock. A large reservation is not overtaken by smaller ones behind it, so it does not starve
        either.
        """
        for waiter in sorted(self._waiting, key=lambda one: (bool(one.account.holds), one.account.rank)):
            size = waiter.need()
            if not self._fits(waiter.account, size):
                return
            self._waiting.remove(waiter)
            waiter.hold = self._hold(waiter.account, size)
            waiter.granted.set()


class Account:
    """The reservations of one stream. Streams with a lower `rank` were begun earlier, and go first."""

    def __init__(self, budget: ByteBudget, rank: int) -> None:
        self.holds: set[Hold] = set()
        self.rank = rank
        self._budget = budget

    async def reserve(self, need: Callable[[], int]) -> "Hold":
        """Wait until `need()` bytes are free, and reserve them.

        `need` is called again at each attempt, because the estimate improves while the request waits.
        """
        budget = self._budget
        if not budget._waiting and budget._fits(self, size := need()):
            return budget._hold(self, size)
        waiter = _Waiting(self, need)
        budget._waiting.append(waiter)
        budget._grant()
        try:
            await waiter.granted.wait()
        except BaseException:
            # Cancelled: leave the queue, or give back a reservation that was granted in the meantime.
            if waiter.hold is None:
                budget._waiting.remove(waiter)
                budget._grant()
            else:
                waiter.hold.release()
            raise
        assert waiter.hold is not None
        return waiter.hold

    def close(self) -> None:
        """Release all reservations of the stream."""
        for hold in tuple(self.holds):
            hold.release()


class Hold:
    """A reservation of `size` bytes: first for an answer and its results, then only for the results."""

    __slots__ = ("_account", "_asking", "size")

    def __init__(self, account: Account, size: int) -> None:
        self.size = size
        self._account = account
        self._asking = True

    def settle(self, size: int) -> None:
        """Change the reservation to the `size` in bytes of the results: the answer itself has been freed."""
        if self in self._account.holds:
            self._end_asking()
            self._account._budget.used += size - self.size
            self.size = size
            self._account._budget._grant()

    def release(self) -> None:
        """End the reservation. Safe to call again."""
        if self in self._account.holds:
            self._end_asking()
            self._account.holds.remove(self)
            self._account._budget.used -= self.size
            self._account._budget._grant()

    def _end_asking(self) -> None:
        self._account._budget._asking -= self._asking
        self._asking = False


class _Waiting:
    """A reservation that waits for free bytes."""

    __slots__ = ("account", "granted", "hold", "need")

    def __init__(self, account: Account, need: Callable[[], int]) -> None:
        self.account = account
        self.need = need
        self.granted = anyio.Event()
        self.hold: Hold | None = None
