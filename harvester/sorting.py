"""Sorts on disk (SQLite's sorter): a million rows take no more memory than a thousand."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from harvester.errors import CannotFinishNow

_CACHE_KIB = 32 * 1024
_BATCH = 1000  # items inserted at once


class Sorter:
    """Takes items by their keys, and gives them back in the order of the keys. Made by `sorter`.

    Keys compare by code point, and all have the same number of texts. Of items with equal keys one is
    kept, whichever of them came in first. Blocking. Raises CannotFinishNow where there is no room.
    """

    def __init__(self, table: sqlite3.Connection, columns: int) -> None:
        self._table = table
        self._batch: list[tuple[bytes, ...]] = []
        names = ", ".join(f"key{i}" for i in range(columns))
        table.execute(f"CREATE TABLE items ({names}, item)")
        self._insertion = f"INSERT INTO items VALUES ({', '.join('?' * (columns + 1))})"
        self._selection = f"SELECT * FROM items ORDER BY {names}, item"

    def add(self, key: Sequence[str], item: bytes) -> None:
        """Takes in one item."""
        # Bytes, so that the order is the code points' on every machine, whatever SQLite is built with.
        self._batch.append((*(text.encode() for text in key), item))
        if len(self._batch) == _BATCH:
            self._insert()

    def __iter__(self) -> Iterator[bytes]:
        self._insert()
        last: list[bytes] | None = None
        for *key, item in self._table.execute(self._selection):
            if last != (last := key):
                yield item

    def _insert(self) -> None:
        try:
            self._table.execute("BEGIN")
            self._table.executemany(self._insertion, self._batch)
            self._table.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise CannotFinishNow(f"no room to sort the rows in the temporary directory: {error}") from error
        self._batch.clear()


@contextmanager
def sorter(columns: int) -> Iterator[Sorter]:
    """A sorter for keys of so many texts."""
    # The empty name: a private database on disk, gone when it is closed or the process dies.
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as table:
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        table.execute("PRAGMA temp_store = FILE")
        table.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        yield Sorter(table, columns)
