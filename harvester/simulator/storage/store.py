"""The object store: finds items by their uuid and files by their path, and signs links to them."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from harvester.simulator.identity import DATA, ITEM
from harvester.simulator.listing import LINK
from harvester.simulator.state import RowFacts, State
from harvester.simulator.storage.blob import Blob
from harvester.simulator.storage.catalogue import Catalogue, StoredFile, StoredItem
from harvester.simulator.storage.signing import PROVIDERS, Provider, Signer

DAY = 86_400.0
# The path of a file: this, the data hash of its row, its suffix. As in links that are not signed.
FOLDER_PATH = "/" + LINK.decode().split("/", 3)[3]
_HASH = 36  # characters


class Found(NamedTuple):
    """An item, and the row that it belongs to."""

    row: RowFacts
    item: StoredItem


class Store:
    """The files of a world.

    Attributes:
        base: URL of the server of files, without a path. Until one listens, links lead nowhere.
        clock: what time it is there.
        life: seconds that a signed URL is good for.
    """

    def __init__(self, state: State, catalogue: Catalogue) -> None:
        self.state = state
        self._catalogue = catalogue
        self.signer = Signer(f"{state.spec.seed}/{state.spec.title}")
        self.base = LINK.decode().removesuffix(FOLDER_PATH)
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.life = DAY
        self._made: set[tuple[str, tuple[Any, ...]]] = set()
        self._making = asyncio.Lock()

    async def make(self, files: Iterable[StoredFile]) -> None:
        """Draw and encode what is not made yet of these files, in a thread: a video takes seconds."""
        new = {(file.format, file.arguments) for file in files} - self._made
        if new:
            from harvester.simulator.storage.formats import shared

            async with self._making:  # what somebody else has just made is not made again
                await asyncio.to_thread(lambda: [shared(*each) for each in new])
            self._made |= new

    def sign(self, row: RowFacts, suffix: str) -> bytes:
        """Return a signed URL of the row's file of that suffix."""
        path = self.path(row, suffix)
        query = self.signer.query(self.provider(row), path, self.clock(), self.life)
        return f"{self.base}{path}?{query}".encode()

    def path(self, row: RowFacts, suffix: str) -> str:
        return f"{FOLDER_PATH}{self.state.hashes.text(DATA, row.number)}{suffix}"

    def provider(self, row: RowFacts) -> Provider:
        """Return where the files of the row's dataset are stored."""
        return PROVIDERS[row.bits % len(PROVIDERS)]

    def find_item(self, uuid: str) -> Found | None:
        """Return the item of a uuid; None if there is none, or no longer."""
        found = self.state.hashes.read(ITEM, uuid.lower())
        if found is None or found[0] not in self.state.numbers:
            return None
        number, part = found
        row = self.state.row(number)
        if row is None:
            return None
        own = self._catalogue.item(row.recipe, row.variant)
        item = next((item for item in own.within() if item.part == part), None)
        return item and Found(row, item)

    def find_file(self, path: str) -> tuple[RowFacts, StoredFile] | None:
        """Return the file at a path, and its row; None if there is none, or no longer."""
        rest = path.removeprefix(FOLDER_PATH)
        row = self.state.find_data(rest[:_HASH]) if rest != path else None
        if row is None:
            return None
        suffix = rest[_HASH:]
        files = self._catalogue.item(row.recipe, row.variant).files()
        return next(((row, file) for file in files if file.suffix == suffix), None)

    def blob(self, row: RowFacts, file: StoredFile, version: int = 0) -> Blob:
        """Return a file's bytes; another version differs, and is as long. The first of a kind is slow."""
        from harvester.simulator.storage.formats import blob  # draws and encodes: not before it is asked to

        name = self.state.hashes.text(DATA, row.number) + file.suffix
        return blob(file.format, file.arguments, name.replace("-", "_") if version else name)

    def created(self, row: RowFacts) -> datetime:
        """Return when the row's files were stored."""
        return datetime.fromtimestamp(row.created, UTC)

    def uuid(self, row: RowFacts, item: StoredItem) -> str:
        return self.state.hashes.text(ITEM, row.number, item.part)
