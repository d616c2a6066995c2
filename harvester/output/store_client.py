"""Objects in a bucket. The only module that uses obstore; its errors are translated into ours.

obstore finds credentials as each cloud's own tools do: in environment variables, by web identity, and from
the metadata of the instance or container.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from harvester.errors import BadInput, CannotFinishNow, StoreAway, how_to_install
from harvester.output.layout import check_size
from harvester.output.store_address import Address
from harvester.output.store_errors import BUCKET_MISSING, translate
from harvester.settings import object_store_ca_bundle, object_store_plain_http

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

CHUNK = 5 * 1024**2  # bytes; the smallest part of a multipart upload that S3 accepts
_CHUNKS_IN_FLIGHT = 2
_PIECE = 1024**2
AT_ONCE = 1000  # objects that a request lists or deletes; S3 takes no more


class ObjectChanged(Exception):
    """The condition of a write does not hold: another process has written the object."""


class Timing(NamedTuple):
    """How long requests may take, in seconds, and how often obstore repeats one that fails.

    `repeating` is the time after its first attempt in which a request may be repeated. It must be shorter
    than the part of a lease that is left when a write begins (`harvester.output.lease`): what is sent later
    may come after another process has taken over.
    """

    connecting: float = 10
    reading: float = 60  # until the next bytes arrive
    whole: float = 600
    repeats: int = 3
    repeating: float = 8


OF_DATA = Timing()
# A lock is a few hundred bytes, and of no use once its lease has ended.
OF_LOCK = Timing(connecting=5, reading=8, whole=8, repeats=1, repeating=5)


class Objects:
    """The objects below an address. Methods block, and may be called from several threads.

    They raise StoreAway soon if the store does not answer. Waiting for it is up to the caller, see
    `harvester.output.outages`.
    """

    def __init__(
        self, address: Address, store: "ObjectStore | None" = None, *, timing: Timing = OF_DATA
    ) -> None:
        try:
            import obstore
        except ModuleNotFoundError as error:
            raise BadInput(f"{address} needs more than is here: {how_to_install('cloud')}") from error
        self._obstore = obstore
        self.address = address
        self._store = store or self._open(timing)

    def _open(self, timing: Timing) -> "ObjectStore":
        from obstore.store import from_url

        client: dict[str, Any] = {
            "allow_http": object_store_plain_http(self.address.scheme),
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=timing.connecting),
            "read_timeout": timedelta(seconds=timing.reading),
            "timeout": timedelta(seconds=timing.whole),
        }
        if (bundle := object_store_ca_bundle()) is not None:
            client["root_certificate"] = bundle
        backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2}
        until = timedelta(seconds=timing.repeating)
        retry: Any = {"max_retries": timing.repeats, "retry_timeout": until, "backoff": backoff}
        with self._translated():
            return from_url(str(self.address), client_options=cast(Any, client), retry_config=retry)

    def check(self) -> None:
        """Raise if the store cannot be used."""
        with self._translated():
            for _ in self._obstore.list(self._store, chunk_size=1):
                break

    def get(self, name: str) -> "tuple[bytes, UpdateVersion] | None":
        """Return the content and version of an object, or None if it does not exist."""
        try:
            with self._translated():
                found = self._obstore.get(self._store, name)
                check_size(f"{self.address}/{name}", found.meta["size"])
                return bytes(found.bytes()), _version(found.meta)
        except FileNotFoundError:
            return None

    def stream(self, name: str, wait_out: "Callable[[Callable[[], memoryview]], memoryview]") -> BinaryIO:
        """Open an object for reading in pieces. `wait_out` repeats a call that raises StoreAway.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return cast(BinaryIO, io.BufferedReader(_Stream(partial(self._pieces, name), wait_out), _PIECE))

    def _pieces(self, name: str, start: int, over: "UpdateVersion | None") -> "_Pieces":
        """Begin to read an object at byte `start`, if its version is still `over`."""
        options: Any = {"range": {"offset": start}} if start else {}
        if over and "e_tag" in over:
            options["if_match"] = over["e_tag"]
        try:
            with self._translated():
                found = self._obstore.get(self._store, name, options=options)
                return _Pieces(iter(found.stream(min_chunk_size=_PIECE)), _version(found.meta), self)
        except (FileNotFoundError, ObjectChanged) as error:
            if over is None:
                raise
            raise CannotFinishNow(f"{self.address}/{name} was replaced while it was read") from error

    def size(self, name: str) -> int | None:
        """Return the size of an object in bytes, or None if it does not exist."""
        try:
            with self._translated():
                return int(self._obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def version(self, name: str) -> "UpdateVersion | None":
        """Return the version of an object, or None if it does not exist."""
        try:
            with self._translated():
                return _version(self._obstore.head(self._store, name))
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes, *, over: "UpdateVersion | None") -> "UpdateVersion":
        """Write an object if its current version is `over` (None: if it does not exist). Return its new
        version.

        Raises:
            ObjectChanged: it has another version. That may be the version that this call itself wrote: a
                request is sent again if its response is lost.
        """
        with self._translated():
            return _version(
                self._obstore.put(self._store, name, data, mode=over or "create", use_multipart=False)
            )

    def upload(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write an object in pieces, unconditionally. An error that `pieces` raises aborts the upload."""
        with self._translated():
            self._obstore.put(
                self._store,
                name,
                cast("Iterator[bytes]", pieces),
                use_multipart=True,
                chunk_size=CHUNK,
                max_concurrency=_CHUNKS_IN_FLIGHT,
            )

    def names(self, folder: str) -> list[tuple[str, int]]:
        """Return the names and sizes in bytes of the objects directly in a folder, sorted by name."""
        with self._translated():
            found = self._obstore.list_with_delimiter(self._store, folder or None)["objects"]
        return sorted((meta["path"].rpartition("/")[2], meta["size"]) for meta in found)

    def pages(self, folder: str, after: str | None) -> "Iterator[list[tuple[str, int]]]":
        """Yield the names and sizes in bytes of all objects below a folder, in the order of their names.

        `after` is the name after which to begin.
        """
        found = iter(self._obstore.list(self._store, folder or None, offset=after, chunk_size=AT_ONCE))
        while True:
            with self._translated():
                page = next(found, None)
            if page is None:
                return
            yield [(meta["path"], meta["size"]) for meta in page]

    def copy(self, name: str, to: str) -> None:
        """Copy an object within the store, unconditionally.

        Raises:
            FileNotFoundError: there is no such object.
        """
        with self._translated():
            self._obstore.copy(self._store, name, to)

    def delete(self, names: "str | list[str]") -> None:
        """Delete an object, or several at once, as far as they exist."""
        try:
            with self._translated():
                self._obstore.delete(self._store, names)
        except FileNotFoundError:
            return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate obstore's errors. Callers handle the ObjectChanged and FileNotFoundError it may raise."""
        from obstore import exceptions as theirs

        try:
            yield
        except (theirs.AlreadyExistsError, theirs.PreconditionError) as error:
            raise ObjectChanged from error
        except theirs.BaseError as error:
            raise translate(self.address, error) from error
        except FileNotFoundError as error:
            if BUCKET_MISSING.search(str(error)):
                raise translate(self.address, error) from error
            raise


class _Pieces:
    """The pieces of one response, and the version of the object that they are of."""

    def __init__(self, pieces: Iterator[Any], version: "UpdateVersion", objects: Objects) -> None:
        self.version = version
        self._pieces = pieces
        self._objects = objects

    def next(self) -> memoryview:
        """Return the next piece, empty after the last one."""
        with self._objects._translated():
            return memoryview(next(self._pieces, b""))


class _Stream(io.RawIOBase):
    """An object, read in pieces. If the store breaks off, it is asked for the rest of the same version."""

    def __init__(
        self,
        begin: "Callable[[int, UpdateVersion | None], _Pieces]",
        wait_out: Callable[[Callable[[], memoryview]], memoryview],
    ) -> None:
        self._begin = begin
        self._wait_out = wait_out
        self._pieces: _Pieces | None = None
        self._version: UpdateVersion | None = None
        self._received = 0  # bytes
        self._rest = self._wait_out(self._next)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._wait_out(self._next)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _next(self) -> memoryview:
        if self._pieces is None:
            self._pieces = self._begin(self._received, self._version)
            self._version = self._pieces.version
        try:
            piece = self._pieces.next()
        except StoreAway:
            self._pieces = None
            raise
        self._received += len(piece)
        return piece


def _version(found: Mapping[str, Any]) -> "UpdateVersion":
    """Return the version for a conditional write. obstore returns None values but does not accept them."""
    named = {key: found[key] for key in ("e_tag", "version") if found.get(key) is not None}
    return cast("UpdateVersion", named)
