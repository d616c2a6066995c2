"""A target in an object store: ``s3://``, ``gs://``, ``az://``.

An object appears complete and durable or not at all. Conditional writes take the place of rename and flock:
each write names the version that it replaces, which was read while this process held the lease. A process
that has lost the lease without noticing therefore cannot overwrite an object of its successor. The exception
is a large file, which is uploaded in pieces, because obstore does not support a condition there: for it the
lease is checked when the last piece is sent.

While the store is away, every operation waits for it. A write begins again with checking the lease, so what
is written after an outage is written under a lease that was renewed after it.

The incomplete upload of a killed process is invisible to readers, and obstore cannot list it. A lifecycle
rule of the bucket should abort incomplete uploads.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO

from harvester.errors import CannotFinishNow, StoreAway
from harvester.output.drafts import Partial
from harvester.output.lease import Lease, OnLost, nobody_to_tell
from harvester.output.scratch_files import temporary
from harvester.output.store_address import parse_address
from harvester.output.store_client import AT_ONCE, CHUNK, OF_LOCK, ObjectChanged, Objects

LARGE = 8 * 1024**2  # bytes; a file of this size or more is uploaded in pieces instead of held in memory
_TRIES = 5  # attempts of a conditional write, if each finds that the object has changed


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
        self._lease = lease or Lease(Objects(address, timing=OF_LOCK), str(address), token)
        self._wait_out = self._lease.outages.wait_out
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
        self._wait_out(self._objects.check)

    def within(self, folder: str) -> "ObjectStoreTarget":
        inner = object.__new__(ObjectStoreTarget)
        inner._objects, inner._lease, inner._wait_out = self._objects, self._lease, self._wait_out
        inner._folder = self._key(folder) + "/"
        return inner

    def lock(self, on_lost: OnLost = nobody_to_tell) -> AbstractContextManager[None]:
        return self._lease.hold(on_lost)

    def hurry(self) -> None:
        self._lease.outages.hurry()

    def read(self, name: str) -> bytes | None:
        found = self._wait_out(partial(self._objects.get, self._key(name)))
        return found[0] if found else None

    def open(self, name: str) -> BinaryIO:
        try:
            return self._objects.stream(self._key(name), self._wait_out)
        except FileNotFoundError as error:
            raise CannotFinishNow(f"{self.name}/{name}: there is no such object") from error

    def put(self, name: str, data: bytes) -> None:
        self._wait_out(partial(self._put, self._key(name), data))

    def _put(self, key: str, data: bytes) -> None:
        over = None
        for _ in range(_TRIES):
            self._lease.assure()  # must come after the version was read, see the module's docstring
            try:
                self._objects.put(key, data, over=over)
                return
            except ObjectChanged:
                over = self._objects.version(key)  # read only now, since most objects are new
        raise CannotFinishNow(f"{self._objects.address}/{key} is being written by somebody else")

    def create(self, name: str) -> "_ObjectDraft":
        return _ObjectDraft(self, name)

    def upload(self, name: str, file: IO[bytes]) -> None:
        """Write `file` in pieces. It replaces an earlier object of that name."""
        self._wait_out(partial(self._upload, self._key(name), file))

    def _upload(self, key: str, file: IO[bytes]) -> None:
        self._lease.assure()
        file.seek(0)
        self._objects.upload(key, self._pieces(file))

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield the pieces of an upload. Before it ends, and so is completed, the lease is checked again."""
        while piece := file.read(CHUNK):
            yield piece
        with ThreadPoolExecutor(1) as other:  # obstore takes no second call from a thread that it reads in
            other.submit(self._lease.assure).result()

    def partial(self, name: str) -> Partial:
        return _ObjectPartial(self, name)

    def size_of(self, name: str) -> int | None:
        return self._wait_out(partial(self._objects.size, self._key(name)))

    def names(self, folder: str = "") -> list[tuple[str, int]]:
        prefix = f"{folder}/" if folder else ""
        found = self._wait_out(partial(self._objects.names, self._key(folder).rstrip("/")))
        return [(prefix + name, size) for name, size in found]

    def all_names(self) -> Iterator[tuple[str, int]]:
        """Yield all files below, in folders, too, with their sizes in bytes."""
        pages: Iterator[list[tuple[str, int]]] | None = None
        last: str | None = None

        def next_page() -> list[tuple[str, int]]:
            nonlocal pages
            pages = pages or self._objects.pages(self._folder.rstrip("/"), last)
            try:
                return next(pages, [])
            except StoreAway:
                pages = None  # begin again, after the last page that came
                raise

        while page := self._wait_out(next_page):
            last = page[-1][0]
            yield from ((name.removeprefix(self._folder), size) for name, size in page)

    def copy(self, name: str, to: str) -> None:
        """Copy an object within the store. It replaces an earlier object of that name.

        Raises FileNotFoundError if there is no such object.
        """
        self._wait_out(partial(self._copy, self._key(name), self._key(to)))

    def _copy(self, key: str, to: str) -> None:
        self._lease.assure()
        self._objects.copy(key, to)

    def delete(self, name: str) -> None:
        self._wait_out(partial(self._delete, self._key(name)))

    def delete_all(self, names: Iterable[str]) -> None:
        """Delete objects, many with one request where the store can."""
        keys = map(self._key, names)
        while some := list(islice(keys, AT_ONCE)):
            self._wait_out(partial(self._delete, some))

    def _delete(self, keys: str | list[str]) -> None:
        self._lease.assure()
        self._objects.delete(keys)

    def prune(self, folder: str) -> None:
        pass  # there are no directories

    def leftovers(self) -> list[str]:
        return []

    def drafts(self, folder: str) -> Iterator[str]:
        return iter(())

    def sweep(self) -> None:
        """Do nothing: a killed process leaves no visible object."""

    def _key(self, name: str) -> str:
        return self._folder + name


class _ObjectDraft:
    """A file that is kept here until it is complete: in memory while it is small, else in a temporary file.

    So it can be sent again, from its beginning, when the store was away.
    """

    def __init__(self, target: ObjectStoreTarget, name: str) -> None:
        self._target = target
        self._name = name
        self._file: IO[bytes] = SpooledTemporaryFile(max_size=LARGE)  # noqa: SIM115  # closed by `discard`

    def write(self, data: bytes) -> None:
        with temporary():
            self._file.write(data)

    def commit(self) -> None:
        try:
            with temporary():
                size = self._file.seek(0, os.SEEK_END)
                self._file.seek(0)
                data = self._file.read() if size < LARGE else b""
            if size < LARGE:
                self._target.put(self._name, data)
            else:
                self._target.upload(self._name, self._file)
        finally:
            self.discard()

    def discard(self) -> None:
        with suppress(OSError):
            self._file.close()


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
