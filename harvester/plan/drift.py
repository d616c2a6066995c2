"""Drift: what has changed on the server since the plan was frozen.

The plan and a new listing, sorted alike, are compared line by line. Only rows that differ, usually few, go
into tables on disk, so that memory stays flat.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from harvester.labels.wire import PlanRow
from harvester.plan.order import Order, plan_order
from harvester.plan.sorting import scratch
from harvester.schema import Count

_MOST_NAMED = 1000  # rows of each kind that the manifest names; all are counted

# A row is identified by data unit and branch, as its label may appear or vanish, and its title change.
_TABLES = (
    "planned (unit, position, version, name)",
    "listed (unit PRIMARY KEY, version, name, row) WITHOUT ROWID",
)
_EDITED = "FROM planned JOIN listed USING (unit) WHERE planned.version IS NOT listed.version"
_ADDED = "FROM listed WHERE unit NOT IN (SELECT unit FROM planned)"
_REMOVED = "FROM planned WHERE unit NOT IN (SELECT unit FROM listed)"
_SETTLED = f"SELECT position, row {_EDITED} ORDER BY position"


class Drift(msgspec.Struct, frozen=True):
    """How many rows changed on the server after the plan was frozen.

    `named` holds examples: the label hashes of the first rows of each kind of change (the data hash if a row
    has no label).
    """

    edited: Count = 0
    added: Count = 0
    removed: Count = 0
    named: dict[str, list[str]] = {}


def no_drift() -> Drift:
    """Return the result of a comparison that found no difference."""
    return Drift(named={"edited": [], "added": [], "removed": []})


class Comparison:
    """The comparison of the frozen plan with a later listing. Blocking; made by `compared`."""

    def __init__(self, tables: sqlite3.Connection) -> None:
        self._tables = tables

    def drift(self) -> Drift:
        """Count and name the rows that were edited, added and removed since."""
        found = {"edited": _EDITED, "added": _ADDED, "removed": _REMOVED}
        names = {"edited": "listed.name", "added": "name", "removed": "name"}
        return Drift(
            **{what: self._count(rows) for what, rows in found.items()},
            named={
                what: [name for (name,) in self._ask(f"SELECT {names[what]} {rows} ORDER BY 1 LIMIT ?")]
                for what, rows in found.items()
            },
        )

    def edited_parts(self, rows_per_part: int) -> set[int]:
        """Return the parts of the plan that hold edited rows."""
        return {
            position // rows_per_part for (position,) in self._tables.execute(f"SELECT position {_EDITED}")
        }

    def settled(self, planned: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines of the plan, with edited rows replaced by what is listed now."""
        edited = self._tables.execute(_SETTLED)
        at, listed = edited.fetchone() or (None, b"")
        for position, line in enumerate(planned):
            if position == at:
                yield listed
                at, listed = edited.fetchone() or (None, b"")
            else:
                yield line

    def _count(self, rows: str) -> int:
        (count,) = self._tables.execute(f"SELECT count(*) {rows}").fetchone()
        return int(count)

    def _ask(self, query: str) -> sqlite3.Cursor:
        return self._tables.execute(query, (_MOST_NAMED,))


@contextmanager
def compared(
    planned: Iterable[bytes], listed: Iterable[bytes], order: Order = plan_order
) -> Iterator[Comparison]:
    """Compare the lines of the frozen plan with those listed now, both sorted by `order`.

    Raises:
        CannotFinishNow: the temporary directory is full.
    """
    with scratch(*_TABLES) as tables:
        _fill(tables, planned, listed, order)
        tables.execute("CREATE INDEX planned_unit ON planned (unit)")
        yield Comparison(tables)


def _fill(
    tables: sqlite3.Connection, planned: Iterable[bytes], listed: Iterable[bytes], order: Order
) -> None:
    """Store the rows that differ. An edited row may be at another position, so all are stored first."""
    for position, old, new in _differing(iter(planned), iter(listed), order):
        if old:
            tables.execute(
                "INSERT INTO planned VALUES (?, ?, ?, ?)", (_unit(old), position, _version(old), _name(old))
            )
        if new:
            tables.execute(
                "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)",
                (_unit(new), _version(new), _name(new), msgspec.json.encode(new)),
            )


def _differing(
    olds: Iterator[bytes], news: Iterator[bytes], order: Order
) -> Iterator[tuple[int, PlanRow | None, PlanRow | None]]:
    """Yield the rows in which two streams differ, with the position in the old stream.

    Equal lines, nearly all, are not even decoded.
    """
    read = msgspec.json.Decoder(PlanRow).decode
    position, old, new = 0, next(olds, None), next(news, None)
    while old is not None or new is not None:
        if old == new:
            position, old, new = position + 1, next(olds, None), next(news, None)
            continue
        before = None if old is None else read(old)
        now = None if new is None else read(new)
        takes_old = before is not None and (now is None or order(before) <= order(now))
        takes_new = now is not None and (before is None or order(now) <= order(before))
        yield position, before if takes_old else None, now if takes_new else None
        if takes_old:
            position, old = position + 1, next(olds, None)
        if takes_new:
            new = next(news, None)


def _unit(row: PlanRow) -> str:
    return f"{row.dataset_hash}\n{row.data_hash}\n{row.branch_name or ''}"


def _version(row: PlanRow) -> str:
    return f"{row.label_hash}\n{row.last_edited_at}\n{row.outcome}"


def _name(row: PlanRow) -> str:
    return row.label_hash or row.data_hash
