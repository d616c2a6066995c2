"""Proxies of the environment: passwords, refusals, outages, on both transports; a real one on loopback."""

import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.errors import BadInput, CannotFinishNow, CredentialsRefused, Unavailable
from harvester.settings import Connection, Format, Selection
from tests.encord.conftest import KEY
from tests.encord.recording import PROJECT, Recording, Reply, Tunnel, error

Connect = Callable[..., Session]
WAYS = pytest.mark.parametrize("way", ["pooled", "sdk"])
NO_PROJECTS = b'{"results": [], "nextPageToken": null}'


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited between attempts, without waiting."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    return waits


@pytest.fixture
def server(server: Recording) -> Recording:
    server.answers = lambda asked: Reply(NO_PROJECTS)
    return server


def get_row(session: Session) -> Any:
    """A label row: it is not asked for again here."""
    return session.label_rows(ProjectInfo(PROJECT, "T", ""), Selection(), Format()).get_label_row("a")


@WAYS
@pytest.mark.parametrize(
    ("address", "wants"),
    [
        ("http://me:p%2Fa%40ss%3A%20%25@{}", "me:p/a@ss: %"),
        ("http://me:secret@{}/", "me:secret"),
        ("HTTP://m%40corp:s~!$&()*+,;=@{}", "m@corp:s~!$&()*+,;="),
        ("{}", None),
    ],
)
def test_a_proxy_s_address_is_read_as_requests_reads_it(
    server: Recording,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    address: str,
    wants: str | None,
) -> None:
    """User and password, percent-encoded or not, open a proxy that demands them; no scheme is http."""
    with Tunnel(wants=wants) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", address.format(proxy.host))
        assert connect(transport=way).projects() == []
    assert proxy.opened == [server.url.removeprefix("https://")]
    assert all("Proxy-Authorization" not in asked.headers for asked in server.asked)


def test_a_password_beyond_latin_1_goes_in_utf_8(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests cannot write it: the untouched SDK is refused in a line without it."""
    with Tunnel(wants="me:€") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:%E2%82%AC@{proxy.host}")
        assert connect().projects() == []
        with pytest.raises(BadInput, match=f"{proxy.url} may hold no characters beyond Latin-1") as refused:
            connect(transport="sdk")
    assert "€" not in refused.value.message


REFUSALS = {
    "no password": ("http://{}", None, "wants a user and password .407 Proxy Auth.*http://user:password@"),
    "a wrong one": (
        "http://me:wrong-secret@{}",
        None,
        "does not accept the user and password of its",
    ),
    "403": ("http://{}", "403 Forbidden", "refuses to connect to https://127.*403 Forbidden.*NO_PROXY"),
    "no proxy at all": ("http://{}", "405 Method Not Allowed", "refuses to connect to .*405 Method Not"),
}


@WAYS
@pytest.mark.parametrize("case", REFUSALS)
def test_a_proxy_that_refuses_ends_it_at_once(
    server: Recording,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    slept: list[float],
    case: str,
    way: str,
) -> None:
    """Exit code 4, asked once, with the proxy's name and without the password; also for a label row."""
    address, answers, words = REFUSALS[case]
    with Tunnel(wants="me:right-secret", answers=answers) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", address.format(proxy.host))
        session = connect(transport=way)
        for call in (session.projects, lambda: get_row(session)):
            with pytest.raises(CredentialsRefused, match=f"the proxy {proxy.url} {words}") as refused:
                call()
            assert refused.value.exit_code == 4
            assert "secret" not in refused.value.message
    assert (len(proxy.asked), slept, server.asked) == (2, [], [])


@WAYS
@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "429 Too Many Requests"])
def test_a_proxy_that_cannot_reach_the_server_is_waited_for(
    server: Recording,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    slept: list[float],
    status: str,
    way: str,
) -> None:
    """As a server that is restarted is; it may be."""
    with Tunnel(answers=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(
            CannotFinishNow, match=f"the proxy {proxy.url} cannot reach {server.url} .{status}"
        ):
            connect(transport=way).projects()
    assert len(slept) == 8


@WAYS
def test_a_dead_proxy_is_named_at_once(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch, slept: list[float], way: str
) -> None:
    """Exit code 5 without retries, as where the server itself is not there."""
    for host, words in (
        ("127.0.0.1:1", "nobody answers at the proxy http://127.0.0.1:1: Connection refused"),
        ("no-such-proxy.invalid:3128", "the host of the proxy http://no-such-.*:3128 is not .*HTTPS_PROXY"),
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{host}")
        with pytest.raises(CannotFinishNow, match=words) as ended:
            connect(transport=way).projects()
        assert ended.value.exit_code == 5
        assert "secret" not in ended.value.message
    assert (server.asked, slept) == ([], [])


@WAYS
def test_a_proxy_that_dies_in_mid_run_is_waited_for(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch, slept: list[float], way: str
) -> None:
    """It was there before: an outage, for label rows and for what the session asks itself."""
    with Tunnel() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        session = connect(transport=way)
        session.projects()
    with pytest.raises(Unavailable, match=f"{proxy.url}"):
        get_row(session)
    with pytest.raises(CannotFinishNow, match=f"nobody answers at the proxy {proxy.url}"):
        session.projects()
    assert len(slept) == 8


@WAYS
def test_a_proxy_that_says_nothing_is_named(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Neither it nor the server can be told to be the silent one."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        proxy = f"http://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        session = connect(transport=way, connect_timeout=0.1, read_timeout=0.1)
        with pytest.raises(Unavailable, match=f"the proxy {proxy}.* did not answer in time"):
            get_row(session)


@WAYS
def test_what_the_server_says_is_not_the_proxy_s(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Through a tunnel, its refusals and certificates are its own."""
    with Tunnel() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        session = connect(transport=way)
        server.answers = lambda asked: error("AUTHENTICATION_ERROR")
        with pytest.raises(CredentialsRefused, match=f"^{server.url} does not accept"):
            get_row(session)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        strange = Session.open(Connection(domain=server.url, ssh_key=KEY, transport=way))  # type: ignore[arg-type]
        with pytest.raises(CredentialsRefused, match=f"certificate of {server.url} .through the proxy"):
            strange.projects()
        strange.close()


def test_the_untouched_sdk_is_told_what_requests_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scheme requests takes `localhost` for one; for SOCKS it needs a package."""
    connection = Connection(ssh_key=KEY, transport="sdk")
    monkeypatch.setenv("HTTPS_PROXY", "localhost:3128")
    with pytest.raises(BadInput, match="the proxy needs its scheme: write http://localhost:3128"):
        Session.open(connection)
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://me:secret@proxy.corp:1080")
    monkeypatch.setitem(sys.modules, "socks", None)
    with pytest.raises(BadInput, match=r"socks5h://proxy.corp:1080 needs .* install 'requests\[socks\]'"):
        Session.open(connection)
