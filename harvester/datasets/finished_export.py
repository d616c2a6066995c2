"""A finished export, as conversions read it: label rows with their live records, listing and ontology."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import msgspec

from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.live import damage_named, finished, own_manifest
from harvester.live_rows import LiveRow, live_pieces, live_rows
from harvester.output.generations import folder_of
from harvester.output.layout import STATE
from harvester.output.lines import checked_lines
from harvester.output.manifest import ListingFile
from harvester.output.planfile import PlainFile, read_header
from harvester.output.store_address import is_address
from harvester.schema import Kind


class _ListedBranch(msgspec.Struct, gc=False):
    branch_name: str | None
    outcome: str


class FinishedExport:
    """A finished export, synced or not, in a directory or an object store. Reads only; blocking."""

    def __init__(self, target: Path | str) -> None:
        """Open the export.

        Raises:
            BadInput: there is no finished export.
            Unsound: its manifest is damaged.
            TargetRefused: it has another format.
        """
        self._target, self.manifest = finished(target)
        self.name = one_line(self._target.name)
        # Refuses a target of another format.
        read_header(folder_of(self._target, self.manifest.base.generation))
        self._last = folder_of(self._target, self.manifest.last)
        own = own_manifest(self._last, self.manifest, self.manifest.last)
        self._listing: ListingFile | None = own.listing

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of record that the export has."""
        return self.manifest.options.kinds

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of label rows, as of the last sync: ``listed`` and by outcome."""
        return (self.manifest.generation(self.manifest.last) or self.manifest).counts

    def rows(self, kinds: Iterable[Kind]) -> Iterator[LiveRow]:
        """Yield the harvested label rows with their live records of these `kinds`, in plan order.

        Raises Unsound if a file is missing or damaged.
        """
        return live_rows(self._target, self.manifest, kinds)

    def damage_named(self) -> AbstractContextManager[None]:
        """Name the file that is damaged in an error, see `harvester.live.damage_named`."""
        return damage_named(self._target, self.manifest)

    def check_is_outside(self, place: str) -> None:
        """Raise BadInput if a place is in a folder that the export itself makes.

        `place` is the path of a directory, without links, or an address.
        """
        for folder in (self._target.within(STATE).name, os.path.dirname(folder_of(self._target, 1).name)):
            own = folder if is_address(folder) else os.path.realpath(folder)
            if f"{place}/".startswith(f"{own}/"):
                raise BadInput(one_line(f"{place} is of the export itself: choose another place"))

    def pieces(self, kind: Kind) -> Iterator[list[bytes]]:
        """Yield the live records of one kind, as `rows` does, many at once: that takes less time."""
        return live_pieces(self._target, self.manifest, kind)

    @cached_property
    def branches(self) -> set[str | None]:
        """The branches that have harvested rows. Raises Unsound if the listing is missing or damaged."""
        decode = msgspec.json.Decoder(_ListedBranch).decode
        return {row.branch_name for line in self.listing() if (row := decode(line)).outcome == "harvested"}

    def listing(self) -> Iterator[bytes]:
        """Yield the lines of the last listing, in plan order: `harvester.schema.ListingLine`.

        Raises Unsound if the listing is missing or damaged.
        """
        if self._listing is None:
            raise Unsound(f"{self.name} has no listing: see harvester verify")
        return checked_lines(self._last, self._listing)

    @property
    def listing_sha256(self) -> str | None:
        """The sha256 of the file of the listing. The export's digest does not cover it."""
        return self._listing.sha256 if self._listing else None

    def ontology(self) -> bytes | None:
        """Return the ontology as of the last sync, as sent; None if it was not at hand.

        Raises Unsound if its file is missing or damaged.
        """
        file: PlainFile | None = (self.manifest.generation(self.manifest.last) or self.manifest).ontology
        if file is None:
            return None
        for number in reversed(self.manifest.numbers):  # in the last generation in which it changed
            data = folder_of(self._target, number).read(file.name)
            if data is not None and _describes(file, data):
                return data
        raise Unsound(f"{self.name}: {file.name} is missing or damaged: see harvester verify")


def _describes(file: PlainFile, data: bytes) -> bool:
    return len(data) == file.bytes and hashlib.sha256(data).hexdigest() == file.sha256
