"""Notes: what a user should know of a label row that was harvested."""

import msgspec

from harvester.labels.wire import PlanRow
from harvester.schema import NOTES

_NAMED = 3  # places that a note names; all are counted

# What is noted of a row: which note, and the detail.
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
        self._places: dict[str, dict[str, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._places)

    def add(self, note: str, where: str) -> None:
        """Add a place to a note. A place that is there already is not added again."""
        self._places.setdefault(note, {})[where] = None

    def notes(self, row: PlanRow) -> list[Note]:
        """The notes on `row`, in the order of the schema, one of each kind."""
        found = []
        for note in NOTES:
            if places := self._places.get(note):
                named = ", ".join(list(places)[:_NAMED])
                more = len(places) - _NAMED
                detail = f"{named} and {more:,} more" if more > 0 else named
                found.append(Note(row.label_hash or "", row.data_title, note, detail))
        return found
