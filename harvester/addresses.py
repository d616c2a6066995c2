"""Addresses that users and the environment give, checked before anything is done with them.

An address that cannot be parsed is never quoted, not even in part: a ``/``, ``#``, ``?`` or ``@`` in a
password ends what looks like the host, so that any part of it may be the password's rest.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from harvester.errors import BadInput

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_USER = r"(?:[\w.~!$&()*+,;=:-]|%[0-9a-f]{2})*"  # RFC 3986, 3.2.1, without the apostrophe
_HOST = r"(?P<host>[\w.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
_FLAGS = re.ASCII | re.IGNORECASE
_PROXY = re.compile(rf"(?:(?P<scheme>https?|socks(?:4a?|5h?))://(?:(?P<user>{_USER})@)?)?{_HOST}/?", _FLAGS)
_SCHEDULER = re.compile(rf"(?:[a-z]+://)?{_HOST}(?:/[\w./-]*)?", _FLAGS)
# What no address of a server holds, and `urlsplit` may take for part of a path, or drop.
_ODD = re.compile(r"[\\\s\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Proxy:
    """A proxy. As text it has no user and no password, so that it may be shown.

    `address` is for the connection only: with its scheme, and with the user and password that it came with.
    """

    scheme: str
    host: str
    port: str | None
    address: str = field(repr=False)
    has_password: bool

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")


def check_domain(domain: str) -> None:
    """Refuses all but https (http on loopback) and scheme, host, port and path: no secret rides along."""
    parts = _split("the domain", domain)
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise BadInput("the domain must be a URL: write https://host")
    if parts.query or parts.fragment:
        raise BadInput("the domain may hold no user, password, query or fragment")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise BadInput("the domain must be https: http is for loopback only")


def is_plain_http(variable: str, endpoint: str) -> bool:
    """Whether the object store's address in `variable` is http, which must be of this machine."""
    parts = _split(variable, endpoint)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise BadInput(f"{variable} must be https: http is for loopback only")
    return parts.scheme == "http"


def checked_proxy(kind: str, address: str) -> Proxy:
    """The proxy at `address`: http if that names no scheme, as requests has it.

    `kind` is the scheme of the addresses that it is for, and names the variable that it comes from.
    """
    found = _PROXY.fullmatch(address)
    if found is None or int(found["port"] or 0) > 65535:
        raise BadInput(
            f"the address of the proxy ({kind.upper()}_PROXY or ALL_PROXY) cannot be parsed: write "
            "http://host:port, with user:password@ in front of the host where it wants them, their special "
            "characters percent-encoded (/ as %2F)"
        )
    return Proxy(
        scheme=(found["scheme"] or "http").lower(),
        host=found["host"],
        port=found["port"],
        address=address if found["scheme"] else f"http://{address}",
        has_password=":" in (found["user"] or ""),
    )


def check_scheduler(address: str) -> None:
    """Refuses what is not the address of a Dask scheduler, so that what is refused later may be quoted."""
    found = _SCHEDULER.fullmatch(address)
    if found is None or int(found["port"] or 0) > 65535:
        raise BadInput("the address of the scheduler cannot be parsed: write tcp://host:8786")


def _split(what: str, address: str) -> SplitResult:
    if "@" in address:
        raise BadInput(f"{what} may hold no user, password, query or fragment")
    try:
        parts = urlsplit(address)
        _ = parts.hostname, parts.port
    except ValueError:
        raise BadInput(f"{what} is no URL: write https://host") from None
    if _ODD.search(address):
        raise BadInput(f"{what} is no URL: write https://host")
    return parts
