"""Gives workers their URLs: asks for the next ones in batches, and again for those that have expired."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Protocol

import anyio
import msgspec

from harvester.errors import SkipRow
from harvester.fetch.call import FailedRow
from harvester.labels.wire import PlanRow
from harvester.media.counters import MediaCounters
from harvester.media.links import Link, RowLinks, Source, source_of
from harvester.media.unit_files import MediaFile, Place
from harvester.media.wanted import WantedRow

# Files whose URLs are asked for at once: at most, and at first. A renewal halves the number, because it shows
# that URLs expired before they were used; each batch adds a few. Chosen.
MOST_AT_ONCE = 100
_AT_FIRST, _STEP = 50, 5
_MOST_KEPT = 2000  # renewed URLs that nobody has taken yet


class LinkSource(Protocol):
    """Where URLs come from."""

    async def ask(self, rows: list[WantedRow], /) -> list[RowLinks | None]:
        """Return the links of rows, in the same order; None for a row of which nothing was found."""


class FileToFetch(msgspec.Struct):
    """A file, with its link; or why it failed; or neither, if the platform has no such file."""

    wanted: WantedRow
    file: MediaFile
    link: Link | None = None
    failed: FailedRow | None = None

    @property
    def row(self) -> PlanRow:
        """The label row, as it was listed."""
        return self.wanted.row


class LinkDesk:
    """Asks for URLs. For one event loop.

    Args:
        sources: label rows come last, and are asked for what the other sources do not have.
    """

    def __init__(self, sources: Mapping[Source, LinkSource], counters: MediaCounters) -> None:
        self._sources = sources
        self._counters = counters
        self._at_once = float(_AT_FIRST)
        self._waiting: dict[int, WantedRow] = {}
        self._renewed: dict[tuple[int, Place], Link] = {}
        self._one_at_a_time = anyio.Lock()

    def next_rows(self, missing: Iterator[WantedRow]) -> list[WantedRow]:
        """Take the rows of the next batch from `missing`."""
        rows, files = list[WantedRow](), 0
        for wanted in missing:
            rows.append(wanted)
            files += sum(len(unit.files()) for unit in wanted.units)
            if files >= self._at_once:
                break
        return rows

    async def ask(self, rows: list[WantedRow]) -> list[FileToFetch]:
        """Return the files of these rows, with their links."""
        self._at_once = min(self._at_once + _STEP, MOST_AT_ONCE)
        found = dict[int, RowLinks]()
        left = {wanted.number: wanted for wanted in rows}
        for name, source in self._sources.items():
            if name == "label rows":
                here = [one for one in left.values() if one.row.label_hash]
            else:
                here = [one for one in left.values() if source_of(one) == name]
            for one, links in zip(here, await source.ask(here) if here else (), strict=True):
                if links is not None:
                    found[one.number] = links
                    if links.failed is None:
                        del left[one.number]
        return list(chain.from_iterable(_files(one, found.get(one.number, RowLinks())) for one in rows))

    async def fresh(self, one: FileToFetch, *, refused: bool) -> Link:
        """Return a link of the file that can be used now. `refused`: the present one cannot.

        Raises:
            SkipRow: there is none any more.
        """
        if one.link is not None and one.link.is_fresh() and not refused:
            return one.link
        key, old = (one.wanted.number, one.file.place), one.link
        self._at_once = max(1.0, self._at_once / 2)
        for _ in range(2):
            link = self._renewed.pop(key, None)
            if link is not None and link.is_fresh() and link != old:
                one.link = link
                return link
            await self._renew(one.wanted)
        link = self._renewed.pop(key, None)
        if link is None:
            raise SkipRow("the platform gives no URL of the file any more", failure="left_out")
        one.link = link
        return link

    async def _renew(self, wanted: WantedRow) -> None:
        """Ask for the links of a row again. The first caller asks for all rows that wait by then."""
        self._waiting[wanted.number] = wanted
        async with self._one_at_a_time:
            if wanted.number not in self._waiting:
                return
            rows, self._waiting = list(self._waiting.values()), {}
            if len(self._renewed) > _MOST_KEPT:
                self._renewed.clear()
            self._counters.renewed += len(rows)
            for one in await self.ask(rows):
                if one.link is not None:
                    self._renewed[one.wanted.number, one.file.place] = one.link


def _files(wanted: WantedRow, found: RowLinks) -> Iterator[FileToFetch]:
    """Yield the files of a row: one for each slice that has a link, otherwise the only one of its unit.

    Data that is made of other data, and of which there is no link, is skipped: its members count. Of a row
    without labels it is not skipped, as nothing names its members.
    """
    for unit in wanted.units:
        files = unit.files()
        if not any(file.place in found.links for file in files):
            files = (unit.only_file(),)
            linked = files[0].place in found.links
            if wanted.row.label_hash and unit.is_composite and not linked and found.failed is None:
                continue
        for file in files:
            yield FileToFetch(wanted, file, found.links.get(file.place), found.failed)
