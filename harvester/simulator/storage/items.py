"""Storage items as the v2 API answers them: `encord.orm.storage.StorageItem`; and scenes."""

from typing import Any

import orjson

from harvester.simulator.dates import date_text
from harvester.simulator.identity import FOLDER
from harvester.simulator.listing import LINK
from harvester.simulator.messages import Refusal
from harvester.simulator.metadata import client_metadata
from harvester.simulator.ontology import Json
from harvester.simulator.state import RowFacts
from harvester.simulator.storage.catalogue import StoredFile
from harvester.simulator.storage.signing import PROVIDERS
from harvester.simulator.storage.store import FOLDER_PATH, Found, Store

_ABSENT = dict.fromkeys(
    (
        "integrationHash", "url", "signedUrl", "fileSize", "mimeType", "duration", "fps", "height", "width",
        "dicomInstanceUid", "dicomStudyUid", "dicomSeriesUid", "frameCount", "audioSampleRate",
        "audioBitDepth", "audioCodec", "audioNumChannels",
    )
)  # fmt: skip


class Items:
    """The storage part of the API, over a store. Unknown items are refused as not accessible."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def one(self, uuid: str, *, signed: bool) -> Json:
        return self._item(self._found(uuid), signed)

    def children(self, folder: str, uuid: str, *, signed: bool) -> list[Json]:
        """Return the items that an item consists of."""
        found = self._found(uuid)
        if folder.lower() != self._folder(found.row):
            raise Refusal("AUTHORISATION_ERROR")
        return [self._item(Found(found.row, child), signed) for child in found.item.children]

    def summary(self, uuid: str) -> Json:
        """Return where an item is used; for a group, also the child of each key of its layout."""
        row, item = self._found(uuid)
        made: Json = {
            "frameInGroups": int(item.part > 0),
            "accessibleGroupItems": [],
            "usedInDatasets": int(item.part == 0),
            "accessibleDatasets": [],
        }
        if item.item_type == "group":
            keys = {child.key: {"uuid": self._store.uuid(row, child)} for child in item.children}
            made["groupLayout"] = {"layoutContents": keys, "layout": None, "layoutSettings": {}}
        return made

    def scene(self, uuid: str) -> Json:
        """Return a scene's streams, each event with a signed URL (`encord.beta.scene.internal.scene`)."""
        row, item = self._found(uuid)
        if item.item_type != "scene":
            raise Refusal("RESOURCE_NOT_FOUND_ERROR")
        if item.scene is None:
            assert item.file is not None
            return {"type": "self_contained", "format": "mcap"} | self._links(row, item.file)
        streams: Json = {}
        for name, files in item.scene.items():
            kind = "point_cloud" if files[0].format == "pcd" else "image"
            events = [
                {"timestamp": float(place)} | self._links(row, file) for place, file in enumerate(files)
            ]
            streams[name] = {"type": "event", "id": name, "stream": {"entityType": kind, "events": events}}
        return {"type": "composite", "streams": streams}

    def _links(self, row: RowFacts, file: StoredFile) -> Json:
        return {"url": self._url(row, file), "signedUrl": self._store.sign(row, file.suffix).decode()}

    def _url(self, row: RowFacts, file: StoredFile) -> str:
        return LINK.decode() + self._store.path(row, file.suffix).removeprefix(FOLDER_PATH)

    def _found(self, uuid: str) -> Found:
        found = self._store.find_item(uuid)
        if found is None:
            raise Refusal("AUTHORISATION_ERROR", f"no access to storage item {uuid}")
        return found

    def _folder(self, row: RowFacts) -> str:
        """Return the folder of the row's dataset."""
        return self._store.state.hashes.text(FOLDER, row.bits % len(PROVIDERS))

    def _item(self, found: Found, signed: bool) -> Json:
        from harvester.simulator.storage.formats import FORMATS

        (row, item), state = found, self._store.state
        after_title = not item.label or item.label.startswith("/")
        made: dict[str, Any] = _ABSENT | {
            "uuid": self._store.uuid(row, item),
            "parent": self._folder(row),
            "itemType": item.item_type,
            "name": state.title(row) + item.label if after_title else item.label,
            "clientMetadata": "{}" if item.part else self._metadata(row),
            "owner": "owner@example.com",
            "createdAt": date_text(row.created, 3).decode(),
            "lastEditedAt": date_text(row.created, 3).decode(),
            "backedDataUnitsCount": 1,
            "storageLocation": self._store.provider(row),
        }
        made |= item.facts
        if item.file is not None and item.item_type != "scene":  # a scene's files are asked for as a scene
            made |= {
                "url": self._url(row, item.file),
                "fileSize": self._store.blob(row, item.file).size,
                "mimeType": FORMATS[item.file.format].mime_type,
            }
            if signed:
                made["signedUrl"] = self._store.sign(row, item.file.suffix).decode()
        return made

    def _metadata(self, row: RowFacts) -> str:
        edited = self._store.state.client_metadata.get(row.number)
        return (orjson.dumps(client_metadata(row) or {}) if edited is None else edited).decode()
