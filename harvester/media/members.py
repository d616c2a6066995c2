"""Signed URLs of data that is made of other items: the members of a group, the files of a scene.

Label rows hold no signed URLs of spaces. Each space has an item in the storage API: in a group, the child
item with the name of the space; in a scene, the file at the space's address.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput, CredentialsRefused
from harvester.media.links import Link, RowLinks, forbidden, items_by_uuid, uuid_of
from harvester.media.unit_files import Place
from harvester.media.wanted import WantedRow

if TYPE_CHECKING:
    from harvester.encord.session import Session
    from harvester.encord.storage import StorageItem

T = TypeVar("T")

_AT_ONCE = 4  # rows that are asked for at the same time: each takes two requests or more. Chosen


class MembersSource:
    """URLs from the storage API, for the spaces of groups and scenes."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._limit = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(self, rows: list[WantedRow]) -> list[RowLinks | None]:
        """Return the links of rows, in the same order; None for a row of which nothing was found."""
        found: list[RowLinks | None] = [None] * len(rows)

        async def one(place: int, wanted: WantedRow) -> None:
            async with self._limit:
                found[place] = await self._of_row(wanted)

        async with anyio.create_task_group() as tasks:
            for place, wanted in enumerate(rows):
                tasks.start_soon(one, place, wanted)
        return found

    async def _of_row(self, wanted: WantedRow) -> RowLinks | None:
        links = dict[Place, Link]()
        try:
            item = (await items_by_uuid(self._session, [wanted.row])).get(uuid_of(wanted.row))
            if item is None:
                return None
            if wanted.row.data_type.lower() == "scene":
                by_address = await in_thread(self._session.scene_links, item.uuid, abandon_on_cancel=True)
                links |= dict(_of_scene(wanted, by_address))
            else:
                await self._of_group(wanted, item, links)
        except (BadInput, CredentialsRefused) as error:
            return forbidden(wanted.row, error)
        return RowLinks(links)

    async def _of_group(self, wanted: WantedRow, item: "StorageItem", links: dict[Place, Link]) -> None:
        children = await self._children(item)
        spaces = [unit for unit in wanted.all_units if unit.space_id is not None]
        asked = {unit.space_id for unit in wanted.units}
        for unit, child in _paired(spaces, [unit.file_name for unit in spaces], children):
            if child.url:
                links[Place(unit.hash, unit.space_id, None)] = Link.of(child.url, child)
            elif unit.slices and unit.space_id in asked:
                parts = await self._children(child)
                names = [each.file_name for each in unit.slices]
                for each, part in _paired(unit.slices, names, parts):
                    if part.url:
                        links[Place(unit.hash, unit.space_id, each.frame)] = Link.of(part.url, part)

    async def _children(self, item: "StorageItem") -> "list[StorageItem]":
        ask = partial(self._session.storage_children, item)
        return await in_thread(ask, abandon_on_cancel=True)


def _of_scene(wanted: WantedRow, by_address: Mapping[str, str]) -> Iterator[tuple[Place, Link]]:
    """Yield the links of a scene's spaces, each found by its address, or by the end of that.

    A scene of a single file has spaces inside that file. It is the file of the data unit.
    """
    for unit in wanted.units:
        name = f"/{(unit.file_name or '').removeprefix('/')}"
        found = [url for address, url in by_address.items() if f"/{address}".endswith(name)]
        if unit.space_id is None:
            found = list(by_address.values())
        if len(found) == 1:
            yield Place(unit.hash, unit.space_id, None), Link.of(found[0])


def _paired(
    things: Sequence[T], names: Sequence[str | None], items: "Sequence[StorageItem]"
) -> "list[tuple[T, StorageItem]]":
    """Pair things with the items of the same name; where names are not unique, by order if numbers agree."""
    by_name = {item.name: item for item in items}
    if len(by_name) == len(items) and len(set(names)) == len(names) and set(names) <= by_name.keys():
        return [(thing, by_name[name or ""]) for thing, name in zip(things, names, strict=True)]
    return list(zip(things, items, strict=True)) if len(things) == len(items) else []
