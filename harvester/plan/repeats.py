"""Label rows that the server lists more than once, under two titles or on two branches: each comes once."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain

import msgspec

from harvester.errors import CannotFinishNow
from harvester.labels.wire import PlanRow
from harvester.plan.sorting import Sorter, sorter

_WANTED, _UNWANTED = b"1", b"0"
_RUN_BYTES = 4 * 1024**2  # of hashes sorted in memory, beside the rows themselves
_TABLE = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "CREATE TABLE repeated (label PRIMARY KEY, wanted, came DEFAULT 0) WITHOUT ROWID",
    "BEGIN",
)


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

    def __init__(self, labels: Sorter) -> None:
        self._labels = labels

    def add(self, rows: Iterable[PlanRow]) -> None:
        """Takes in rows as they are listed."""
        self._labels.extend(
            [(row.label_hash, _UNWANTED if row.outcome else _WANTED) for row in rows if row.label_hash]
        )

    def once(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The `lines` of the rows, each label row once: the first of them, marked as listed twice.

        That is the first that is asked for: one place of a row may be filtered while another is not.
        """
        lines = iter(lines)
        if (line := next(lines, None)) is None:
            return
        lines, found = chain([line], lines), self._found()
        if (first := next(found, None)) is None:
            yield from lines
            return
        # The empty name: a private database on disk, gone when it is closed or the process dies.
        with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as table:
            try:
                for statement in _TABLE:
                    table.execute(statement)
                table.executemany("INSERT INTO repeated (label, wanted) VALUES (?, ?)", chain([first], found))
            except sqlite3.OperationalError as error:
                raise CannotFinishNow(
                    f"no room in the temporary directory for what is listed twice: {error}"
                ) from error
            yield from _firsts(table, lines)

    def _found(self) -> Iterator[tuple[str, bytes]]:
        """The hashes that came more than once, and whether each is asked for at one of its places."""
        last, item, times = "", _UNWANTED, 0
        for label_hash, wanted in self._labels.entries():
            if label_hash == last:
                item, times = max(item, wanted), times + 1
                continue
            if times > 1:
                yield last, item
            last, item, times = label_hash, wanted, 1
        if times > 1:
            yield last, item


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
        if came or (wanted == _WANTED and place.outcome is not None):
            continue
        table.execute("UPDATE repeated SET came = 1 WHERE label = ?", (place.label_hash,))
        yield msgspec.json.encode(msgspec.structs.replace(whole(line), listed_twice=True))


@contextmanager
def repeats() -> Iterator[Repeats]:
    """What finds label rows that are listed more than once."""
    with sorter(_RUN_BYTES) as labels:
        yield Repeats(labels)
