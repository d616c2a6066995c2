"""Signed URLs of media files: kept in memory only, asked for in small batches, renewed before they expire.

There are two sources. The storage API gives the URL of a single file in a small answer (about 600 bytes, an
estimate), for data without labels, too. Label rows come with the URL of each of their files, whatever they
consist of, but with all their labels. `members` adds a third: the items of groups and scenes.
"""

from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput, CredentialsRefused, SkipRow, Stop
from harvester.fetch.pool import FailedRow, Pool
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.media.unit_files import Place, UnitFacts
from harvester.media.wanted import WantedRow

if TYPE_CHECKING:
    from harvester.encord.session import Session
    from harvester.encord.storage import StorageItem

# A URL is renewed when less than this share of its life is left, or this many seconds if that is less.
_MARGIN_SHARE, _MARGIN = 0.2, 30.0
# Data types of which each unit is one file, so that the storage API has its URL.
_SINGLE = frozenset({"image", "video", "pdf", "audio", "plain_text", "nifti", "time_series"})

Source = Literal["storage", "members", "label rows"]
# Data that is made of other items: the storage API knows the URLs of these, label rows do not sign them.
_OF_MEMBERS = frozenset({"group", "scene"})


class Link(msgspec.Struct, frozen=True):
    """A signed URL, which is a secret; when it expires, and size and type of its file, if they are known."""

    url: str
    asked_at: datetime
    expires: datetime | None = None
    bytes: int | None = None
    mime_type: str | None = None

    @classmethod
    def of(cls, url: str, item: "StorageItem | None" = None) -> "Link":
        """The link with this URL, received now. `item` is what it is of, if that is known."""
        size, mime_type = (item.bytes, item.mime_type) if item else (None, None)
        return cls(url, datetime.now(UTC), expiry_of(url), size, mime_type)

    def is_fresh(self) -> bool:
        """Return whether the URL can still be used for a while."""
        if self.expires is None or self.expires <= self.asked_at:
            return True  # the end is not known, or the clocks of the two machines differ: the store will tell
        life = (self.expires - self.asked_at).total_seconds()
        left = (self.expires - datetime.now(UTC)).total_seconds()
        return left > min(_MARGIN, _MARGIN_SHARE * life)

    def __repr__(self) -> str:
        return "Link()"


class RowLinks(msgspec.Struct):
    """The links of one label row by place, or why there are none."""

    links: dict[Place, Link] = {}
    failed: FailedRow | None = None


def expiry_of(url: str) -> datetime | None:
    """Return when a signed URL expires, as far as its query says it: S3, Google, Azure, CloudFront."""
    values = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    for store in ("x-amz", "x-goog"):
        date, seconds = values.get(f"{store}-date", ""), values.get(f"{store}-expires", "")
        try:
            began = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return began + timedelta(seconds=int(seconds))
        except (ValueError, OverflowError):
            continue
    try:
        if "expires" in values:
            return datetime.fromtimestamp(int(values["expires"]), UTC)
        if "se" in values:
            return datetime.fromisoformat(values["se"]).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def source_of(wanted: WantedRow) -> Source:
    """Return where to ask for the URLs of a row first."""
    kind, only = wanted.row.data_type.lower(), wanted.units
    if is_uuid(wanted.row.backing_item_uuid):
        if kind in _SINGLE and len(only) == 1 and only[0].space_id is None:
            return "storage"
        if kind in _OF_MEMBERS and any(unit.space_id is not None for unit in only):
            return "members"
    return "label rows" if wanted.row.label_hash else "storage"


class StorageSource:
    """URLs from the storage API."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    async def ask(self, wanted: list[WantedRow]) -> list[RowLinks | None]:
        """Return the links of rows of a single file each, in the same order. Sends one request.

        None: the storage API gives no URL of the row. If one of several items may not be read, the whole
        answer is an error, so each is asked for alone.
        """
        rows = [one.row for one in wanted]
        try:
            items = await items_by_uuid(self._session, rows)
        except (BadInput, CredentialsRefused) as error:
            if len(rows) == 1:
                return [forbidden(rows[0], error)]
            return [(await self.ask([one]))[0] for one in wanted]
        return [
            RowLinks({Place(row.data_hash, None, None): Link.of(item.url, item)})
            if (item := items.get(uuid_of(row))) is not None and item.url
            else None
            for row in rows
        ]


class LabelRowSource:
    """URLs from label rows: in the records of their units, as `--signed-urls` has them."""

    def __init__(self, pool: Pool, extractor: Extractor) -> None:
        self._pool = pool
        self._extractor = extractor

    async def ask(self, wanted: list[WantedRow]) -> list[RowLinks | None]:
        """Return the links of rows, in the same order."""
        found: dict[str | None, RowLinks] = {}
        rows = [msgspec.structs.replace(one.row, outcome=None) for one in wanted]
        async with aclosing(self._pool.stream(rows, self._extractor)) as outcomes:
            async for some, outcome in outcomes:
                if isinstance(outcome, FailedRow):
                    found[some[0].label_hash] = RowLinks(failed=outcome)
                    continue
                lines = b"".join(chain.from_iterable(kind.chunks for kind in outcome.lines.values()))
                for unit in map(_decode_unit, lines.splitlines()):
                    links = found.setdefault(unit.label_hash, RowLinks({}))
                    links.links |= {place: Link.of(url) for place, url in unit.urls()}
        return [_without_borrowed(found[row.label_hash]) if row.label_hash in found else None for row in rows]


_decode_unit = msgspec.json.Decoder(UnitFacts).decode


def _without_borrowed(row: RowLinks) -> RowLinks:
    """Leave out the links of spaces that have none of their own, and those that are not signed.

    The record of a space without a link names the data unit's file.
    """
    own = {place.unit_hash: link.url for place, link in row.links.items() if place.space_id is None}
    for place, link in list(row.links.items()):
        borrowed = link.url == own.get(place.unit_hash)
        if place.space_id not in (None, "root") and (borrowed or "?" not in link.url):
            del row.links[place]
    return row


async def items_by_uuid(session: "Session", rows: Iterable[PlanRow]) -> dict[str, "StorageItem"]:
    """Return the storage items of rows, as far as they have any. Sends one request, or none."""
    uuids = [str(row.backing_item_uuid) for row in rows if is_uuid(row.backing_item_uuid)]
    if not uuids:
        return {}
    items = await in_thread(session.storage_items, uuids, abandon_on_cancel=True)
    return {item.uuid: item for item in items}


def forbidden(row: PlanRow, error: Stop) -> RowLinks:
    """Return the links of a row whose items may not be read."""
    return RowLinks(failed=FailedRow.of(row, SkipRow(error.message, failure="forbidden"), 1))


def is_uuid(text: str | None) -> bool:
    try:
        return text is not None and bool(UUID(text))
    except ValueError:
        return False


def uuid_of(row: PlanRow) -> str:
    """Return the id of a row's storage item as the storage API writes it; empty if there is none."""
    return str(UUID(row.backing_item_uuid)) if is_uuid(row.backing_item_uuid) else ""
