"""A target in an object store: ``s3://``, ``gs://``, ``az://``.

An object appears complete and durable or not at all. Conditional writes take the place of rename and flock:
each write names the version that it replaces, which was read while this process held the lease. A process
that has lost the lease without noticing therefore cannot overwrite an object of its successor. The exception
is a large file, which is uploaded in pieces, because obstore does not support a condition there: for it the
lease is checked when the last piece is sent.

The incomplete upload of a killed process is invisible to readers, and obstore cannot list it. A lifecycle
rule of the bucket should abort incomplete uploads.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO

from harvester.errors import CannotFinishNow
from harvester.output.lease import Lease, OnLost, nobody_to_tell
from harvester.output.partial import Partial
from harvester.output.store_client import ObjectChanged, Objects, parse_address

LARGE = 8 * 1024**2  # bytes; a file of this size or more is uploaded in pieces instead of held in memory
_TRIES = 5  # attempts of a conditional write, if each finds that the object has changed
_PIECES_AHEAD = 2  # pieces that wait for the upload thread, at most


class ObjectStoreTarget:
    """The objects below an address.

    `token` is that of the lease's owner, if this process works for it. Tests give their own `objects` and
    `lease`.
    """

    def __init__(
        self, name: str, token: str = "", *, objects: Objects | None = None, lease: Lease | None = None
    ) -> None:
        address = parse_address(name)
        self._objects = objects or Objects(address)
        self._lease = lease or Lease(self._objects, str(address), token)
        self._folder = ""

    @property
    def name(self) -> str:
        return str(self._objects.address) + f"/{self._folder}".rstrip("/")

    @property
    def opened_as(self) -> tuple[str, str, str]:
        return str(self._objects.address), self._folder.rstrip("/"), self._lease.token

    def is_there(self) -> bool:
        return True

    def ensure(self) -> None:
        self._objects.check()

    def within(self, folder: str) -> "ObjectStoreTarget":
        inner = object.__new__(ObjectStoreTarget)
        inner._objects, inner._lease = self._objects, self._lease
        inner._folder = self._key(folder) + "/"
        return inner

    def lock(self, on_lost: OnLost = nobody_to_tell) -> AbstractContextManager[None]:
        return self._lease.hold(on_lost)

    def read(self, name: str) -> bytes | None:
        found = self._objects.get(self._key(name))
        return found[0] if found else None

    def open(self, name: str) -> BinaryIO:
        try:
            return self._objects.stream(self._key(name))
        except FileNotFoundError as error:
            raise CannotFinishNow(f"{self.name}/{name}: there is no such object") from error

    def put(self, name: str, data: bytes) -> None:
        key, over = self._key(name), None
        for _ in range(_TRIES):
            self._lease.assure()  # must come after the version was read, see the module's docstring
            try:
                self._objects.put(key, data, over=over)
                return
            except ObjectChanged:
                over = self._objects.version(key)  # read only now, since most objects are new
        raise CannotFinishNow(f"{self.name}/{name} is being written by somebody else")

    def create(self, name: str) -> "_ObjectDraft":
        return _ObjectDraft(self, name)

    def upload(self, name: str) -> "_Upload":
        """Start uploading a file in pieces. It replaces an earlier object of that name."""
        return _Upload(partial(self._objects.upload, self._key(name)), self._lease.assure)

    def partial(self, name: str) -> Partial:
        return _ObjectPartial(self, name)

    def size_of(self, name: str) -> int | None:
        return self._objects.size(self._key(name))

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        prefix = f"{folder}/" if folder else ""
        return [(prefix + name, size) for name, size in self._objects.names(self._key(folder).rstrip("/"))]

    def delete(self, name: str) -> None:
        self._lease.assure()
        self._objects.delete(self._key(name))

    def leftovers(self) -> list[str]:
        return []

    def drafts(self, folder: str) -> Iterator[str]:
        return iter(())

    def sweep(self) -> None:
        """Do nothing: a killed process leaves no visible object."""

    def _key(self, name: str) -> str:
        return self._folder + name


class _ObjectDraft:
    """A file that is held in memory while it is small, and uploaded in pieces once it is large."""

    def __init__(self, target: ObjectStoreTarget, name: str) -> None:
        self._target = target
        self._name = name
        self._buffer: bytearray | None = bytearray()
        self._upload: _Upload | None = None

    def write(self, data: bytes) -> None:
        if self._upload is not None:
            self._upload.send(data)
            return
        assert self._buffer is not None
        self._buffer += data
        if len(self._buffer) >= LARGE:
            self._upload = self._target.upload(self._name)
            self._upload.send(bytes(self._buffer))
            self._buffer = bytearray()

    def commit(self) -> None:
        assert self._buffer is not None
        try:
            if self._upload is not None:
                self._upload.finish()
            else:
                self._target.put(self._name, bytes(self._buffer))
        finally:
            self._buffer = self._upload = None

    def discard(self) -> None:
        if self._upload is not None:
            self._upload.drop()
        self._buffer = self._upload = None


class _ObjectPartial:
    """A partial file that is lost with its process: an object cannot be appended to."""

    def __init__(self, target: ObjectStoreTarget, name: str) -> None:
        self._target = target
        self._name = name
        self._draft: _ObjectDraft | None = None

    def kept(self) -> None:
        return None

    def begin(self, facts: bytes) -> None:
        self.discard()
        self._draft = self._target.create(self._name)

    def pieces(self) -> Iterator[bytes]:
        return iter(())

    def write(self, data: bytes) -> None:
        assert self._draft is not None
        self._draft.write(data)

    def commit(self) -> None:
        assert self._draft is not None
        self._draft.commit()

    def close(self) -> None:
        self.discard()

    def discard(self) -> None:
        if self._draft is not None:
            self._draft.discard()
        self._draft = None


class _Dropped(Exception):
    pass


class _Upload:
    """A thread that uploads the pieces it is given. At most `_PIECES_AHEAD` wait for it."""

    def __init__(self, upload: Callable[[Iterator[bytes]], None], assure: Callable[[], None]) -> None:
        self._assure = assure
        self._pieces: queue.Queue[bytes | _Dropped | None] = queue.Queue(_PIECES_AHEAD)
        self._error: BaseException | None = None
        self._ended = False  # the last piece was taken
        self._thread = threading.Thread(target=self._run, args=(upload,), name="upload", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Pass a piece to the upload. Blocks while the store is slow. Raises the error of the upload."""
        self._pieces.put(data)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Finish the upload and wait for it. Raises the error of the upload."""
        try:
            self._assure()
        except BaseException:
            self.drop()
            raise
        self._pieces.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Abort the upload. The store drops what was sent."""
        self._pieces.put(_Dropped())
        self._thread.join()

    def _run(self, upload: Callable[[Iterator[bytes]], None]) -> None:
        try:
            upload(self._take())
        except BaseException as error:
            self._error = error
            while not self._ended:  # empty the queue, so that `send` does not block
                self._next()

    def _take(self) -> Iterator[bytes]:
        while (piece := self._next()) is not None:
            if isinstance(piece, _Dropped):
                raise piece
            yield piece

    def _next(self) -> bytes | _Dropped | None:
        piece = self._pieces.get()
        self._ended = not isinstance(piece, bytes)
        return piece
