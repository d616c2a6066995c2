"""One file from a server of the test's own: resumed where it broke off, verified, begun anew if changed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import anyio
import pytest
from aiohttp import web

from harvester.errors import DamagedAnswer, SkipRow, Unavailable
from harvester.media.download import PIECE, Download, Downloaded
from harvester.media.hosts import MediaHosts
from harvester.media.safe_urls import UrlRules
from harvester.output.target import LocalTarget
from harvester.settings import Connection, Limits

DATA = Random(1).randbytes(3 * PIECE + 1000)
Handler = Callable[[web.Request], web.StreamResponse]


class Server:
    """Serves DATA as `file.bin`. `cut`: bytes after which each answer in turn breaks off."""

    def __init__(self, cut: list[int], tag: str = '"one"') -> None:
        self.cut = cut
        self.tag = tag
        self.data = DATA
        self.headers: dict[str, str] = {}
        self.ranges: list[str | None] = []
        self.heeds_if_range = True

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        first = 0
        headers = {"ETag": self.tag, **self.headers}
        if asked and (request.headers.get("If-Range") == self.tag or not self.heeds_if_range):
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(self.data):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.data)}"})
            headers["Content-Range"] = f"bytes {first}-{len(self.data) - 1}/{len(self.data)}"
        answer = web.StreamResponse(status=206 if first else 200, headers=headers)
        answer.content_length = len(self.data) - first
        await answer.prepare(request)
        sent = self.data[first:]
        if self.cut:
            await answer.write(sent[: self.cut.pop(0)])
            assert request.transport is not None
            request.transport.close()
        else:
            await answer.write(sent)
        return answer


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[tuple[MediaHosts, str]]:
    """Gives the client, and the URL of the file."""
    app = web.Application()
    app.router.add_get("/file.bin", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # of an asyncio server
    url = f"http://127.0.0.1:{port}"
    connection = Connection(domain=url)
    hosts = MediaHosts(connection, Limits(), UrlRules.of(url), lambda batch, error, wait: None)
    try:
        yield hosts, f"{url}/file.bin?sig=secret"
    finally:
        await hosts.close()
        await runner.cleanup()


def download(server: Server, folder: Path, attempts: int = 1, *, close: bool = True) -> Downloaded:
    """What the last of so many attempts gives; the others must fail."""

    async def run() -> Downloaded:
        async with serving(server) as (hosts, url):
            one = Download(LocalTarget(folder), "file.bin")
            try:
                for _ in range(attempts - 1):
                    with pytest.raises(Unavailable):
                        await one.attempt(hosts, url)
                return await one.attempt(hosts, url)
            finally:
                await one.close()

    return anyio.run(run)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    """In the next attempt of the same run: whole pieces are kept."""
    server = Server([2 * PIECE + 100, PIECE])
    got = download(server, tmp_path, attempts=3)
    assert (got.bytes, got.sha256) == (len(DATA), sha256(DATA).hexdigest())
    assert (tmp_path / "file.bin").read_bytes() == DATA
    assert server.ranges[0] is None
    begins = [int((asked or "bytes=0-")[6:-1]) for asked in server.ranges]
    assert 0 < begins[1] <= begins[2] < len(DATA)
    assert names(tmp_path) == ["file.bin"]


def test_a_later_run_goes_on_with_what_is_there(tmp_path: Path) -> None:
    """It reads the part again, for the checksum, and asks for the rest only."""
    with pytest.raises(Unavailable):
        download(Server([2 * PIECE + 100]), tmp_path)
    assert names(tmp_path) == [".file.bin.part", ".file.bin.part.json"]
    assert b"secret" not in (tmp_path / ".file.bin.part.json").read_bytes()
    server = Server([])
    got = download(server, tmp_path)
    assert got.sha256 == sha256(DATA).hexdigest()
    assert server.ranges == [f"bytes={2 * PIECE}-"] or int(str(server.ranges[0])[6:-1]) >= PIECE


def test_a_part_of_another_version_is_no_beginning(tmp_path: Path) -> None:
    """The file has changed on the server: all of it is fetched."""
    with pytest.raises(Unavailable):
        download(Server([2 * PIECE + 100]), tmp_path)
    server = Server([], tag='"two"')
    server.data = DATA[::-1]
    assert download(server, tmp_path).sha256 == sha256(DATA[::-1]).hexdigest()
    assert (tmp_path / "file.bin").read_bytes() == DATA[::-1]


def test_parts_of_two_versions_are_not_joined(tmp_path: Path) -> None:
    """Not even if the server ignores If-Range: its ETag tells (RFC 9110, 15.3.7.3)."""
    with pytest.raises(Unavailable):
        download(Server([2 * PIECE + 100]), tmp_path)
    server = Server([], tag='"two"')
    server.data, server.heeds_if_range = DATA[::-1], False
    assert download(server, tmp_path, attempts=2).sha256 == sha256(DATA[::-1]).hexdigest()
    assert server.ranges[1] is None
    assert (tmp_path / "file.bin").read_bytes() == DATA[::-1]


def test_a_part_that_is_the_whole_file_is_not_fetched_again(tmp_path: Path) -> None:
    """Killed between the last byte and the final name."""
    with pytest.raises(Unavailable):
        download(Server([2 * PIECE + 100]), tmp_path)
    (tmp_path / ".file.bin.part").write_bytes(DATA)
    server = Server([])
    assert download(server, tmp_path).sha256 == sha256(DATA).hexdigest()
    assert server.ranges == [f"bytes={len(DATA)}-"]


def test_a_part_with_a_wrong_byte_is_noticed_by_the_checksum(tmp_path: Path) -> None:
    """Then it is deleted, and the next attempt fetches all of the file."""
    first = Server([2 * PIECE + 100])
    first.headers = {"x-amz-checksum-sha256": base64_sha256(DATA)}
    with pytest.raises(Unavailable):
        download(first, tmp_path)
    part = tmp_path / ".file.bin.part"
    part.write_bytes(b"x" + part.read_bytes()[1:])
    with pytest.raises(DamagedAnswer, match="sha256 differs"):
        download(Server([]), tmp_path)
    assert names(tmp_path) == []


def test_a_part_that_is_another_name_of_a_file_is_not_written_to(tmp_path: Path) -> None:
    """A hard link below a target may lead to any file of the user."""
    with pytest.raises(Unavailable):
        download(Server([2 * PIECE + 100]), tmp_path / "media")
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    part = tmp_path / "media" / ".file.bin.part"
    part.unlink()
    part.hardlink_to(mine)
    download(Server([]), tmp_path / "media")
    assert mine.read_bytes() == b"mine"
    part.unlink(missing_ok=True)
    part.symlink_to(mine)
    download(Server([]), tmp_path / "media")
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("host", ["xn--zzzz", "good\\evil", "%31%32%37.0.0.1"])
def test_a_host_that_is_none_fails_its_file_alone(tmp_path: Path, host: str) -> None:
    """What the library that sends cannot parse is refused before, in one line."""

    async def run() -> None:
        hosts = MediaHosts(Connection(), Limits(), UrlRules(), lambda batch, error, wait: None)
        await Download(LocalTarget(tmp_path), "file.bin").attempt(hosts, f"https://{host}/a?sig=secret")

    with pytest.raises(SkipRow, match="names no host") as raised:
        anyio.run(run)
    assert raised.value.failure == "forbidden"


def test_an_address_is_checked_where_the_connection_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads to a private address is refused, and nothing is sent there."""
    server = Server([])

    async def run() -> None:
        async with serving(server) as (_, url):
            rules = UrlRules.of("https://api.encord.com")
            hosts = MediaHosts(Connection(), Limits(), rules, lambda batch, error, wait: None)
            try:
                one = Download(LocalTarget(tmp_path), "file.bin")
                await one.attempt(hosts, url.replace("http://127.0.0.1", "https://localhost"))
            finally:
                await hosts.close()

    with pytest.raises(SkipRow, match="private address"):
        anyio.run(run)
    assert server.ranges == []


def base64_sha256(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(sha256(data).digest()).decode()
