"""Label rows that the server lists more than once, under two titles or on two branches: each comes once."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import msgspec

from harvester.labels.wire import PlanRow
from harvester.plan.sorting import scratch


class _Place(msgspec.Struct):
    """What a plan row says of its label row, and whether it is asked for here."""

    label_hash: str | None
    outcome: str | None


class Repeats:
    """Finds label hashes that come more than once. Made by `repeats`; blocking, flat in memory.

    `once` takes the rows' lines; before the first of them, all rows must have been shown to `add`. All hashes
    are sorted on disk, which costs half of what an index costs that each is looked up in. Only those found
    more than once come into such an index, and where there are none, `once` looks at no line.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, rows: Iterable[PlanRow]) -> None:
        """Takes in rows as they are listed."""
        self._database.executemany(
            "INSERT INTO listed VALUES (?, ?)",
            [(row.label_hash, row.outcome is None) for row in rows if row.label_hash],
        )

    def once(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The `lines` of the rows, each label row once: the first of them, marked as listed twice.

        That is the first that is asked for: one place of a row may be filtered while another is not.
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
    """What finds label rows that are listed more than once."""
    repeated = "repeated (label PRIMARY KEY, wanted, came) WITHOUT ROWID"
    with scratch("listed (label, wanted)", repeated) as database:
        yield Repeats(database)
