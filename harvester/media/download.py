"""Download one file: streamed, resumed where it broke off, verified, and durable before it has its name."""

from collections.abc import AsyncIterator, Callable, Iterable

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import DamagedAnswer, Unavailable
from harvester.media.answers_of_stores import FileStart, check_content, is_complete, start_of
from harvester.media.checksums import Hashes, checksums_of, is_unpacked
from harvester.media.hosts import MediaHosts, Response
from harvester.output.drafts import Partial
from harvester.output.target import Target

# Bytes that are held in memory before they are hashed and written, in a thread. A smaller file is written at
# once, and a kill loses at most this of a larger one. Chosen.
PIECE = 512 * 1024
_CLASS_OF_SIZE = 14  # bits: files below 16 KiB count as of one size


class _PartFacts(msgspec.Struct):
    """What is kept with a partial file. No URL is in it."""

    validator: str
    checksums: dict[str, str]


class Downloaded(msgspec.Struct, frozen=True):
    """A file that is complete."""

    bytes: int
    sha256: str


class Download:
    """A file to be downloaded, over several attempts.

    Args:
        path: its name in `target`.
        known_size: its size in bytes, if the platform says it.
        has_rest: whether an earlier run may have left a part of it.
        on_bytes: called with the number of bytes that have arrived.
        deadline: seconds in which each piece must arrive, however slowly its bytes come.
    """

    def __init__(
        self,
        target: Target,
        path: str,
        *,
        mime_type: str | None = None,
        known_size: int | None = None,
        has_rest: bool = True,
        on_bytes: Callable[[int], object] = lambda count: None,
        deadline: float = 600.0,
    ) -> None:
        self.path = path
        self._target = target
        self._mime_type = mime_type
        self._known_size = known_size
        self._has_rest = has_rest
        self._on_bytes = on_bytes
        self._deadline = deadline
        self._partial: Partial | None = None
        self._hashes = Hashes()
        self._facts: _PartFacts | None = None

    async def attempt(self, hosts: MediaHosts, url: str) -> Downloaded:
        """Download the file, or what is missing of it. What has arrived is kept for another attempt.

        Raises:
            LinkRefused: another URL is needed.
            RateLimited, Unavailable, SkipRow: the file cannot be fetched now, or not at all.
        """
        await self._find_rest()
        headers = {}
        if self._facts is not None and self._facts.validator:
            headers = {"Range": f"bytes={self._hashes.bytes}-", "If-Range": self._facts.validator}
        async with hosts.get(url, headers) as exchange:
            response = exchange.response
            if headers and response.status == 416 and is_complete(response.headers, self._hashes.bytes):
                return await self._finish(FileStart(self._hashes.bytes, self._hashes.bytes, None))
            try:
                start = start_of(response.status, response.headers, asked_from=self._hashes.bytes)
                if start.first and self._facts and start.validator not in (None, self._facts.validator):
                    raise Unavailable("the file has changed since its beginning was fetched")
            except Unavailable:
                if response.status in (206, 416):  # what is there is no beginning of the file
                    await self._discard()
                raise
            exchange.weight = max(1, (start.total or 0) >> _CLASS_OF_SIZE)
            rest = await self._receive(response, start)
        # The request has ended: the disk does not count as the latency of the store.
        if rest is not None:
            return await in_thread(self._write_whole, rest, start)
        return await self._finish(start)

    async def close(self) -> None:
        """End the work on the file. What has arrived of it stays for a later run, where that is possible."""
        if self._partial is not None:
            await in_thread(self._partial.close)
            self._partial = None

    # -- what an earlier attempt or run has left ---------------------------------------------------

    async def _find_rest(self) -> None:
        """Take what an earlier run has left of the file, if there is anything, and hash it again."""
        if self._has_rest:
            self._has_rest = False
            self._partial = await in_thread(self._target.partial, self.path)
            self._facts = await in_thread(self._read_rest, self._partial)

    def _read_rest(self, kept_in: Partial) -> _PartFacts | None:
        kept = kept_in.kept()
        if kept is None or not kept[1]:
            return None
        try:
            facts = msgspec.json.decode(kept[0], type=_PartFacts)
        except (ValueError, RecursionError):
            return None
        if not facts.validator:
            return None
        self._hashes.expect(facts.checksums)
        for piece in kept_in.pieces():
            self._hashes.update(piece)
        return facts

    async def _discard(self) -> None:
        """Delete what has arrived: it is wrong."""
        partial_file, self._partial, self._facts, self._hashes = self._partial, None, None, Hashes()
        if partial_file is not None:
            await in_thread(partial_file.discard)

    # -- receiving ---------------------------------------------------------------------------------

    async def _receive(self, response: Response, start: FileStart) -> list[bytes] | None:
        """Write the body piece by piece. Return all of it instead if it is a file of one piece."""
        if start.first == 0:
            self._hashes, self._facts = Hashes(), None
            self._hashes.expect(checksums_of(response.headers))
            if is_unpacked(response.headers):
                self._known_size = None
        async for piece, is_last in _pieces(response, self._deadline):
            self._on_bytes(sum(map(len, piece)))
            if self._hashes.bytes == 0:
                check_content(piece[0] if piece else b"", response.headers, self._mime_type, self.path)
            if is_last and self._facts is None:
                return piece
            if self._facts is None:
                self._facts = _PartFacts(start.validator or "", checksums_of(response.headers))
                await self._begin()
            await in_thread(self._append, piece)
        return None

    async def _begin(self) -> None:
        if self._partial is None:
            self._partial = await in_thread(self._target.partial, self.path)
        await in_thread(self._partial.begin, msgspec.json.encode(self._facts))

    def _append(self, pieces: Iterable[bytes]) -> None:
        assert self._partial is not None
        data = b"".join(pieces)
        self._partial.write(data)
        self._hashes.update(data)

    def _write_whole(self, pieces: Iterable[bytes], start: FileStart) -> Downloaded:
        """Write a file that fits into one piece."""
        data = b"".join(pieces)
        self._hashes.update(data)
        self._check(start)
        draft = self._target.create(self.path)
        try:
            draft.write(data)
            draft.commit()
        except BaseException:
            draft.discard()
            raise
        return Downloaded(self._hashes.bytes, self._hashes.sha256)

    async def _finish(self, start: FileStart) -> Downloaded:
        assert self._partial is not None
        try:
            self._check(start)
        except DamagedAnswer:
            await self._discard()
            raise
        partial_file, self._partial = self._partial, None
        await in_thread(partial_file.commit)
        return Downloaded(self._hashes.bytes, self._hashes.sha256)

    def _check(self, start: FileStart) -> None:
        """Raise DamagedAnswer unless all of the file has arrived, and is what its store says."""
        size = self._hashes.bytes
        if start.total is not None and size != start.total:
            raise DamagedAnswer(f"{size:,} bytes of {start.total:,} arrived")
        if start.total is None and self._known_size not in (None, size):
            raise DamagedAnswer(
                f"{size:,} bytes arrived, not the {self._known_size:,} that the platform says"
            )
        if wrong := self._hashes.differs():
            raise DamagedAnswer(f"the bytes that arrived are not those of the file: {wrong} differs")


async def _pieces(response: Response, deadline: float) -> AsyncIterator[tuple[list[bytes], bool]]:
    """Yield the body in pieces of about PIECE bytes, each with whether it is the last. That may be empty."""
    is_last = False
    while not is_last:
        piece, size = list[bytes](), 0
        with anyio.fail_after(deadline):
            while size < PIECE and (data := await response.body.readany()):
                piece.append(data)
                size += len(data)
        is_last = size < PIECE
        yield piece, is_last
