"""What stays together in one split: the key of each label row."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from sqlite3 import Connection
from typing import Any

import msgspec

from harvester.errors import BadInput, Unsound, did_you_mean
from harvester.plan.sorting import scratch

_METADATA = "metadata."
_BY = ("data", "dataset", "item")


class ListedKeys(msgspec.Struct):
    """A line of the listing: what a split may go by."""

    label_hash: str | None
    data_hash: str
    dataset_hash: str | None
    backing_item_uuid: str | None
    client_metadata: str | None


def check_split_by(by: str) -> None:
    """Raise BadInput if data cannot be split by this."""
    if by not in _BY and (not by.startswith(_METADATA) or by == _METADATA):
        raise BadInput(f"data are split by one of {', '.join(_BY)} or by metadata.KEY, not by {by!r}")


class SplitKeys:
    """The split key of each label row of a listing.

    By default it is the data hash: frames of a video, images of a group and branches of a unit have the same.
    A row that lacks what is asked for goes by its data hash, and is counted in `missing`.
    """

    def __init__(self, by: str, table: Connection | None = None) -> None:
        self._by = by
        self._table = table
        self.missing = 0

    def of_row(self, label_hash: str, data_hash: str, dataset_hash: str | None) -> str:
        """Return the key of a harvested row. To be called once a row: rows without a key are counted."""
        if self._table is not None:
            found = self._table.execute("SELECT key FROM keys WHERE label = ?", (label_hash,)).fetchone()
            return self._or_data(found and found[0], data_hash)
        return self._or_data(dataset_hash if self._by == "dataset" else data_hash, data_hash)

    def of_listed(self, row: ListedKeys) -> str:
        """Return the key of a row of the listing, which may have no label hash."""
        return self._or_data(_key(row, self._by), row.data_hash)

    def _or_data(self, key: str | None, data_hash: str) -> str:
        self.missing += key is None
        return data_hash if key is None else key


@contextmanager
def split_keys(by: str, listing: Iterable[bytes], where: str) -> Iterator[SplitKeys]:
    """Open the keys by which label rows are split. Reads the listing only if it has to; on disk.

    Args:
        by: ``data``, ``dataset``, ``item`` (the file in the platform's storage) or ``metadata.KEY``.
        listing: the lines of the export's listing.
        where: the export's name, for messages.

    Raises:
        BadInput: `by` is unknown, or no row has it.
    """
    check_split_by(by)
    if by in ("data", "dataset"):
        yield SplitKeys(by)
        return
    with scratch("keys (label PRIMARY KEY, key) WITHOUT ROWID") as table:
        rows, found, words = 0, 0, set[str]()
        for row in _decoded(listing, where):
            rows += 1
            if (key := _key(row, by)) is not None:
                found += 1
                if row.label_hash is not None:
                    table.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (row.label_hash, key))
            elif not found and row.client_metadata and len(words) < _MOST_WORDS:
                words |= _words_of(row.client_metadata)
        if rows and not found:
            raise BadInput(_nothing_found(by, words, where))
        yield SplitKeys(by, table)


_MOST_WORDS = 1000  # keys of metadata that are remembered for a message


def _nothing_found(by: str, words: set[str], where: str) -> str:
    if not by.startswith(_METADATA):
        return f"no label row of {where} has a backing_item_uuid: split by data"
    if not words:
        return f"{where} has no client metadata: export with --client-metadata to split by {by}"
    guess = did_you_mean(by.removeprefix(_METADATA), words)
    return f"no label row of {where} has {by}" + (f": {guess}" if guess else "")


def _decoded(listing: Iterable[bytes], where: str) -> Iterator[ListedKeys]:
    for line in listing:
        try:
            yield _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unsound(f"the listing of {where} is damaged: {error}; see harvester verify") from error


_decode = msgspec.json.Decoder(ListedKeys).decode


def _key(row: ListedKeys, by: str) -> str | None:
    if by == "data":
        return row.data_hash
    if by == "dataset":
        return row.dataset_hash
    if by == "item":
        return row.backing_item_uuid
    return _metadata_value(row.client_metadata, by.removeprefix(_METADATA))


def _metadata_value(metadata: str | None, key: str) -> str | None:
    """Return the value of a key as text, of other JSON than texts as JSON. Dots lead into nested objects.

    None: there is no such key, or its value is null.
    """
    value = _loaded(metadata)
    if isinstance(value, dict) and key in value:
        value = value[key]
    else:
        for word in key.split("."):
            value = value.get(word) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _words_of(metadata: str) -> set[str]:
    value = _loaded(metadata)
    return set(value) if isinstance(value, dict) else set()


def _loaded(metadata: str | None) -> Any:
    try:
        return json.loads(metadata) if metadata else None
    except (ValueError, RecursionError):
        return None
