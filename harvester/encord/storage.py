"""Storage items: the files behind data units, in bulk and with signed URLs.

The SDK's `get_storage_items` reads with a POST; see `guard`. Its own result type has some thirty fields, most
of them required. Here only those count that are used, so that changes of others do no harm.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from encord.http.v2.api_client import ApiClient
from encord.http.v2.payloads import Page
from encord.orm.base_dto import BaseDTO

_PATH = "storage/items/get-bulk"


class StorageItem(msgspec.Struct, frozen=True):
    """A file in the platform's storage, or several that belong together.

    `url` is signed, and so a secret; None for what is not a single file. `bytes` is the size of the file, if
    it is known.
    """

    uuid: str
    item_type: str
    url: str | None = None
    bytes: int | None = None

    def __repr__(self) -> str:
        return f"StorageItem({self.uuid!r}, {self.item_type!r})"


class _ItemFields(BaseDTO):
    uuid: UUID
    item_type: str
    signed_url: str | None = None
    file_size: int | None = None


class _ItemsQuery(BaseDTO):
    item_uuids: list[UUID]
    sign_urls: bool


def items_of(api: ApiClient, uuids: Sequence[str]) -> list[StorageItem]:
    """Return the storage items with these ids. Raises what the SDK raises."""
    query = _ItemsQuery(item_uuids=[UUID(uuid) for uuid in uuids], sign_urls=True)
    page = api.post(_PATH, params=None, payload=query, result_type=Page[_ItemFields])
    return [
        StorageItem(str(item.uuid), item.item_type, item.signed_url, item.file_size) for item in page.results
    ]
