"""Storage items: the files behind data units, in bulk and with signed URLs.

The SDK's `get_storage_items` reads with a POST; see `guard`. Its own result type has some thirty fields, most
of them required. Here only those count that are used, so that changes of others do no harm.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from encord.http.v2.api_client import ApiClient
from encord.http.v2.payloads import Page
from encord.orm.base_dto import BaseDTO

_PATH = "storage/items/get-bulk"


class StorageItem(msgspec.Struct, frozen=True):
    """A file in the platform's storage, or several that belong together.

    `url` is signed, and so a secret; None for what is not a single file. `bytes` is the size of the file, if
    it is known. `parent` is the folder that the item is in.
    """

    uuid: str
    item_type: str
    url: str | None = None
    bytes: int | None = None
    name: str = ""
    parent: str = ""
    mime_type: str | None = None

    def __repr__(self) -> str:
        return f"StorageItem({self.uuid!r}, {self.item_type!r})"


class _ItemFields(BaseDTO):
    uuid: UUID
    item_type: str
    signed_url: str | None = None
    file_size: int | None = None
    mime_type: str | None = None
    name: str = ""
    parent: UUID | None = None


class _ChildrenQuery(BaseDTO):
    sign_urls: bool


class _SceneLinks:
    """The files of a scene: each with its own address and a signed URL, wherever they stand in the answer."""

    def __init__(self, links: dict[str, str]) -> None:
        self.links = links

    @classmethod
    def from_dict(cls, answer: dict[str, Any]) -> "_SceneLinks":
        found, todo = dict[str, str](), [answer]
        while todo:
            value: Any = todo.pop()
            if isinstance(value, dict):
                url, signed = value.get("url"), value.get("signedUrl") or value.get("signed_url")
                if isinstance(url, str) and isinstance(signed, str):
                    found[url] = signed
                todo += value.values()
            elif isinstance(value, list):
                todo += value
        return cls(found)


class _ItemsQuery(BaseDTO):
    item_uuids: list[UUID]
    sign_urls: bool


def items_of(api: ApiClient, uuids: Sequence[str], *, signed: bool) -> list[StorageItem]:
    """Return the storage items with these ids. Raises what the SDK raises."""
    query = _ItemsQuery(item_uuids=[UUID(uuid) for uuid in uuids], sign_urls=signed)
    return _items(api.post(_PATH, params=None, payload=query, result_type=Page[_ItemFields]))


def children_of(api: ApiClient, item: StorageItem) -> list[StorageItem]:
    """Return the items that an item is made of: images, slices, members. Raises what the SDK raises."""
    path = f"storage/folders/{item.parent}/items/{item.uuid}/child-items"
    return _items(api.get(path, _ChildrenQuery(sign_urls=True), Page[_ItemFields]))


def scene_links(api: ApiClient, uuid: str) -> dict[str, str]:
    """Return the signed URL of each file of a scene, by its own address. Raises what the SDK raises."""
    made: Any = api.get(f"scene/{uuid}", None, _SceneLinks)  # type: ignore[type-var]  # it has `from_dict`
    links: dict[str, str] = made.links
    return links


def _items(page: Any) -> list[StorageItem]:
    return [
        StorageItem(
            uuid=str(item.uuid),
            item_type=item.item_type,
            url=item.signed_url,
            bytes=item.file_size,
            name=item.name,
            parent=str(item.parent or ""),
            mime_type=item.mime_type,
        )
        for item in page.results
    ]
