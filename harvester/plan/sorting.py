"""Sorts on disk with SQLite, so that memory does not grow with the number of rows."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from harvester.errors import CannotFinishNow

_BATCH = 1000  # items inserted at once,
_BATCH_BYTES = 1024**2  # or fewer, if they have that many bytes
# Bytes of a page, the most there can be. With SQLite's own pages, sorting the rows of a plan takes half as
# long again. But a sort holds 250 pages, and a random row of a table costs a page read and written.
_LARGE_PAGE = 65536
SMALL_PAGE = 4096
_SCRATCH = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "BEGIN",
)


@contextmanager
def scratch(*tables: str, page_size: int = _LARGE_PAGE) -> Iterator[sqlite3.Connection]:
    """Open a temporary database with these `tables`. It is deleted on exit, or when the process dies.

    Raises CannotFinishNow if the disk is full, also for statements executed inside the `with` block.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as database:
            made = (f"CREATE TABLE {table}" for table in tables)
            for statement in (f"PRAGMA page_size = {page_size}", *_SCRATCH, *made):
                database.execute(statement)
            yield database
    except sqlite3.OperationalError as error:
        raise CannotFinishNow(f"no room in the temporary directory: {error}") from error


class Sorter:
    """Sorts items by their keys. Made by `sorter`. Blocking.

    Keys compare by code point, and all have the same number of texts. Of items with equal keys exactly one is
    kept; which one does not depend on the order of input.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._batch: list[tuple[str, bytes]] = []
        self._bytes = 0

    def add(self, key: Sequence[str], item: bytes) -> None:
        """Add one item."""
        self._batch.append((_as_one(key), item))
        self._bytes += len(item)
        if len(self._batch) == _BATCH or self._bytes >= _BATCH_BYTES:
            self._insert()

    def __iter__(self) -> Iterator[bytes]:
        self._insert()
        last = None
        for key, item in self._database.execute("SELECT key, item FROM entries ORDER BY key, item"):
            if key != last:
                last = key
                yield item

    def _insert(self) -> None:
        self._database.executemany("INSERT INTO entries VALUES (?, ?)", self._batch)
        self._batch.clear()
        self._bytes = 0


def _as_one(key: Sequence[str]) -> str:
    """Join `key` into one text that sorts like it: SQLite sorts by one column twice as fast as by five.

    The separator is less than any text, and zeros in a text are escaped, so that a prefix sorts first.
    """
    joined = "\0\0".join(key)
    if joined.count("\0") == 2 * len(key) - 2:  # as nearly always: no text has one
        return joined
    return "\0\0".join([text.replace("\0", "\0\1") for text in key])


@contextmanager
def sorter() -> Iterator[Sorter]:
    """Open a sorter. Raises CannotFinishNow if the disk is full, also for what is done with it inside."""
    with scratch("entries (key, item)") as database:
        yield Sorter(database)
