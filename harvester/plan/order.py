"""The orders that rows are sorted in, and streams of rows in them."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from harvester.labels.wire import PlanRow
from harvester.plan.sorting import sorter

_AT_ONCE = 100  # rows: with ten times as many, which do not stay in the cache, planning takes a tenth longer

# What rows are sorted by: as many texts for each of them.
Order = Callable[[PlanRow], tuple[str, str, str, str, str]]


def plan_order(row: PlanRow) -> tuple[str, str, str, str, str]:
    """The order of a plan: dataset, data title, label, branch."""
    return (row.dataset_hash, row.data_title, row.label_hash or "", row.branch_name or "", row.data_hash)


def label_order(row: PlanRow) -> tuple[str, str, str, str, str]:
    """What both listings are sorted by: label hash first. The places of one label row are in a plan's order.

    Dataset, title, branch and data tell rows without a label apart.
    """
    return (row.label_hash or "", row.dataset_hash, row.data_title, row.branch_name or "", row.data_hash)


def sorted_lines(
    rows: Iterable[PlanRow],
    order: Order,
    *,
    on_taken: Callable[[int], None] = lambda count: None,
    see: Callable[[list[PlanRow]], None] = lambda rows: None,
) -> Iterator[bytes]:
    """`rows` in that order, those that agree in it once, each as its JSON.

    `on_taken` hears how many have come so far, and all of them are shown to `see` before the first line.

    Blocking; memory stays flat. Raises CannotFinishNow where the temporary directory has no room.
    """
    encode, rows, taken = msgspec.json.Encoder().encode, iter(rows), 0
    with sorter() as by_order:
        while some := list(islice(rows, _AT_ONCE)):
            for row in some:
                by_order.add(order(row), encode(row))
            see(some)
            taken += len(some)
            on_taken(taken)
        yield from by_order


def rows_of(lines: Iterable[bytes]) -> Iterator[PlanRow]:
    """The rows whose JSON it is."""
    return map(msgspec.json.Decoder(PlanRow).decode, lines)


def side_by_side(
    before: Iterable[PlanRow], now: Iterable[PlanRow], order: Order
) -> Iterator[tuple[PlanRow | None, PlanRow | None]]:
    """The rows of two streams that are both in that order; None where one has no such row."""
    olds, news = iter(before), iter(now)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if old == new:  # nearly always, and quicker to see than to say which comes first
            comes_first = 0
        elif new is None or (old is not None and order(old) < order(new)):
            comes_first = -1
        else:
            comes_first = int(old is None or order(new) < order(old))
        yield (old if comes_first <= 0 else None), (new if comes_first >= 0 else None)
        if comes_first <= 0:
            old = next(olds, None)
        if comes_first >= 0:
            new = next(news, None)
