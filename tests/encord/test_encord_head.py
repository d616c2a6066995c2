"""The head of an answer: read as the standard library reads it, whatever it looks like."""

import http.client
import io
from typing import Any, cast

import pytest

from harvester.encord.head import Response

USUAL = {
    "one of ours": b"HTTP/1.1 200 OK\r\ndate: Sun\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\n",
    "kept by name": b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 4\r\n\r\n",
    "an error": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\n",
    "no reason": b"HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\n",
    "no space, and many": b"HTTP/1.1 200 OK\r\nContent-Length:4\r\nX-Empty:\r\nX-Wide:   a:b \r\n\r\n",
    "the same twice": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nVia: a\r\nVia: b\r\n\r\n",
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}
UNUSUAL = {
    "closed afterwards": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked, and a length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nDate: Sun\r\n\r\n",
    "no header at all": b"HTTP/1.1 200 OK\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
    "nothing to come": b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
    "an older version": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n",
    "continued": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\nContent-Length: 4\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 4\n\n",
    "not ASCII": b"HTTP/1.1 200 OK\r\nX-Name: J\xfcrg\r\nContent-Length: 4\r\n\r\n",
    "no such header": b"HTTP/1.1 200 OK\r\nX Name: a\r\nContent-Length: 4\r\n\r\n",
}
BROKEN = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 4\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n" + b"X-More: 1\r\n" * 99 + b"\r\n",
    "an endless line": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000,
}


class Wire:
    """A socket from which `data` is read, `piece` bytes at a time."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data, self._piece = data, piece

    def makefile(self, mode: str) -> io.BufferedReader:
        left = io.BytesIO(self._data)

        class Pieces(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(pieces, buffer: Any) -> int:  # noqa: N805  # `self` is the socket's
                read = left.read(min(self._piece, len(buffer)))
                buffer[: len(read)] = read
                return len(read)

        return io.BufferedReader(Pieces())


def begun(kind: type[http.client.HTTPResponse], data: bytes, piece: int = 8192) -> http.client.HTTPResponse:
    response = kind(cast(Any, Wire(data, piece)), method="POST")
    response.begin()
    return response


def seen(response: http.client.HTTPResponse) -> dict[str, Any]:
    """All that is known of an answer, and what its body is."""
    known = {name: value for name, value in vars(response).items() if name not in ("fp", "headers", "msg")}
    assert response.headers is response.msg
    return known | {"headers": response.headers.items(), "body": response.read()}


@pytest.mark.parametrize("piece", [8192, 7])
@pytest.mark.parametrize("head", [*USUAL.values(), *UNUSUAL.values()], ids=[*USUAL, *UNUSUAL])
def test_a_head_is_read_as_the_standard_library_reads_it(head: bytes, piece: int) -> None:
    """Also where it comes in pieces."""
    data = head + b"4\r\nbody\r\n0\r\n\r\n" if b"chunked" in head else head + b"body"
    assert seen(begun(Response, data, piece)) == seen(begun(http.client.HTTPResponse, data, piece))


@pytest.mark.parametrize("head", BROKEN.values(), ids=BROKEN)
def test_a_broken_head_is_the_error_that_it_is(head: bytes) -> None:
    """The standard library's own."""
    with pytest.raises(http.client.HTTPException) as expected:
        begun(http.client.HTTPResponse, head)
    with pytest.raises(type(expected.value)) as raised:
        begun(Response, head)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("head", USUAL.values(), ids=USUAL)
def test_usual_heads_go_past_the_mail_parser(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """For these the class exists."""
    monkeypatch.setattr(http.client, "parse_headers", None)
    assert begun(Response, head + b"body").read() == b"body"[: 0 if b": 0" in head else 4]
