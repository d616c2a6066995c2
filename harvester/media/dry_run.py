"""Count what a run would fetch: files, and bytes where the platform says them."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput, CredentialsRefused
from harvester.media.desk import MOST_AT_ONCE
from harvester.media.links import source_of
from harvester.media.wanted import WantedMedia

if TYPE_CHECKING:
    from harvester.encord.session import Session


class Foreseen(msgspec.Struct):
    """The files that are missing. The size of `sized` of them is known, and these have `bytes`."""

    files: int = 0
    sized: int = 0
    bytes: int = 0


async def foresee(session: "Session", wanted: WantedMedia) -> Foreseen:
    """Count the missing files. The storage API is asked for sizes, without URLs."""
    found = Foreseen()
    uuids = _uuids(wanted, found)
    while some := await in_thread(lambda: list(islice(uuids, MOST_AT_ONCE))):
        try:
            items = await in_thread(partial(session.storage_items, some, signed=False))
        except (BadInput, CredentialsRefused):
            continue  # some of them may not be read: their sizes stay unknown
        sizes = [item.bytes for item in items if item.bytes is not None]
        found.sized += len(sizes)
        found.bytes += sum(sizes)
    return found


def _uuids(wanted: WantedMedia, found: Foreseen) -> Iterator[str]:
    """Count the files, and yield the ids of the items that one file each is of."""
    for row in wanted.missing():
        new = wanted.count_new("missing", row.units)
        found.files += new
        if new and source_of(row) == "storage" and row.row.backing_item_uuid:
            yield row.row.backing_item_uuid
