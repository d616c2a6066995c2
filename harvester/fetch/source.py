"""The interface to a source of label rows, such as the platform (harvester/encord/label_rows.py)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from harvester.labels.wire import Row


class RowsResponse(msgspec.Struct):
    """The answer to one call.

    Attributes:
        rows: the label rows, in any order. Each is its JSON as sent, or a decoded `LabelRow` if the JSON
            itself is not needed and holds nothing unusual. They may share one buffer, which stays in memory
            as long as one of them does.
        wire_bytes: size of the body on the network; 0 if unknown.
        body_bytes: size of the body after decompression.
        replaced: for rows in which U+FFFD replaces unpaired surrogate escapes (which are not valid text): the
            positions of these, as text. The key is the row's index in `rows`.
    """

    rows: Sequence[Row]
    wire_bytes: int
    body_bytes: int
    replaced: Mapping[int, str] = {}


class LabelRows(Protocol):
    """The label rows of one project. All methods block, and are thread-safe.

    They raise only errors of `harvester.errors`: a Retry if a retry may help, SkipRow if the row (or one row
    of the bundle) cannot be fetched, Stop if no row of the project can be fetched.
    """

    def get_label_row(self, label_hash: str) -> RowsResponse:
        """Fetch one label row. The answer may lack it: the caller must check."""

    def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
        """Fetch several label rows. The answer may lack some or hold others: the caller must check."""

    def get_left_out(self, label_hash: str) -> RowsResponse:
        """Fetch a label row that other answers left out, with a call whose error tells why it is missing."""
