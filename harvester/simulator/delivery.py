"""Sends an answer: compressed, in pieces, or damaged by a strike."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from isal import isal_zlib

from harvester.simulator.messages import Answer

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

LARGE = 8 << 20  # bytes; larger bodies go out in pieces, and are compressed as they go
PIECE = 1 << 20
SMALL = 1 << 17  # bytes; isal compresses small pieces badly, so smaller bodies are joined first
SLOW_PIECES = 40  # of which the first half comes at once
_LEVEL = 0  # isal's fastest; a label row shrinks to a quarter even so
_GZIP = 31  # window bits that ask for gzip's head and tail
_BOMB = 100 * 1000 * 1000  # zeros


class Delivery:
    """Sends one answer through one connection.

    Args:
        gzip: whether the client accepts it.
        transport: the connection below HTTP, which strikes close or reset.
        trickle: seconds between two bytes (strike `trickle`) or pieces (`slow`).
    """

    def __init__(
        self, receive: Receive, send: Send, transport: asyncio.Transport, *, gzip: bool, trickle: float
    ) -> None:
        self._receive, self._send, self._transport = receive, send, transport
        self._gzip = gzip
        self._trickle = trickle
        self.bytes_sent = 0

    async def send(self, answer: Answer) -> None:
        """Send the answer, or as much of it as its strike allows."""
        match answer.strike:
            case "bomb":
                await self._bomb()
            case "mute":
                await self._until_gone()
            case "closed":
                await self._close()
            case None:
                await self._whole(answer)
            case strike:
                await self._corrupt(answer, strike)

    async def patience(self, seconds: float, enough: asyncio.Event | None = None) -> bool:
        """Wait `seconds`, or until `enough` is set. Return False if the client hung up meanwhile."""
        gone = asyncio.ensure_future(self._receive())
        waited = {gone, asyncio.ensure_future(enough.wait())} if enough else {gone}
        done, _ = await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waited:
            each.cancel()
        return gone not in done

    async def _whole(self, answer: Answer) -> None:
        pieces, length, encoded = self._encoded(answer)
        await self._start(answer, length, encoded)
        if length is not None:
            await self._body(next(pieces), more=False)
            return
        for piece in pieces:
            if self._transport.is_closing():
                await self._until_gone()
                return
            await self._body(piece, more=True)
            await asyncio.sleep(0)  # let other tasks run
        await self._body(b"", more=False)

    def _encoded(self, answer: Answer) -> tuple[Iterator[bytes], int | None, bool]:
        """Return the body as it is sent, its length in bytes if known, and whether it is gzip."""
        gzip = self._gzip and answer.compressible
        if answer.size is None or answer.size > LARGE:
            pieces = _cut(answer.body)
            return (_gzipped(pieces) if gzip else pieces), None, gzip
        if gzip and answer.size > SMALL:
            body = b"".join(_gzipped(answer.body))  # faster than joining first
        else:
            body = b"".join(answer.body)
            body = isal_zlib.compress(body, _LEVEL, _GZIP) if gzip else body
        return iter((body,)), len(body), gzip

    async def _start(self, answer: Answer, length: int | None, gzip: bool) -> None:
        headers = [(b"content-type", answer.content_type.encode())]
        headers += [(name.encode(), value.encode()) for name, value in answer.headers]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if gzip:
            headers.append((b"content-encoding", b"gzip"))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def _body(self, body: bytes, *, more: bool) -> None:
        self.bytes_sent += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _corrupt(self, answer: Answer, strike: str) -> None:
        """Send the first half of the answer, then trickle, stall, or end the connection."""
        pieces, length, encoded = self._encoded(answer)
        await self._start(answer, length, encoded)
        piece = next(pieces)
        half = len(piece) // 2
        await self._body(piece[:half], more=True)
        if strike in ("trickle", "slow"):
            step = 1 if strike == "trickle" else len(piece) // SLOW_PIECES + 1
            for place in range(half, len(piece), step):
                await self._body(piece[place : place + step], more=True)
                if not await self.patience(self._trickle):
                    return
            for piece in pieces:
                await self._body(piece, more=True)
            await self._body(b"", more=False)
        elif strike == "stalled":
            await self._until_gone()
        else:
            await asyncio.sleep(0.02)  # time for the first half to arrive
            if strike == "reset":
                _reset_on_close(self._transport)
            await self._close()

    async def _bomb(self) -> None:
        zeros = isal_zlib.compress(bytes(_BOMB), 1, _GZIP)
        await self._start(Answer(200, []), len(zeros), gzip=True)
        await self._body(zeros, more=False)

    async def _close(self) -> None:
        self._transport.abort()
        await self._until_gone()

    async def _until_gone(self) -> None:
        """Send nothing more, and wait until the client hangs up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _cut(body: Iterable[bytes]) -> Iterator[bytes]:
    for piece in body:
        for start in range(0, len(piece), PIECE):
            yield piece[start : start + PIECE]


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Make the operating system send RST, not FIN, when the connection is closed."""
    opened = transport.get_extra_info("socket")
    with socket.socket(fileno=os.dup(opened.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
