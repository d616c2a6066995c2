"""Label rows that are older than their listing says: the server answered from a copy of before the last edit.

What is compared are two texts of the server's, each row's own `last_edited_at` and its listing's, as moments
in UTC cut to seconds. They are written by different parts of the platform, and may mean different things:
where too many of the first rows are older, that is so, and nothing is concluded from it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from harvester.labels.wire import LabelRow, PlanRow, Row

# Of this many rows, the first that are answered, at most this share may be older than listed.
_FIRST_ROWS = 200
_MOST_OLDER = 0.05

_MONTHS = {
    "Jan": "01", "Feb": "02", "Mar": "03", "Apr": "04", "May": "05", "Jun": "06",
    "Jul": "07", "Aug": "08", "Sep": "09", "Oct": "10", "Nov": "11", "Dec": "12",
}  # fmt: skip
_UTC = ("UTC", "GMT", "+0000")
_SHORTEST = len("2023-02-09 14:12:03")


class Clocks:
    """Whether the stamps of label rows and of their listing can be compared.

    Told by one thread, the event loop's; `differ` may be read by any.
    """

    def __init__(self) -> None:
        self.differ = False
        self.rows = self.older = 0

    def answered(self, rows: int, older: Sequence[int]) -> bool:
        """Counts an answer of so many rows, asked for the first time, of which those are older than listed.

        Returns whether it is found out by this that the clocks differ.
        """
        room = _FIRST_ROWS - self.rows
        if room <= 0 or self.differ:
            return False
        self.rows += min(rows, room)
        self.older += sum(place < room for place in older)
        self.differ = self.older > _MOST_OLDER * _FIRST_ROWS
        return self.differ

    def told(self) -> dict[str, object]:
        """What a user should know once they differ."""
        return {
            "older": self.older,
            "of": self.rows,
            "more": "label rows and listing mean different moments by their last edit: no row is asked for"
            " again for being older than listed, and none is noted as stale",
        }


def older_rows(planned: Sequence[PlanRow], at: Sequence[int | None], rows: Sequence[Row]) -> dict[int, str]:
    """Which of the `planned` rows are older than listed, by their place, and what both sides say.

    `at` says where in `rows` each of them is, `None` for one that did not come.
    """
    older = {}
    for place, found in enumerate(at):
        if found is None:
            continue
        row, listed = rows[found], planned[place].last_edited_at
        own = row.last_edited_at if isinstance(row, LabelRow) else edited_at(row)
        # Nearly always the same text: nothing is parsed then.
        if own != listed and isinstance(own, str) and listed:
            before, since = moment(own), moment(listed)
            if before is not None and since is not None and before < since:
                older[place] = (
                    f"listed as edited {since:%Y-%m-%d %H:%M:%S}, the row says {before:%Y-%m-%d %H:%M:%S}"
                )
    return older


def _shown(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ")


def moment(text: str) -> datetime | None:
    """The moment that a date text of the platform means, in UTC, cut to seconds; `None` for anything else.

    The forms are ``Thu, 09 Feb 2023 14:12:03 UTC`` (or GMT) and ISO 8601 with a time; without a zone they
    are in UTC.
    """
    try:
        if "," in text:
            _, day, month, year, time, *zone = text.split()
            if len(zone) > 1 or (zone and zone[0] not in _UTC):
                return None
            text = f"{year}-{_MONTHS[month]}-{day:0>2}T{time}"
        if len(text) < _SHORTEST:
            return None
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        return found.replace(microsecond=0)
    except (ValueError, KeyError, OverflowError):
        return None


class _Edited(msgspec.Struct):
    last_edited_at: str | int | float | None = None


_decode = msgspec.json.Decoder(_Edited).decode
# The platform puts it among the first fields, behind texts: then nothing more of the row need be read for it.
_AMONG_FIRST = re.compile(
    rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|null)\s*,)*?\s*"last_edited_at"\s*:\s*"([^"\\]*)"'
)
_FIRST_BYTES = 1024


def edited_at(row: msgspec.Raw | bytes | bytearray | memoryview) -> str | int | float | None:
    """The `last_edited_at` of a label row as sent; `None` where it says none, or is no JSON object."""
    if first := _AMONG_FIRST.match(memoryview(row)[:_FIRST_BYTES]):
        return first[1].decode(errors="replace")
    try:
        return _decode(row).last_edited_at
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
