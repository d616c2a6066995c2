"""Decides which URLs and addresses may be connected to. URLs come from a server, and are not trusted.

The address is checked where the socket is made, so no name that resolves to another address later, and no
spelling of an address, gets past it.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from harvester.addresses import LOOPBACK

_OF_URLS = re.compile(r"[!-~]*")  # the characters of a URL (RFC 3986): visible ASCII
_HOST = re.compile(
    r"[0-9a-z._-]+|[0-9a-f]*:[0-9a-f:.]+(?:%[0-9a-z._-]+)?", re.ASCII
)  # a name, or an IPv6 address
# Inside a cloud, though not private by any standard: metadata at Oracle (and IANA's own), services of Azure.
_OF_CLOUDS = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("168.63.129.16/32"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class UrlRefused(Exception):
    """A URL, or its address, is not allowed. The message holds nothing of the URL but its host."""


class UrlRules(NamedTuple):
    """What is allowed besides https to public addresses.

    `api_on_loopback`: the API itself is on loopback, so its files may be there too, by http as well.
    `private_hosts`: host names (or addresses) that the user allows to be private.
    """

    api_on_loopback: bool = False
    private_hosts: Collection[str] = ()

    @classmethod
    def of(cls, domain: str, private_hosts: Collection[str] = ()) -> "UrlRules":
        """The rules for the files of the API at `domain`."""
        hosts = frozenset(host.strip("[]").lower() for host in private_hosts)
        return cls(urlsplit(domain).hostname in LOOPBACK, hosts)

    def check_url(self, url: str, *, redirected: bool = False) -> None:
        """Raise UrlRefused unless `url` is an https address, without user and password."""
        if not _OF_URLS.fullmatch(url):
            raise UrlRefused("the URL of the file holds a character that no URL holds")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise UrlRefused("the URL of the file cannot be parsed") from None
        if not host or not _HOST.fullmatch(host) or parts.username is not None or parts.password is not None:
            raise UrlRefused("the URL of the file names no host, or a user")
        loopback = self.api_on_loopback and host in LOOPBACK and not redirected
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise UrlRefused(f"{'a redirect' if redirected else 'the URL of the file'} is not https")
        if (literal := _literal(host)) is not None:
            self.check_address(host, literal)

    def check_address(self, host: str, address: str) -> None:
        """Raise UrlRefused if `host` leads to an `address` that is not public, and that is not allowed."""
        found = _inner(ipaddress.ip_address(address.partition("%")[0]))
        public = found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)
        public = public and not any(found in network for network in _OF_CLOUDS)
        if isinstance(found, ipaddress.IPv6Address):
            public = public and not found.is_site_local
        if public or host.lower() in self.private_hosts or (found.is_loopback and self.api_on_loopback):
            return
        raise UrlRefused(
            f"the host {host} has the private address {address}: allow it with --allow-private {host}"
            " if it is one of yours"
        )


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def _inner(address: _Ip) -> _Ip:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


@lru_cache(maxsize=64)  # a run meets few hosts, and each again and again
def _literal(host: str) -> str | None:
    """Return the address that a host is, in any spelling. Names are resolved later, or by a proxy."""
    host = host.partition("%")[0].rstrip(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # 2130706433, 0x7f.1
    except OSError:
        return None
