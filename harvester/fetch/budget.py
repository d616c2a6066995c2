"""A bound on the bytes in flight: what is being asked for, and what waits to be taken in order.

Who wants to ask for rows reserves what they may weigh. Once the answer is read, the reservation shrinks
to the lines that came of it, and ends when they are taken. A reservation is never added to later, so a
bundle that has one can always be finished.
"""

from collections.abc import Callable
from itertools import count

import anyio


class ByteBudget:
    """`total` bytes shared by the streams of one pool; each has an `Account`.

    Going over the total is allowed in one case: nothing is being asked for, and a stream that holds
    nothing wants to begin. Only so can a bundle heavier than the whole budget be had, and streams that
    are taken one after the other cannot starve each other. The excess is one bundle at most.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._asking = 0
        self._waiting: list[_Waiter] = []
        self._ranks = count(1)

    def account(self) -> "Account":
        """A new stream's account; earlier ones go before it, here and at the gate."""
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

    def _serve(self) -> None:
        """Grants what fits, in line. Streams that hold nothing come first: what they wait for heads them."""
        for waiter in sorted(self._waiting, key=lambda one: (bool(one.account.holds), one.account.rank)):
            size = waiter.need()
            if not self._fits(waiter.account, size):
                return
            self._waiting.remove(waiter)
            waiter.hold = self._hold(waiter.account, size)
            waiter.granted.set()


class Account:
    """What one stream holds of the budget."""

    def __init__(self, budget: ByteBudget, rank: int) -> None:
        self.holds: set[Hold] = set()
        self.rank = rank
        self._budget = budget

    async def reserve(self, need: Callable[[], int]) -> "Hold":
        """Waits until `need()` bytes are free. It is asked anew each time: what is learnt changes it."""
        budget = self._budget
        if not budget._waiting and budget._fits(self, size := need()):
            return budget._hold(self, size)
        waiter = _Waiter(self, need)
        budget._waiting.append(waiter)
        budget._serve()
        try:
            await waiter.granted.wait()
        except BaseException:
            if waiter.hold is None:
                budget._waiting.remove(waiter)
                budget._serve()
            else:
                waiter.hold.release()
            raise
        assert waiter.hold is not None
        return waiter.hold

    def close(self) -> None:
        """Gives back all that the stream holds."""
        for hold in tuple(self.holds):
            hold.release()


class Hold:
    """A reservation: first for a request and its answer, then for the lines that came of it."""

    __slots__ = ("_account", "_asking", "size")

    def __init__(self, account: Account, size: int) -> None:
        self.size = size
        self._account = account
        self._asking = True

    def settle(self, size: int) -> None:
        """Asking is over; `size` bytes of lines remain, waiting to be taken."""
        if self in self._account.holds:
            self._end_asking()
            self._account._budget.used += size - self.size
            self.size = size
            self._account._budget._serve()

    def release(self) -> None:
        """Gives back all of it. Doing so again does nothing."""
        if self in self._account.holds:
            self._end_asking()
            self._account.holds.remove(self)
            self._account._budget.used -= self.size
            self._account._budget._serve()

    def _end_asking(self) -> None:
        self._account._budget._asking -= self._asking
        self._asking = False


class _Waiter:
    """Someone in line for the budget."""

    __slots__ = ("account", "granted", "hold", "need")

    def __init__(self, account: Account, need: Callable[[], int]) -> None:
        self.account = account
        self.need = need
        self.granted = anyio.Event()
        self.hold: Hold | None = None
