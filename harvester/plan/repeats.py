"""Removes repeats of label rows that the server lists more than once, under two titles or branches."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import msgspec

from harvester.labels.wire import PlanRow
from harvester.plan.sorting import scratch


class _Place(msgspec.Struct):
    """The fields of a plan row that deciding about a repeat needs."""

    label_hash: str | None
    outcome: str | None


class Repeats:
    """Finds label hashes that occur more than once. Made by `repeats`; blocking, flat in memory.

    All rows must have been given to `add` before `once` yields its first line. All hashes are sorted on disk,
    at half the cost of looking each up in an index. Only repeated hashes go into an index, and if there are
    none, `once` decodes no line.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, rows: Iterable[PlanRow]) -> None:
        """Add rows, as they are listed."""
        self._database.executemany(
            "INSERT INTO listed VALUES (?, ?)",
            [(row.label_hash, row.outcome is None) for row in rows if row.label_hash],
        )

    def once(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield `lines` with each label row once. A repeated row is marked as listed twice.

        Kept is the first line that is to be fetched, since others may be filtered; if none is, the first.
        """
        lines = iter(lines)
        if (line := next(lines, None)) is None:
            return
        found = self._database.execute(
            "INSERT INTO repeated SELECT label, max(wanted), 0 FROM listed GROUP BY label HAVING count(*) > 1"
        )
        lines = chain([line], lines)
        yield from _firsts(self._database, lines) if found.rowcount else lines


def _firsts(table: sqlite3.Connection, lines: Iterable[bytes]) -> Iterator[bytes]:
    read = msgspec.json.Decoder(_Place).decode
    whole = msgspec.json.Decoder(PlanRow).decode
    for line in lines:
        place = read(line)
        found = table.execute(
            "SELECT wanted, came FROM repeated WHERE label = ?", (place.label_hash,)
        ).fetchone()
        if found is None:
            yield line
            continue
        wanted, came = found
        if came or (wanted and place.outcome is not None):
            continue
        table.execute("UPDATE repeated SET came = 1 WHERE label = ?", (place.label_hash,))
        yield msgspec.json.encode(msgspec.structs.replace(whole(line), listed_twice=True))


@contextmanager
def repeats() -> Iterator[Repeats]:
    """Open a `Repeats`; its database is deleted at the end."""
    repeated = "repeated (label PRIMARY KEY, wanted, came) WITHOUT ROWID"
    with scratch("listed (label, wanted)", repeated) as database:
        yield Repeats(database)
