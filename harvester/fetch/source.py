"""The seam to whatever label rows come from: blocking calls."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from harvester.labels.wire import Row


class Answer(msgspec.Struct):
    """What one call brought.

    `rows` holds the label rows in any order: the JSON of each as sent, or where nobody wants that, and no
    row needs a closer look, their skeletons. Both may be slices of one buffer, which lives as long as one
    of them. `wire_bytes` is the body's size as it came over the network, 0 where
    that is not known; `body_bytes` its size undone of the compression.

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
    where the row (or one row of the bundle) cannot be had, Stop where no row can.
    """

    def get_label_row(self, label_hash: str) -> Answer:
        """One label row. The answer may lack it, as one to several rows may."""

    def get_label_rows(self, label_hashes: Sequence[str]) -> Answer:
        """Several label rows in one call. The answer may lack some or bring others: the caller checks."""

    def get_left_out(self, label_hash: str) -> Answer:
        """A label row that answers leave out, asked for in the way that says why it cannot be had."""
