"""The split key of each label row: rows with the same key are in the same split."""

import json
from typing import Any

from harvester.errors import BadInput, did_you_mean
from harvester.labels.wire import PlanRow

_METADATA = "metadata."
_BY = ("data", "dataset", "item")
_MOST_WORDS = 1000  # keys of metadata that are remembered for a message


class SplitKeys:
    """The split key of each label row.

    By default it is the data hash: frames of a video, images of a group and branches of a unit have the same.
    A row that lacks what is asked for goes by its data hash. `missing` counts such rows, `found` the others.
    """

    def __init__(self, by: str) -> None:
        """Split by ``data``, ``dataset``, ``item`` (the file in the platform's storage) or ``metadata.KEY``.

        Raises:
            BadInput: `by` is something else.
        """
        if by not in _BY and (not by.startswith(_METADATA) or by == _METADATA):
            raise BadInput(f"data are split by one of {', '.join(_BY)} or by metadata.KEY, not by {by!r}")
        self._by = by
        self._words: set[str] = set()
        self.found = 0
        self.missing = 0

    def of(self, row: PlanRow) -> str:
        """Return the key of a row."""
        key = self._key(row)
        self.found += key is not None
        self.missing += key is None
        return row.data_hash if key is None else key

    def check_found(self, where: str) -> None:
        """Raise BadInput if there are rows and none of them had what is asked for. `where` is the export."""
        if self.found or not self.missing:
            return
        if not self._by.startswith(_METADATA):
            raise BadInput(f"no label row of {where} has the {self._by} that it is of: split by data")
        if not self._words:
            raise BadInput(
                f"{where} has no client metadata: export with --client-metadata to split by {self._by}, or "
                "give the data some first"
            )
        guess = did_you_mean(self._by.removeprefix(_METADATA), self._words)
        raise BadInput(f"no label row of {where} has {self._by}" + (f": {guess}" if guess else ""))

    def _key(self, row: PlanRow) -> str | None:
        if self._by == "data":
            return row.data_hash
        if self._by == "dataset":
            return row.dataset_hash or None
        if self._by == "item":
            return row.backing_item_uuid
        metadata = _loaded(row.client_metadata)
        if not self.found and len(self._words) < _MOST_WORDS:
            self._words |= metadata.keys()
        return _value(metadata, self._by.removeprefix(_METADATA))


def _value(metadata: dict[str, Any], key: str) -> str | None:
    """Return the value of a key as text, of other JSON than texts as JSON. Dots lead into nested objects.

    None: there is no such key, or its value is null.
    """
    value: Any = metadata
    if key in metadata:
        value = metadata[key]
    else:
        for word in key.split("."):
            value = value.get(word) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _loaded(metadata: str | None) -> dict[str, Any]:
    try:
        value = json.loads(metadata) if metadata else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}
