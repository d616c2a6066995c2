"""Label rows made by hand, or by a test, served by the simulator's own application over TLS."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Queue
from typing import Any

from harvester.simulator.server import Listening, Options, serve
from harvester.simulator.world import World, WorldSpec
from tests.e2e.conftest import Command, command_for
from tests.patience import LONG

Json = dict[str, Any]

TITLE = "Made by hand"


class HandmadeWorld(World):
    """A project of these label rows and this ontology.

    Args:
        rows: the JSON of each label row, by label hash.
        listed: what the listing says of each beside what any row has.
    """

    def __init__(self, ontology: Json, rows: Mapping[str, bytes], listed: Mapping[str, Json]) -> None:
        super().__init__(WorldSpec(rows=0, title=TITLE))
        self._made = ontology
        self._rows = rows
        self._listed = listed

    def ontology(self) -> Json:
        return self._made

    def listing(self, query: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        wanted = (query or {}).get("label_hashes")
        for label_hash in self._rows:
            if wanted is None or label_hash in wanted:
                yield json.dumps(self._item(label_hash)).encode()

    def _item(self, label_hash: str) -> Json:
        row = json.loads(self._rows[label_hash])
        copied = (
            "label_hash", "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title",
            "created_at", "last_edited_at", "label_status",
        )  # fmt: skip
        item = {key: row[key] for key in copied} | {"data_type": row["data_type"].upper()}
        return item | {"data_link": None, "spaces": {}, **self._listed.get(label_hash, {})}

    def label_row(self, label_hash: str, *, reviews: bool = False, **asked: Any) -> bytes | None:
        row = self._rows.get(label_hash)
        return row if row is None or reviews else json.dumps(_without_reviews(json.loads(row))).encode()


def _without_reviews(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_reviews(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_reviews(item) for key, item in value.items() if key != "reviews"}
    return value


@contextmanager
def serving(
    ontology: Json, rows: Mapping[str, bytes], listed: Mapping[str, Json] | None = None
) -> Iterator[Command]:
    """The installed command for a user of these label rows, which a thread of this process serves."""
    heard: Queue[Listening] = Queue()
    ending: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    def stop(ended: asyncio.Event) -> None:
        ending.put((asyncio.get_running_loop(), ended))

    def world(_: WorldSpec) -> World:
        return HandmadeWorld(ontology, rows, listed or {})

    options = Options(spec=WorldSpec(rows=len(rows)))
    thread = threading.Thread(target=serve, args=(options, heard.put, stop, world), daemon=True)
    thread.start()
    listening = heard.get(timeout=LONG)
    try:
        yield command_for(listening)  # type: ignore[arg-type]  # it has what is needed of a simulator
    finally:
        loop, ended = ending.get()
        loop.call_soon_threadsafe(ended.set)
        thread.join(LONG)
