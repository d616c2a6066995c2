"""The SDK's own calls over kept-alive connections: raw bytes, deadlines, caps, and nobody else's host."""

import gzip
import inspect
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import encord
import pytest
import urllib3
from encord.client import EncordClientProject
from encord.http.querier import Querier

from harvester.encord import transport
from harvester.encord.project import ProjectInfo
from harvester.encord.sdk_version import KNOWN_SDK
from harvester.encord.session import Session
from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    HarvesterError,
    RateLimited,
    SkipRow,
    TooMuchAsked,
    Unavailable,
)
from harvester.fetch.source import LabelRows
from harvester.settings import Connection, Format, Selection
from tests.encord.conftest import KEY
from tests.encord.recording import PROJECT, Asked, Recording, Reply, Tunnel, envelope, error, gzipped
from tests.patience import LONG

Connect = Callable[..., Session]
EDITOR = {"objects": [{"featureNodeHash": "object"}], "classifications": [{"featureNodeHash": "class"}]}
INFO = ProjectInfo(PROJECT, "T", "", json.dumps(EDITOR).encode())


def rows_of(session: Session, **selection: Any) -> LabelRows:
    return session.label_rows(INFO, Selection(**selection), Format(), as_sent=True)


def echo(asked: Asked) -> Reply:
    """Each row asked for, by its hash, gzipped."""
    uid = asked.uid
    rows = [{"label_hash": one, "data_units": {}} for one in ([uid] if isinstance(uid, str) else uid)]
    return gzipped(envelope(rows[0] if isinstance(uid, str) else rows).body)


