"""Notes: peculiarities of a harvested label row that a user should know of."""

import msgspec

from harvester.labels.wire import PlanRow
from harvester.schema import NOTES

_NAMED = 3  # the number of details that a note quotes; further ones are only counted

# One thing to note about a row: (kind of note, detail).
Remark = tuple[str, str]


class Note(msgspec.Struct, frozen=True):
    """A line of ``notes-*.ndjson``; see `harvester.schema.NoteLine`."""

    label_hash: str
    data_title: str
    note: str
    detail: str


class Remarks:
    """Collects the notes on one row while it is read."""

    def __init__(self) -> None:
        self._details: dict[str, dict[str, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._details)

    def add(self, note: str, where: str) -> None:
        """Add a detail to a kind of note; `where` says what in the row it is about. Repeats are ignored."""
        self._details.setdefault(note, {})[where] = None

    def notes(self, row: PlanRow) -> list[Note]:
        """Return the notes on `row`: at most one of each kind, in the order of `harvester.schema.NOTES`."""
        found = []
        for note in NOTES:
            if details := self._details.get(note):
                named = ", ".join(list(details)[:_NAMED])
                more = len(details) - _NAMED
                detail = f"{named} and {more:,} more" if more > 0 else named
                found.append(Note(row.label_hash or "", row.data_title, note, detail))
        return found
