"""The hosts that media come from: each with its connections, and with its own rate control.

aiohttp carries the requests. It is not told where to find proxies or user names: with ``trust_env`` it would
send what stands in ``~/.netrc`` to any host. The proxy is found as for the API.
"""

import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp
import anyio
import msgspec
from multidict import CIMultiDict
from yarl import URL

from harvester.encord.body import TunnelRefused
from harvester.encord.connections import proxy_authorization, proxy_for, tls_context
from harvester.encord.wording import Route, describe_tunnel
from harvester.errors import BadInput, CannotFinishNow, RateLimited, SkipRow, Unavailable
from harvester.events import one_line
from harvester.fetch.bundles import Batch
from harvester.fetch.rate.concurrency import CoresUsed
from harvester.fetch.rate.controller import RateController, Ticket
from harvester.fetch.rate.limiter import RateLimiter
from harvester.fetch.retry import RetryPolicy
from harvester.media.answers_of_stores import LinkRefused
from harvester.media.safe_urls import UrlRefused, UrlRules
from harvester.settings import Connection, Limits

# Requests in flight to one host, at most. Each may hold two pieces of a file in memory. Chosen.
MOST_IN_FLIGHT = 32
_RANK = 1  # of new requests at the rate limiter; retries go first
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_FAILURES_OF_NOBODY = 7  # failed connections after which a host that has never answered is given up
_READ_BUFFER = 256 * 1024  # bytes that a connection reads ahead
# The run ends if a host has not answered for this many seconds: run it again later. Chosen.
_MAX_SILENCE = 900.0


OnRetry = Callable[[Batch, RateLimited | Unavailable, float], None]


class Response(NamedTuple):
    """The start of an answer to a GET: status, headers and the stream of the body as sent."""

    status: int
    headers: Mapping[str, str]
    body: aiohttp.StreamReader


class Exchange(msgspec.Struct):
    """A request and the start of its answer.

    `weight` is to be set to the size of the body where it is known: only answers of similar size are compared
    with each other, to see whether the host slows down.
    """

    response: Response
    weight: int = 1


