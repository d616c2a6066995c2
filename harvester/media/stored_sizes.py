"""The sizes of the files in a folder: of a directory asked one by one, of an object store listed at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harvester.output.objectstore import ObjectStoreTarget
from harvester.output.target import Target
from harvester.plan.sorting import scratch

SizeOf = Callable[[str], int | None]


@contextmanager
def stored_sizes(folder: Target) -> Iterator[SizeOf]:
    """Give a function that returns the size of a file in bytes, None if it is not there. Blocking.

    An object store is listed once, since it charges for each object that is asked for, and each takes a round
    trip. The list is held on disk, and is as old as the call.
    """
    if not isinstance(folder, ObjectStoreTarget):
        yield folder.size_of
        return
    with scratch("found (path PRIMARY KEY, size) WITHOUT ROWID") as database:
        database.executemany("INSERT OR REPLACE INTO found VALUES (?, ?)", folder.all_names())

        def size_of(path: str) -> int | None:
            found = database.execute("SELECT size FROM found WHERE path = ?", (path,)).fetchone()
            return int(found[0]) if found else None

        yield size_of