def test_rows_come_raw_over_one_connection(server: Recording, connect: Connect) -> None:
    """Many calls of both kinds, one connection, the bytes as sent, and their sizes."""
    server.answers = echo
    rows = rows_of(connect())
    single = [rows.get_label_row(f"r/{number}") for number in range(5)]
    bundle = rows.get_label_rows(["a", "b+", "c"])
    assert [bytes(answer.rows[0]) for answer in single] == [
        b'{"label_hash": "r/%d", "data_units": {}}' % number for number in range(5)
    ]
    assert [json.loads(bytes(row))["label_hash"] for row in bundle.rows] == ["a", "b+", "c"]
    sent = envelope([{"label_hash": one, "data_units": {}} for one in ("a", "b+", "c")]).body
    assert (bundle.body_bytes, bundle.wire_bytes) == (len(sent), len(gzip.compress(sent)))
    assert len({asked.port for asked in server.asked}) == 1


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_labels_of_archived_features_are_asked_for_by_the_bundled_call_alone(
    server: Recording, connect: Connect, way: str
) -> None:
    """Also for one row; the single call, which has no such argument, only says why a row is left out."""
    server.answers = echo
    rows = rows_of(connect(transport=way), include_archived=True)
    assert rows.get_label_row("a").rows
    assert len(rows.get_label_rows(["a", "b"]).rows) == 2
    with pytest.raises(SkipRow, match="archived") as left_out:
        rows.get_left_out("c")
    assert left_out.value.failure == "left_out"
    payloads = [(one.uid, json.loads(one.body)["values"]["payload"]) for one in server.asked]
    assert [(uid, payload.get("include_archived")) for uid, payload in payloads] == [
        (["a"], True), (["a", "b"], True), ("c", None),
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_without_archived_features_a_row_that_is_left_out_may_come_alone(
    server: Recording, connect: Connect, way: str
) -> None:
    """The single call brings all of it."""
    server.answers = echo
    rows = rows_of(connect(transport=way))
    assert rows.get_left_out("c").rows
    assert server.asked[0].uid == "c"


def test_a_request_is_the_one_that_the_untouched_sdk_sends(server: Recording, connect: Connect) -> None:
    """Body and headers are the same on both transports, but for the trace id."""
    server.answers = echo
    for way in ("pooled", "sdk"):
        rows = rows_of(connect(transport=way), include_reviews=True, feature_hashes=("object",))
        rows.get_label_row("a")
        rows.get_label_rows(["a", "b"])
    varying = ("X-Cloud-Trace-Context", "Connection")
    asked = [
        (one.method, one.path, one.body, {k: v for k, v in one.headers.items() if k not in varying})
        for one in server.asked
    ]
    assert asked[:2] == asked[2:]


def test_a_request_is_sent_in_one_piece(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head and its body, together."""
    server.answers = echo
    sent: list[bytes] = []

    sendall = ssl.SSLSocket.sendall

    def noted(socket: ssl.SSLSocket, data: Any, flags: int = 0) -> None:
        if not socket.server_side:
            sent.append(bytes(data))
        sendall(socket, data, flags)

    monkeypatch.setattr(ssl.SSLSocket, "sendall", noted)
    rows_of(connect()).get_label_row("a")
    (asked,) = server.asked
    assert [(piece[:5], piece[-len(asked.body) :]) for piece in sent] == [(b"POST ", asked.body)]


def test_only_what_is_needed_is_asked_along(server: Recording, connect: Connect) -> None:
    """Reviews, signed URLs and feature hashes: by the selection alone."""
    server.answers = echo
    session = connect()
    for selection in (
        {},
        {"approved": True},
        {"include_reviews": True},
        {"signed_urls": True},
        {"feature_hashes": ("object", "class")},
    ):
        rows_of(session, **selection).get_label_rows(["a", "b"])
    payloads = [
        [
            asked.payload["include_reviews"],
            asked.payload["get_signed_url"],
            asked.payload["include_object_feature_hashes"],
            asked.payload["include_classification_feature_hashes"],
        ]
        for asked in server.asked
    ]
    assert payloads == [
        [False, False, None, None],
        [True, False, None, None],
        [True, False, None, None],
        [False, True, None, None],
        [False, False, ["object"], ["class"]],
    ]


def test_many_threads_have_a_connection_each_and_keep_it(server: Recording, connect: Connect) -> None:
    """Sixteen calls at once open sixteen connections, and further calls open none."""
    together = threading.Barrier(16)

    def answers(asked: Asked) -> Reply:
        together.wait(LONG)
        return echo(asked)

    server.answers = answers
    rows = rows_of(connect())
    with ThreadPoolExecutor(16) as threads:
        for _ in range(3):
            asked = [f"row-{number}" for number in range(16)]
            answered = [
                json.loads(bytes(answer.rows[0])) for answer in threads.map(rows.get_label_row, asked)
            ]
            assert [row["label_hash"] for row in answered] == asked
    assert len({asked.port for asked in server.asked}) == 16


# -- what goes wrong ------------------------------------------------------------------------------

SENT = gzip.compress(envelope([{"label_hash": "a"}]).body)
BOMB = gzip.compress(bytes(100 * 1024**2))


def raw(head: bytes, *rest: bytes) -> Reply:
    return Reply(raw=(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *rest))


FAULTS: dict[str, tuple[Reply, type[HarvesterError], type[HarvesterError]]] = {
    #                                                                      one row      several rows
    "an error in the envelope": (error("CORRUPTED_LABEL_ERROR"), SkipRow, SkipRow),
    "a limit on rows": (error("MULTI_LABEL_LIMIT_ERROR"), SkipRow, TooMuchAsked),
    "credentials revoked": (error("AUTHENTICATION_ERROR"), CredentialsRefused, CredentialsRefused),
    "429": (Reply(b"", 429), RateLimited, RateLimited),
    "413": (Reply(b"<html>", 413), SkipRow, TooMuchAsked),
    "429 in front of an answer": (replace(envelope([]), status=429), RateLimited, RateLimited),
    "413 in front of an answer": (replace(envelope([]), status=413), SkipRow, TooMuchAsked),
    "502 with a page": (Reply(b"<html>", 502), Unavailable, Unavailable),
    "200 with a page": (Reply(b"<html>"), Unavailable, Unavailable),
    "nothing": (Reply(b""), Unavailable, Unavailable),
    "null": (envelope(None), SkipRow, SkipRow),
    "not a number": (Reply(b'{"status":200,"response":[{"a":NaN}]}'), SkipRow, SkipRow),
    "a bomb": (Reply(BOMB, headers={"Content-Encoding": "gzip"}), SkipRow, TooMuchAsked),
    "more than allowed": (Reply(b"[" + b" " * 2 * 1024**2), SkipRow, TooMuchAsked),
    "more than allowed, in chunks": (Reply(pieces=[b" " * 1024**2] * 3), SkipRow, TooMuchAsked),
    "cut short of its length": (raw(b"Content-Length: 999", SENT), Unavailable, Unavailable),
    "cut short of its last chunk": (
        raw(b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip", b"%x\r\n%s\r\n" % (len(SENT), SENT)),
        Unavailable,
        Unavailable,
    ),
    "cut short in its compression": (
        Reply(SENT[:-3], headers={"Content-Encoding": "gzip"}),
        Unavailable,
        Unavailable,
    ),
    "no answer": (Reply(raw=()), Unavailable, Unavailable),
    "no HTTP": (Reply(raw=(b"SSH-2.0-OpenSSH\r\n\r\n",)), Unavailable, Unavailable),
    "a redirect": (
        Reply(status=307, headers={"Location": "https://elsewhere.example/public"}),
        CannotFinishNow,
        CannotFinishNow,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_meaning_and_the_next_call_goes_well(
    server: Recording, connect: Connect, fault: str
) -> None:
    """A fault becomes one error with operation and trace id, and spoils no connection for the next call."""
    reply, *kinds = FAULTS[fault]
    rows = rows_of(connect(max_response_bytes=1024**2))
    for call, kind in zip((rows.get_label_row, rows.get_label_rows), kinds, strict=True):
        hashes: Any = "a" if call == rows.get_label_row else ["a", "b"]
        server.answers = lambda asked: reply
        with pytest.raises(HarvesterError) as raised:
            call(hashes)
        assert type(raised.value) is kind, raised.value.message
        assert raised.value.operation == call.__name__
        assert raised.value.trace_id == server.asked[-1].headers["X-Cloud-Trace-Context"].split("/")[0]
        server.answers = echo
        assert call(hashes).rows


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_an_error_names_the_row_that_was_asked_for_alone(
    server: Recording, connect: Connect, way: str
) -> None:
    """By whichever call; of several rows it names none."""
    server.answers = lambda asked: error("CORRUPTED_LABEL_ERROR")
    rows = rows_of(connect(transport=way))
    calls = (
        lambda: rows.get_label_row("a"),
        lambda: rows.get_label_rows(["b"]),
        lambda: rows.get_label_rows(["b", "c"]),
    )
    for call, row in zip(calls, ("a", "b", None), strict=True):
        with pytest.raises(SkipRow) as raised:
            call()
        assert raised.value.row == row


def test_an_answer_may_be_as_large_as_allowed_and_no_larger(server: Recording, connect: Connect) -> None:
    """By what it says of its length, and where that is not known by what comes."""
    rows = rows_of(connect(max_response_bytes=1024**2))
    for size in (1024**2, 1024**2 + 1):
        body = envelope([{"label_hash": "a"}]).body.ljust(size)
        for reply in (Reply(body), Reply(pieces=[body]), gzipped(body)):
            server.answers = lambda asked, reply=reply: reply
            if size == 1024**2:
                answer = rows.get_label_rows(["a", "b"])
                assert (answer.body_bytes, answer.wire_bytes) == (size, len(reply.body) or size)
            else:
                with pytest.raises(TooMuchAsked):
                    rows.get_label_rows(["a", "b"])


def test_no_redirect_is_followed(
    server: Recording, connect: Connect, serving: Callable[..., Recording]
) -> None:
    """A redirect is refused on v1 and v2, and the other host hears nothing, whatever the status."""
    other = serving(echo)
    session = connect()
    for status in (300, 301, 302, 303, 307, 308, 399):
        server.answers = lambda asked, status=status: Reply(
            status=status, headers={"Location": other.url + "/x"}
        )
        with pytest.raises(CannotFinishNow, match="sends us to another address"):
            rows_of(session).get_label_row("a")
        with pytest.raises(CannotFinishNow, match="sends us to another address"):
            session.projects()
    assert other.asked == []


@pytest.mark.parametrize("reply", [Reply(b"", 503), Reply(b"<html>", 503), error("UNKNOWN_ERROR")])
@pytest.mark.parametrize("header", ["7", "Wed, 21 Oct 2026 07:28:07 GMT"])
def test_retry_after_is_kept_whatever_the_error(
    server: Recording, connect: Connect, reply: Reply, header: str
) -> None:
    """The SDK reads it from one status only; an outage names a time too."""
    reply.headers = {"Retry-After": header}
    server.answers = lambda asked: reply
    with pytest.raises(Unavailable) as raised:
        rows_of(connect()).get_label_row("a")
    assert raised.value.retry_after is not None
    if header == "7":
        assert raised.value.retry_after == 7


def slowly(pieces: list[bytes], forever: bytes, stop: threading.Event) -> Iterator[bytes]:
    """`pieces` at once, then `forever` again and again, with less than a read timeout between."""
    yield from pieces
    while not stop.wait(0.02):
        yield forever


TRICKLES = {
    "the body": ([b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"], b" "),
    "chunks": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], b"1\r\n \r\n"),
    "the headers": ([b"HTTP/1.1 200 OK\r\nX-Slow: "], b"x"),
    "the status": ([], b"H"),
}


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("trickle", TRICKLES)
def test_a_server_that_trickles_is_left_at_the_deadline(
    serving: Callable[..., Recording], connect: Connect, trickle: str, tls: bool
) -> None:
    """A byte every 20 ms never meets a read timeout of seconds; the whole call has a deadline of its own."""
    pieces, forever = TRICKLES[trickle]
    stop = threading.Event()
    server = serving(lambda asked: Reply(raw=slowly(pieces, forever, stop)), tls=tls)
    rows = rows_of(connect(domain=server.url, request_deadline=0.25, read_timeout=20.0))
    with pytest.raises(Unavailable, match="did not answer in time"):
        rows.get_label_row("a")
    stop.set()


@pytest.mark.parametrize("what", ["projects", "listing"])
def test_the_sdk_s_own_connections_have_a_deadline_too(
    serving: Callable[..., Recording], connect: Connect, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They only limit the time between two bytes: a call is left behind at the deadline, and made again."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    stop = threading.Event()
    server = serving(lambda asked: Reply(raw=slowly(*TRICKLES["the body"], stop)))
    session = connect(domain=server.url, transport="sdk", request_deadline=0.1, read_timeout=20.0)
    with pytest.raises(CannotFinishNow, match=r"no answer within 0\.1 s"):
        session.projects() if what == "projects" else session.listing(INFO, Selection()).__enter__()
    stop.set()


def test_silence_ends_at_the_read_timeout(server: Recording, connect: Connect) -> None:
    """A server that says nothing is left after the read timeout."""
    stop = threading.Event()

    def answers(asked: Asked) -> Reply:
        stop.wait(LONG)
        return echo(asked)

    server.answers = answers
    with pytest.raises(Unavailable, match="did not answer in time"):
        rows_of(connect(read_timeout=0.1)).get_label_row("a")
    stop.set()


def test_silence_ends_at_the_deadline_where_that_is_sooner(connect: Connect) -> None:
    """Also in the midst of an answer: the connection is closed, and not left to the read timeout."""
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        rows = rows_of(connect(domain=url, request_deadline=0.25, read_timeout=LONG / 5))
        asking = pool.submit(rows.get_label_row, "a")
        near, _ = mute.accept()
        with near:
            near.settimeout(LONG / 10)
            near.sendall(b"HTTP/1.1 200 OK\r\n")
            while near.recv(65536):
                pass
        with pytest.raises(Unavailable, match="did not answer in time"):
            asking.result()


def test_a_handshake_that_never_comes_ends_at_the_connect_timeout(connect: Connect) -> None:
    """A port that takes the connection and says nothing does not hold the thread."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(Unavailable, match="did not answer in time"):
            rows_of(connect(domain=url, connect_timeout=0.1, read_timeout=20.0)).get_label_row("a")


def test_a_handshake_counts_towards_the_deadline(connect: Connect) -> None:
    """The connection is closed when the call's time is over, and not left to the connect timeout."""
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor(1) as pool:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        rows = rows_of(connect(domain=url, request_deadline=0.1, connect_timeout=LONG / 5))
        asking = pool.submit(rows.get_label_row, "a")
        near, _ = mute.accept()
        with near:
            near.settimeout(LONG / 10)
            while near.recv(65536):
                pass
        with pytest.raises(Unavailable, match="did not answer in time"):
            asking.result()


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    server: Recording, connect: Connect
) -> None:
    """An idle connection that is gone costs no error."""
    server.answers = lambda asked: Reply(
        echo(asked).body, headers=echo(asked).headers | {"Connection": "close"}
    )
    rows = rows_of(connect())
    for _ in range(3):
        assert rows.get_label_row("a").rows


# -- certificates, proxies, environment -----------------------------------------------------------


def test_the_ca_bundle_is_taken_from_where_the_sdk_takes_it(
    server: Recording, connect: Connect, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE serve where none is given; without one the server is refused."""
    server.answers = echo
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(ca_file))
            assert rows_of(connect(ca_bundle=None)).get_label_row("a").rows
    with pytest.raises(CredentialsRefused, match=r"cannot be trusted .*--ca-bundle") as refused:
        rows_of(connect(ca_bundle=None)).get_label_row("a")
    assert refused.value.exit_code == 4


def test_a_certificate_of_another_host_is_refused(authority: Any, connect: Connect) -> None:
    """The name in the certificate counts, not only who signed it."""
    with (
        Recording(echo, authority.issue_cert("elsewhere.example")) as other,
        pytest.raises(CredentialsRefused),
    ):
        rows_of(connect(domain=other.url)).get_label_row("a")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("", "no certificate"), ("x", "no certificate")]
)
def test_a_ca_bundle_that_is_none_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    """A missing or empty bundle is bad input, found before anything is asked."""
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(BadInput, match=words):
        Session.open(Connection(ssh_key=KEY, ca_bundle=bundle))


def test_a_ca_bundle_that_the_untouched_sdk_would_not_take_is_named(ca_file: Path) -> None:
    """The SDK knows no such argument: it is told where to put the bundle instead of failing later."""
    with pytest.raises(BadInput, match="set REQUESTS_CA_BUNDLE to"):
        Session.open(Connection(ssh_key=KEY, ca_bundle=ca_file, transport="sdk"))


def test_a_proxy_of_the_environment_is_used_unless_excepted(
    server: Recording, serving: Callable[..., Recording], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY gets the tunnel's CONNECT, and NO_PROXY keeps it out."""
    server.answers = echo
    proxy = serving(lambda asked: Reply(status=502), tls=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(Unavailable):
        rows_of(connect(read_timeout=1.0)).get_label_row("a")
    assert server.asked == []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert rows_of(connect()).get_label_row("a").rows


def test_a_tunnel_through_a_proxy_is_kept_too(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several calls go through one tunnel, encrypted and verified to the end, on both transports."""
    server.answers = echo
    with Tunnel() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        session = connect()
        rows = rows_of(session)
        assert [json.loads(bytes(rows.get_label_row(name).rows[0]))["label_hash"] for name in "abc"] == [
            *"abc"
        ]
        assert proxy.opened == [server.url.removeprefix("https://")]
        session.close()
        assert rows_of(connect(transport="sdk")).get_label_row("a").rows
        assert len(proxy.opened) == 2


def test_plain_http_goes_through_a_proxy_by_its_whole_url(
    serving: Callable[..., Recording], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy is told the whole URL where there is no tunnel."""
    proxy = serving(echo, tls=False)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert rows_of(connect(domain="http://localhost:9")).get_label_row("a").rows
    assert [asked.path for asked in proxy.asked] == ["http://localhost:9/public"]


def test_a_proxy_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS needs what is not installed; the plain transport is the way out."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(BadInput, match="socks5 proxy cannot be used"):
        Session.open(Connection(ssh_key=KEY))


def test_another_host_than_the_domain_is_never_asked(server: Recording, connect: Connect) -> None:
    """Neither another host nor another port or scheme, whatever URL comes down from the SDK."""
    connections = connect()._transport._connections
    for url in ("https://elsewhere.example/", server.url.replace("https", "http"), "https://127.0.0.1:1/"):
        with pytest.raises(BadInput, match="refused to ask another host"):
            connections.send("GET", url, {}, None)


@pytest.mark.parametrize(
    ("domain", "url"),
    [("https://127.0.0.1:443", "https://127.0.0.1/"), ("http://127.0.0.1", "http://127.0.0.1:80/")],
)
def test_a_port_that_goes_without_saying_is_the_same_host(connect: Connect, domain: str, url: str) -> None:
    """The request is sent, though nobody answers here."""
    with pytest.raises(urllib3.exceptions.HTTPError):
        connect(domain=domain)._transport._connections.send("GET", url, {}, None)


def test_tls_is_verified_and_modern(connect: Connect) -> None:
    """There is no way to turn verification off."""
    connections = connect()._transport._connections
    assert connections._context.verify_mode is ssl.CERT_REQUIRED
    assert connections._context.check_hostname
    assert connections._context.minimum_version >= ssl.TLSVersion.TLSv1_2


# -- the plain transport --------------------------------------------------------------------------


def test_the_untouched_sdk_gives_the_same_rows(server: Recording, connect: Connect) -> None:
    """--transport sdk: the SDK's own sessions, a connection a call, and the same JSON."""
    server.answers = echo
    rows = rows_of(connect(transport="sdk"))
    answers = [rows.get_label_row("a"), rows.get_label_rows(["a", "b"])]
    assert [[json.loads(row) for row in answer.rows] for answer in answers] == [  # type: ignore[arg-type]
        [{"label_hash": "a", "data_units": {}}],
        [{"label_hash": "a", "data_units": {}}, {"label_hash": "b", "data_units": {}}],
    ]
    assert len({asked.port for asked in server.asked}) == 2


@pytest.mark.parametrize(
    "fault",
    [
        "an error in the envelope",
        "a limit on rows",
        "credentials revoked",
        "429",
        "413",
        "502 with a page",
        "200 with a page",
        "nothing",
        "not a number",
        "cut short of its length",
        "no answer",
    ],
)
def test_faults_mean_the_same_through_the_untouched_sdk(
    server: Recording, connect: Connect, fault: str
) -> None:
    """The table holds for both transports, and the SDK retries nothing by itself."""
    reply, _, kind = FAULTS[fault]
    server.answers = lambda asked: reply
    with pytest.raises(HarvesterError) as raised:
        rows_of(connect(transport="sdk")).get_label_rows(["a", "b"])
    assert type(raised.value) is kind
    assert len(server.asked) == 1


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_half_a_surrogate_pair_is_replaced_in_a_row_that_is_asked_for_alone(
    server: Recording, connect: Connect, way: str
) -> None:
    """On both transports, with where it stood; what else is wrong with the row is its fault all the same."""
    row = b'{"label_hash":"a","data_title":"\\ud800","data_units":{%b}}'
    rows = rows_of(connect(transport=way))
    server.answers = lambda asked: Reply(b'{"status":200,"response":%b}' % (row % b""))
    answer = rows.get_label_row("a")
    (came,) = answer.rows
    assert json.loads(bytes(came)) == {"label_hash": "a", "data_title": "\ufffd", "data_units": {}}  # type: ignore[arg-type]
    assert answer.replaced == {0: "data_title"}
    server.answers = lambda asked: Reply(b'{"status":200,"response":%b}' % (row % b'"x":NaN'))
    with pytest.raises(SkipRow, match="no valid JSON") as refused:
        rows.get_label_row("a")
    assert refused.value.failure == "unreadable"


# -- the contract with the SDK --------------------------------------------------------------------

MOVED = """
An internal of the encord SDK that the pooled transport stands on has changed. Compare
harvester/encord/transport.py with the SDK's http/querier.py, http/v2/api_client.py and client.py, make it fit
again, then update `_INTERNALS` there and `KNOWN_SDK` in sdk_version.py. Until then users are told to take
--transport sdk.
"""


def test_the_installed_sdk_is_the_one_that_is_known() -> None:
    """The pinned version, and every internal with the parameters that it had."""
    assert encord.__version__ == KNOWN_SDK, MOVED
    try:
        transport.check_sdk()
    except BadInput as moved:
        pytest.fail(f"{moved}\n{MOVED}")


def test_the_sdk_s_getters_still_hand_on_what_execute_gives(connect: Connect, server: Recording) -> None:
    """`basic_getter` and `get_multiple` call `_execute` and `_parse_response`, and add nothing."""
    server.answers = echo
    pooled = connect()._transport
    for many in (False, True):
        client = pooled._client(PROJECT, lambda response, context: response, many=many)
        found = client.get_label_rows(["a"]) if many else client.get_label_row("a")
        (response,) = found if many else [found]
        assert response.status == 200, MOVED
        response.close()


def test_a_moved_internal_is_one_clear_line_and_the_plain_transport_still_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unknown SDK ends a pooled session when it opens, with the way out, and no plain one."""

    def moved(self: Querier, request: Any, *, idempotent: bool) -> None: ...

    monkeypatch.setattr(Querier._execute, "__signature__", inspect.signature(moved), raising=False)
    with pytest.raises(
        BadInput, match=r"not known to the pooled transport .* use --transport sdk, or install encord"
    ):
        Session.open(Connection(ssh_key=KEY))
    Session.open(Connection(ssh_key=KEY, transport="sdk")).close()


def test_an_internal_that_is_gone_stops_no_plain_export() -> None:
    """Where a function of the SDK's is no more, a pooled session says so and a plain one opens."""
    program = f"""
import sys
import encord
del sys.modules["encord.http.error_utils"].check_error_response
from harvester.encord.session import Session
from harvester.errors import BadInput
from harvester.settings import Connection
Session.open(Connection(ssh_key={KEY!r}, transport="sdk"))
try:
    Session.open(Connection(ssh_key={KEY!r}))
except BadInput as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "not known to the pooled transport" in done.stdout


def renamed(self: Any, uids: Any = None, *, signed: bool = False) -> None: ...


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize("getter", ["get_label_row", "get_label_rows", "list_label_rows"])
def test_a_call_that_the_sdk_does_not_take_is_one_line_at_the_start(
    monkeypatch: pytest.MonkeyPatch, way: Any, getter: str
) -> None:
    """A renamed keyword, or a method that is gone; and not an error of each row."""
    with monkeypatch.context() as patch:
        patch.setattr(EncordClientProject, getter, renamed)
        with pytest.raises(BadInput, match=rf"of encord .*renamed: .*: install encord {KNOWN_SDK}$"):
            Session.open(Connection(ssh_key=KEY, transport=way))
    monkeypatch.delattr(EncordClientProject, getter)
    with pytest.raises(BadInput, match=rf"cannot be used .*'{getter}'.: install encord"):
        Session.open(Connection(ssh_key=KEY, transport=way))


OLD = """
import encord.exceptions
del encord.exceptions.RateLimitExceededError  # as before 0.1.180
"""
NONE = """
import sys
sys.modules["encord"] = None
"""


@pytest.mark.parametrize("verb", [["projects"], ["export", "p", "-o", "out"], ["bench", "p"]], ids=" ".join)
@pytest.mark.parametrize("sdk", [OLD, NONE], ids=["too old", "not there"])
def test_an_sdk_that_cannot_even_be_imported_is_one_line(tmp_path: Path, sdk: str, verb: list[str]) -> None:
    """The installed command: exit code 2, and no bug of ours."""
    (tmp_path / "sitecustomize.py").write_text(sdk)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "ENCORD_SSH_KEY": KEY}
    done = subprocess.run(
        [Path(sys.executable).with_name("harvester"), *verb, "--transport", "sdk"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("harvester: this version of encord (")
    assert done.stderr.endswith(f": install encord {KNOWN_SDK}\n")
    assert done.stderr.count("\n") == 1