class MediaHost:
    """A host: its connections, its proxy, and the rate limiter of the requests to it."""

    def __init__(
        self, origin: str, connection: Connection, limits: Limits, rules: UrlRules, on_retry: OnRetry
    ) -> None:
        """Raises BadInput if the CA bundle or the proxy cannot be used."""
        rng = random.Random()
        self.name = urlsplit(origin).hostname or ""
        self._rules = rules
        self.controller = RateController(
            rng=rng,
            max_rps=limits.max_rps,
            concurrency=limits.concurrency,
            max_concurrency=min(limits.concurrency or MOST_IN_FLIGHT, MOST_IN_FLIGHT),
            cores=CoresUsed(),
            store=True,
        )
        self.limiter = RateLimiter(self.controller)
        self.retry = RetryPolicy(
            limits.max_attempts, rng=rng, broken=lambda: self.controller.broken, on_retry=on_retry
        )
        self.failures = 0  # requests without any answer, not even an error, since the last answer
        self._unconnected = 0  # those of them that got no connection
        self.has_answered = False
        self.answered_at = anyio.current_time()
        self._refused: UrlRefused | None = None
        self._proxy = proxy_for(origin)
        if self._proxy is not None and self._proxy.scheme not in ("http", "https"):
            raise BadInput(f"a {self._proxy.scheme} proxy cannot be used: name an http or https proxy")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the rate limiter limits
                ssl=tls_context(connection, origin),
                socket_factory=self._socket,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "harvester", "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connection.connect_timeout, sock_read=connection.read_timeout
            ),
            read_bufsize=_READ_BUFFER,
        )

    @property
    def is_down(self) -> bool:
        """Whether the host seems to be down: it gives no answer, not even an error."""
        return self.controller.broken and self.failures > 0

    def hear(self) -> None:
        """Note that the host has answered."""
        self.failures, self.has_answered = 0, True
        self.answered_at = anyio.current_time()

    def note_failure(self, status: int) -> None:
        """Note a failure, with the status of the answer; 0: there was none."""
        if status:
            self.hear()
        else:
            self.failures += 1

    def check_existence(self) -> None:
        """Raise SkipRow if there was never a connection to the host: it probably does not exist."""
        if not self.has_answered and self._unconnected >= _FAILURES_OF_NOBODY:
            raise SkipRow(f"{one_line(self.name)}: there is no connection", failure="unavailable")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Response]:
        """Send a GET, and give the start of its answer. No error that it raises holds any part of the URL.

        Raises:
            Unavailable: there is no answer, or it breaks off.
            SkipRow: the host may not be connected to, or the proxy refuses to.
        """
        options: dict[str, Any] = {}
        if self._proxy is not None:
            options = {"proxy": str(self._proxy), "proxy_headers": proxy_authorization(self._proxy)}
        try:
            request = self._session.get(
                URL(url, encoded=True), headers=headers, allow_redirects=False, **options
            )
            async with request as answer:
                yield Response(answer.status, _headers(answer), answer.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._unconnected += isinstance(error, aiohttp.ClientConnectorError)
            refused, self._refused = self._refused, None
            if refused is not None:
                raise SkipRow(str(refused), failure="forbidden") from None
            if isinstance(error, aiohttp.ClientHttpProxyError) and error.status < 500:
                said = TunnelRefused(error.status, error.message)
                message = describe_tunnel(said, Route(one_line(self.name, limit=255), self._proxy))
                raise SkipRow(message, failure="forbidden") from None
            # Not `from error`: what aiohttp says holds the URL.
            raise Unavailable(f"{self._peer} {_described(error)}") from None

    @property
    def _peer(self) -> str:
        through = f" through the proxy {self._proxy}" if self._proxy is not None else ""
        return f"{one_line(self.name, limit=255)}{through}:"

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for a connection, if its address is allowed. A proxy's address always is."""
        family, kind, protocol, _, address = info
        if self._proxy is None:
            try:
                self._rules.check_address(self.name, address[0])
            except UrlRefused as error:
                self._refused = error
                raise OSError("the address is refused") from None
        return socket.socket(family, kind, protocol)


class MediaHosts:
    """All hosts of a run, made when they are first met."""

    def __init__(self, connection: Connection, limits: Limits, rules: UrlRules, on_retry: OnRetry) -> None:
        self._make = partial(MediaHost, connection=connection, limits=limits, rules=rules, on_retry=on_retry)
        self._rules = rules
        self._hosts: dict[str, MediaHost] = {}
        self.requests = self.refused = 0

    def of(self, url: str, *, redirected: bool = False) -> MediaHost:
        """Return the host of a URL.

        Raises:
            SkipRow: the URL is not one to follow.
        """
        try:
            self._rules.check_url(url, redirected=redirected)
        except UrlRefused as error:
            raise SkipRow(str(error), failure="forbidden") from None
        try:
            _ = URL(url, encoded=True).host  # as aiohttp reads it: the name must be one, also as IDNA
        except ValueError:
            raise SkipRow("the URL of the file names no host", failure="forbidden") from None
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._hosts:
            self._hosts[origin] = self._make(origin)
        return self._hosts[origin]

    async def close(self) -> None:
        """Close all connections."""
        for host in self._hosts.values():
            await host.close()

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Exchange]:
        """Send a GET when its host's rate limiter allows it, and follow redirects to https.

        Gives the start of the answer, which is no redirect. The error that the body of the `with` block
        raises, if any, is reported to the rate limiter as the result of the request.

        Raises:
            RateLimited, Unavailable, SkipRow: as the body does, or the request itself.
        """
        redirected = False
        for _ in range(_MOST_REDIRECTS + 1):
            host = self.of(url, redirected=redirected)
            host.check_existence()
            ticket = await host.limiter.enter(_RANK)
            async with self._accounted(host, ticket) as sent, host.get(url, headers) as response:
                if response.status not in _REDIRECTS:
                    sent.response = response
                    yield sent
                    return
                url, redirected = _target(url, response.headers.get("Location", "")), True
        raise SkipRow("the host of the file redirects without end", failure="unreadable")

    @asynccontextmanager
    async def _accounted(self, host: MediaHost, ticket: Ticket) -> AsyncIterator[Exchange]:
        """Give a ticket back to the rate limiter, with the result of its request."""
        self.requests += 1
        host.retry.budget.requested()
        exchange = Exchange(Response(0, {}, aiohttp.EMPTY_PAYLOAD))
        try:
            yield exchange
        except RateLimited as error:
            self.refused += 1
            host.limiter.refused(ticket, error.retry_after)
            raise
        except Unavailable as error:
            status = exchange.response.status
            host.note_failure(status)
            if status >= 500 or (status == 0 and host.has_answered):
                host.limiter.failed(ticket, error.retry_after)
            else:  # the host is up, whatever has become of this body; or it does not exist
                _answered(host, ticket)
            self._check_silence(host, error)
            raise
        except (SkipRow, LinkRefused):
            host.hear()
            _answered(host, ticket)
            raise
        except BaseException:
            host.limiter.cancelled(ticket)
            raise
        host.hear()
        host.limiter.succeeded(ticket, weight=exchange.weight)

    def _check_silence(self, host: MediaHost, error: Unavailable) -> None:
        """Raise CannotFinishNow if a host has not answered for too long. An error response is an answer."""
        if host.failures and anyio.current_time() - host.answered_at > _MAX_SILENCE:
            raise CannotFinishNow(f"{error.message}, for {_MAX_SILENCE / 60:.0f} minutes")


def _answered(host: MediaHost, ticket: Ticket) -> None:
    """Give back the ticket of a request whose latency says nothing about the host, but which was answered."""
    if ticket.trial:
        host.limiter.succeeded(ticket)
    else:
        host.limiter.cancelled(ticket)


def _headers(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    """Return the headers; the values of one that comes several times are joined (RFC 9110, 5.3)."""
    joined = CIMultiDict[str]()
    for name in answer.headers:
        joined[name] = ", ".join(answer.headers.getall(name))
    return joined


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise SkipRow("the host of the file redirects to what is no URL", failure="unreadable") from None


def _described(error: BaseException) -> str:
    """Return what went wrong with a connection, in words that hold no part of a URL."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return "its certificate cannot be trusted: if a private authority signed it, name it with --ca-bundle"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host is not known"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy cannot connect (status {error.status})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer breaks off"
    return f"the connection broke ({type(error).__name__})"
