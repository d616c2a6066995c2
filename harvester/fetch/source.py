"""The seam to whatever label rows come from: blocking calls."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from harvester.labels.wire import Row


class RowsResponse(msgspec.Struct):
    """What one call brought.

    `rows` holds the label rows in any order: the JSON of each as sent; or their skeletons, where the JSON is
    not needed and holds nothing unusual. Both may be slices of one buffer, which is kept as long as one of
    them. `wire_bytes` is the size of the body on the network, 0 where that is not known; `body_bytes` its
    size after decompression.

    `replaced` says of rows, by their place in `rows`, where U+FFFD stands in place of an unpaired surrogate
    escape, which is no text.
    """

    rows: Sequence[Row]
    wire_bytes: int
    body_bytes: int
    replaced: Mapping[int, str] = {}


class LabelRows(Protocol):
    """The label rows of one project. Blocking, and safe to call from many threads.

    Both methods raise only errors of `harvester.errors`: a Retry where asking again may help, SkipRow
    where the row (or one row of the bundle) cannot be fetched, Stop where no row can.
    """

    def get_label_row(self, label_hash: str) -> RowsResponse:
        """One label row. The answer may lack it, as one to several rows may."""

    def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
        """Several label rows in one call. The answer may lack some or bring others: the caller checks."""

    def get_left_out(self, label_hash: str) -> RowsResponse:
        """Fetch a label row that bundled answers leave out, by the call whose error says why."""
