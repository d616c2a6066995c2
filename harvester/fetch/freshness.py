"""Find label rows that are older than their listing: the server answered from a stale copy.

A row's own `last_edited_at` is compared with the one in its listing item, in UTC and in whole seconds. Both
come from the server, but from different parts of it, which may define the time differently. If too many of
the first rows look older, that is the case, and no row is treated as stale.
"""

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from harvester.labels.dates import exact_moment
from harvester.labels.wire import LabelRow, PlanRow, Row

# If more than this share of the first rows is older than listed, the two times have different meanings.
# Chosen.
_SAMPLE_ROWS = 200
_MAX_OLDER = 0.05

_MIN_LENGTH = len("2023-02-09 14:12:03")


class Clocks:
    """Decide whether the edit times of label rows and of their listing can be compared.

    Call `answered` only in the event loop's thread; any thread may read `differ`.

    Attributes:
        differ: whether the two times have different meanings.
        rows: number of rows compared so far, up to _SAMPLE_ROWS.
        older: how many of them were older than listed.
    """

    def __init__(self) -> None:
        self.differ = False
        self.rows = self.older = 0

    def answered(self, rows: int, older: Sequence[int]) -> bool:
        """Count an answer to a first request: its number of rows, and the positions of the older ones.

        Return True once: for the answer that shows that the times differ.
        """
        room = _SAMPLE_ROWS - self.rows
        if room <= 0 or self.differ:
            return False
        self.rows += min(rows, room)
        self.older += sum(place < room for place in older)
        self.differ = self.older > _MAX_OLDER * _SAMPLE_ROWS
        return self.differ

    def told(self) -> dict[str, object]:
        """Return the fields of the event `rows.clocks_differ`."""
        return {
            "older": self.older,
            "of": self.rows,
            "more": "label rows and listing mean different moments by their last edit: no row is asked for"
            " again for being older than listed, and none is noted as stale",
        }


def older_rows(planned: Sequence[PlanRow], at: Sequence[int | None], rows: Sequence[Row]) -> dict[int, str]:
    """Return which of the `planned` rows are older than listed: their positions, with the text of the note.

    `at` holds for each planned row its index in `rows`, or None if the answer does not hold it.
    """
    older = {}
    for place, found in enumerate(at):
        if found is None:
            continue
        row, listed = rows[found], planned[place].last_edited_at
        own = row.last_edited_at if isinstance(row, LabelRow) else edited_at(row)
        # The two texts are nearly always equal: then nothing has to be parsed.
        if own != listed and isinstance(own, str) and listed:
            before, since = moment(own), moment(listed)
            if before is not None and since is not None and before < since:
                older[place] = (
                    f"listed as edited {since:%Y-%m-%d %H:%M:%S}, the row says {before:%Y-%m-%d %H:%M:%S}"
                )
    return older


def moment(text: str) -> datetime | None:
    """Parse a date of the platform that has a time. Return it in UTC and in whole seconds, else None."""
    found = exact_moment(text) if len(text) >= _MIN_LENGTH else None
    return found and found.replace(microsecond=0)


class _LastEdited(msgspec.Struct):
    last_edited_at: str | int | float | None = None


_decode = msgspec.json.Decoder(_LastEdited).decode
# A shortcut: the platform writes `last_edited_at` among the first fields, after strings and nulls only. If
# this pattern matches the first _EARLY_BYTES bytes, the rest of the row does not have to be parsed.
_EARLY_FIELD = re.compile(
    rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|null)\s*,)*?\s*"last_edited_at"\s*:\s*"([^"\\]*)"'
)
_EARLY_BYTES = 1024


def edited_at(row: msgspec.Raw | bytes | bytearray | memoryview) -> str | int | float | None:
    """Return the `last_edited_at` of a label row as sent; None if it has none, or is not a JSON object."""
    if first := _EARLY_FIELD.match(memoryview(row)[:_EARLY_BYTES]):
        return first[1].decode(errors="replace")
    try:
        return _decode(row).last_edited_at
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
