"""Finds the units of a finished export whose files are wanted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.labels.wire import PlanRow
from harvester.live import live_records
from harvester.live_rows import live_rows
from harvester.media.options import MediaOptions
from harvester.media.unit_files import UnitFacts
from harvester.media.wanted import WantedMedia
from harvester.output.generations import folder_of
from harvester.output.layout import LISTING
from harvester.output.lines import read_as
from harvester.output.manifest import Manifest
from harvester.output.target import Target
from harvester.schema import LISTING_KEYS
from harvester.splitting.division import division_of

# The units of a row: each record as decoded JSON, and the facts that are read of it.
Units = Sequence[tuple[Mapping[str, Any], UnitFacts]]


def find_units(wanted: WantedMedia, target: Target, manifest: Manifest, options: MediaOptions) -> None:
    """Add the rows of a finished export to `wanted`, in plan order; then those without labels. Blocking.

    Raises:
        BadInput: the export has no records of units, or none in a split.
        Unsound: it is damaged.
    """
    if "units" not in manifest.options.kinds:
        raise BadInput(f"{one_line(target.name)} has no records of units: export it with --emit units,...")
    choice = _UnitChoice(options)
    for live in live_rows(target, manifest, ["units"]):
        units = [_unit(line) for line in live.lines["units"]]
        wanted.add(live.listed, [unit for _, unit in units], choice.of(live.listed, units))
    if options.frames == "labelled":
        wanted.note_labelled(_labelled_frames(target))
    for row in read_as(folder_of(target, manifest.last), LISTING, PlanRow):
        if row.label_hash is None:
            unit = _unit_of(row)
            wanted.add(row, [unit], choice.of(row, [({}, unit)]) if options.only == "all" else [])
    choice.check(target)


class _UnitChoice:
    """Chooses units, as the options say."""

    def __init__(self, options: MediaOptions) -> None:
        self._options = options
        self._where = options.chooses()
        self._division = division_of(options)

    def of(self, row: PlanRow, units: Units) -> list[UnitFacts]:
        """Return those of a row's units whose files are wanted. To be called once a row."""
        chosen = [unit for record, unit in units if self._is_of_kind(unit) and self._matches(row, record)]
        if chosen and self._division.of(row) not in (self._options.only_splits or (None,)):
            return []
        return chosen

    def check(self, target: Target) -> None:
        """Raise BadInput if there is nothing in a split. To be called at the end."""
        self._division.check(target.name, self._options.only_splits)

    def _is_of_kind(self, unit: UnitFacts) -> bool:
        if self._options.data_types and unit.data_type not in self._options.data_types:
            return False
        records = (unit.objects or 0) + (unit.classifications or 0)
        match self._options.only:
            case "labelled":
                return records > 0
            case "empty":
                return records == 0
        return True

    def _matches(self, row: PlanRow, record: Mapping[str, Any]) -> bool:
        """Return whether the expression is true of a unit with its line in the listing."""
        if self._where is None:
            return True
        values: dict[str, Any] = {key: getattr(row, key) for key in LISTING_KEYS}
        values |= {"data_type": row.data_type.lower()} | dict(record)
        return self._where.matches(msgspec.json.encode(values), row.label_hash)


def _labelled_frames(target: Target) -> Iterator[tuple[str, str, int]]:
    """Yield unit, space and number of each frame that has objects."""
    records: Iterator[Any] = live_records(target.name, kinds=["objects"])
    for record in records:
        if isinstance(record["frame"], int):
            yield record["unit_hash"] or record["data_hash"], record["space_id"] or "", record["frame"]


def _unit(line: bytes) -> tuple[dict[str, Any], UnitFacts]:
    try:
        record = msgspec.json.decode(line, type=dict[str, Any])
        return record, msgspec.convert(record, UnitFacts)
    except (ValueError, RecursionError) as error:
        raise Unsound(f"the export has a line that is no record of a unit: {error}") from error


def _unit_of(row: PlanRow) -> UnitFacts:
    """The unit of a row without labels, as far as the listing knows it."""
    return UnitFacts(
        label_hash=None,
        branch_name=row.branch_name,
        data_hash=row.data_hash,
        data_type=row.data_type.lower(),  # in the listing it is in upper case
        unit_hash=row.data_hash,
        file_name=row.data_title,
        width=row.width,
        height=row.height,
        number_of_frames=row.number_of_frames,
    )
