"""Persistent connections: one TLS handshake for many calls, one CA bundle, a deadline for each call.

The SDK opens a new connection for each call and loads the CA bundle each time, which costs about 50 ms of CPU
per call (docs/wire-format.md). Proxy and CA bundle are taken from the environment in the same way as by the
SDK: with `requests`.
"""

import base64
import importlib.util
import math
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from requests.utils import (
    DEFAULT_CA_BUNDLE_PATH,
    get_auth_from_url,
    prepend_scheme_if_needed,
    select_proxy,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url
from urllib3.util.ssl_ import create_urllib3_context

from harvester.addresses import Proxy, checked_proxy
from harvester.errors import BadInput
from harvester.settings import Connection

# Size of the connection pool: the highest number of calls in flight that settings.Limits allows, so that the
# pool never discards a connection.
_MOST_CONNECTIONS = 1024


class Connections:
    """Connections to one domain, opened when needed. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        """Load the CA bundle and choose the proxy; connect to nothing yet.

        Raises:
            BadInput: the CA bundle or the proxy cannot be used.
        """
        self._connection = connection
        self._context = tls_context(connection, connection.domain)
        self._pool, self._absolute = self._pool_for(proxy_for(connection.domain))
        self._origin = _origin(urlsplit(connection.domain))

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        read_timeout: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request. Return the answer, whose body must still be read, and is not decompressed.

        There are no retries and no redirects. `read_timeout` is the longest time between two bytes, in
        seconds; the whole call must end within the connection's `request_deadline`.

        Raises:
            urllib3.exceptions.HTTPError: no answer came.
            BadInput: `url` names another host than that of the domain.
        """
        parts = urlsplit(url)
        if _origin(parts) != self._origin:
            raise BadInput(f"refused to ask another host than {self._connection.domain}")
        timeout = urllib3.Timeout(
            connect=self._connection.connect_timeout, read=read_timeout or self._connection.read_timeout
        )
        return self._pool.urlopen(
            method,
            url if self._absolute else (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close the idle connections. The others are closed when their calls end."""
        self._pool.close()

    def _pool_for(self, proxy: Proxy | None) -> tuple[urllib3.HTTPConnectionPool, bool]:
        """Return the pool, and whether a request must name the whole URL (for plain http through a proxy)."""
        common: dict[str, Any] = {"maxsize": _MOST_CONNECTIONS, "block": False, "ssl_context": self._context}
        if proxy is None:
            manager = urllib3.PoolManager(**common)
        else:
            if proxy.scheme not in ("http", "https"):
                raise BadInput(
                    f"a {proxy.scheme} proxy cannot be used: name an http or https proxy,"
                    " or use --transport sdk"
                )
            manager = urllib3.ProxyManager(
                proxy.address,
                proxy_headers=proxy_authorization(proxy),
                proxy_ssl_context=self._context,
                **common,
            )
        pool = manager.connection_from_url(self._connection.domain)
        secure = isinstance(pool, urllib3.HTTPSConnectionPool)
        base = HTTPSConnection if secure else HTTPConnection
        pool.ConnectionCls = _bounded(base, self._connection)
        return pool, proxy is not None and not secure


def proxy_for(domain: str) -> Proxy | None:
    """Return the proxy that `requests` takes from the environment for `domain`, or None.

    Raises:
        BadInput: its address cannot be parsed.
    """
    address = _proxy_address(domain)
    return checked_proxy(urlsplit(domain).scheme, address) if address else None


def check_sdk_settings(connection: Connection) -> None:
    """Raise BadInput if the unmodified SDK would not use the given CA bundle, or could not use the proxy."""
    proxy = proxy_for(connection.domain)
    if proxy is not None:
        _check_sdk_proxy(proxy, _proxy_address(connection.domain) or "")
    verify = _of_environment(connection.domain)["verify"]
    if connection.ca_bundle is not None and str(connection.ca_bundle) != str(verify):
        raise BadInput(
            "with --transport sdk the SDK takes its CA bundle from the environment alone:"
            f" set REQUESTS_CA_BUNDLE to {connection.ca_bundle}"
        )


def _check_sdk_proxy(proxy: Proxy, address: str) -> None:
    """Raises BadInput where requests does not understand the proxy's `address` as we do."""
    taken = prepend_scheme_if_needed(address, "http")  # type: ignore[no-untyped-call]  # requests' own
    if parse_url(taken).host != parse_url(proxy.address).host:
        raise BadInput(f"with --transport sdk the proxy needs its scheme: write {proxy}")
    if proxy.scheme.startswith("socks"):
        if importlib.util.find_spec("socks") is None:
            raise BadInput(f"the proxy {proxy} needs more than is here: pip install 'requests[socks]'")
    elif not _is_latin(":".join(get_auth_from_url(proxy.address))):
        raise BadInput(
            f"with --transport sdk the user and password of the proxy {proxy} may hold no characters beyond"
            " Latin-1"
        )


def proxy_authorization(proxy: Proxy) -> dict[str, str]:
    """Return the header with the user and password of the proxy's address; urllib3 does not send it.

    They are encoded in Latin-1, as requests and urllib3 do, or in UTF-8 if Latin-1 lacks a character.
    """
    user, password = get_auth_from_url(proxy.address)
    if not user:
        return {}
    text = f"{user}:{password}"
    encoded = base64.b64encode(text.encode("latin-1" if _is_latin(text) else "utf-8")).decode()
    return {"Proxy-Authorization": f"Basic {encoded}"}


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def _of_environment(domain: str) -> Mapping[str, Any]:
    """Return the settings that `requests` takes from the environment for `domain`: `verify` and `proxies`."""
    return requests.Session().merge_environment_settings(domain, {}, None, None, None)


def _proxy_address(domain: str) -> str | None:
    return select_proxy(domain, _of_environment(domain)["proxies"])


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}[parts.scheme]


def tls_context(connection: Connection, address: str) -> ssl.SSLContext:
    """Return a TLS context that verifies the certificate of `address`.

    It trusts the CA bundle (a file, or a directory of certificates) of `connection`, else the one that the
    environment names, else that of `requests`.

    Raises:
        BadInput: the CA bundle cannot be used.
    """
    verify = connection.ca_bundle or _of_environment(address)["verify"]
    bundle = Path(verify if isinstance(verify, str | Path) else DEFAULT_CA_BUNDLE_PATH)
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.sslsocket_class = _BoundedTLSSocket
    try:
        if bundle.is_dir():
            context.load_verify_locations(capath=str(bundle))
        else:
            context.load_verify_locations(cafile=str(bundle))
    except ssl.SSLError as error:
        raise BadInput(f"the CA bundle {bundle} holds no certificate in PEM format") from error
    except OSError as error:
        raise BadInput(f"the CA bundle {bundle} cannot be read: {error.strerror}") from error
    return context


# A read timeout limits only the time between two bytes, so a server that sends a byte now and then could
# block a call for ever. These sockets know the deadline of their call, and wait for no byte beyond it.


def _now() -> float:
    return time.monotonic()  # noqa: TID251  # a thread that blocks in a socket has no event loop's clock


def _left(ends: float) -> float:
    left = ends - _now()
    if left <= 0:
        raise TimeoutError("the call took longer than its deadline")
    return left


class _Bounded:
    """Mixin for a socket whose reads end at a deadline: `ends`, in seconds of the monotonic clock."""

    ends = math.inf

    def recv_into(self: Any, buffer: Any, *args: Any) -> int:
        left = _left(self.ends)
        timeout = self.gettimeout()
        if timeout is None or left < timeout:
            self.settimeout(left)
        received: int = super().recv_into(buffer, *args)  # type: ignore[misc]  # mixed into a socket
        return received

    def settimeout(self: Any, value: float | None) -> None:
        if value != self.gettimeout():  # avoid a system call, because it releases the GIL to another thread
            super().settimeout(value)  # type: ignore[misc]  # likewise


class _BoundedSocket(_Bounded, socket.socket): ...


class _BoundedTLSSocket(_Bounded, ssl.SSLSocket): ...


def _bounded(base: type[HTTPConnection], limits: Connection) -> type[HTTPConnection]:
    """Return a subclass of `base` whose calls must end within `request_deadline` seconds, with connecting.

    After that nothing is sent, and the connection is closed. So no request is open when its caller stops
    waiting for it.

    To save system calls, a request is sent in one piece, and with the same timeout with which most answers
    are read. Each system call releases the GIL to another thread; in an export of single rows such switches
    are a large part of the cost of a call.
    """

    class BoundedConnection(base):  # type: ignore[misc, valid-type]  # made once a pool, of the class the pool uses
        sock: Any
        _ends: float | None = None  # of the call that the connection is made for
        _unsent: list[bytes] | None = None

        def _new_conn(self) -> socket.socket:
            self._ends = _now() + limits.request_deadline
            plain = super()._new_conn()
            bounded = _BoundedSocket(fileno=plain.detach())
            bounded.ends = self._ends
            try:
                bounded.settimeout(min(limits.connect_timeout, _left(self._ends)))
            except TimeoutError:
                bounded.close()
                raise
            return bounded

        def request(self, *args: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            self.sock.ends = self._ends or _now() + limits.request_deadline
            self._ends = None
            self.timeout = min(limits.read_timeout, _left(self.sock.ends))
            pieces: list[bytes] = []
            self._unsent = pieces
            try:
                super().request(*args, **options)
            finally:
                self._unsent = None
            self.send(b"".join(pieces))

        def send(self, data: Any) -> None:
            if self._unsent is None:
                super().send(data)
            else:
                self._unsent.append(data)

    return BoundedConnection
