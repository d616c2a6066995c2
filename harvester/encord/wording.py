"""Write error messages for the user, in one line: what is wrong, and what to do."""

import re
import ssl
from dataclasses import dataclass

import requests
import urllib3.exceptions
from encord import exceptions as sdk

from harvester.addresses import Proxy
from harvester.clock import difference, http_date, this_clock
from harvester.encord.body import (
    AnswerTooLarge,
    BrokenAnswer,
    RedirectRefused,
    TunnelFailed,
    TunnelRefused,
    UnreadableAnswer,
)
from harvester.encord.causes import chain_of
from harvester.events import one_line

_LONGEST_MESSAGE = 300  # characters that are quoted from a library or the server. Chosen

# In the SDK's message for refused credentials, its advice begins here. It is cut off: our message has its
# own.
_HINT = " You might also be seeing this because"
# OpenSSL's X509_V_ERR_*, as in `SSLCertVerificationError.verify_code`.
_WRONG_TIME = {9: "is not valid yet", 10: "has expired"}


@dataclass(frozen=True)
class Route:
    """How requests reach the server, for messages that name what to check."""

    domain: str
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.domain} (through the proxy {self.proxy})" if self.proxy else self.domain


def message_of(error: Exception, cause: BaseException, route: Route) -> str:
    """Return the message for `error`: our own text in common cases, else a shortened one of the library.

    `cause` is the innermost cause, see `causes.cause_of`. The transports add to `error` what `_clocks_differ`
    needs.
    """
    message = _of_cause(cause, route, proxy_failed=_proxy_failed(error, route))
    clocks = _clocks_differ(error)
    if clocks and isinstance(cause, sdk.AuthenticationError):
        return _of_credentials(cause, route.domain, clocks)
    return f"{message} Also, {clocks}" if clocks and isinstance(cause, sdk.AuthorisationError) else message


def _proxy_failed(error: Exception, route: Route) -> bool:
    """Return whether the proxy itself could not be reached, rather than the server behind it."""
    wrapped = any(isinstance(each, urllib3.exceptions.ProxyError) for each in chain_of(error))
    return wrapped and route.proxy is not None


def _clocks_differ(error: Exception) -> str | None:
    """Return advice if the request's date was signed and the clocks differ, otherwise None."""
    if not getattr(error, "date_signed", False):
        return None
    differ = difference(http_date(getattr(error, "date_header", None)))
    return differ and (
        f"this machine's clock is {differ} the server's, and each signature holds the time:"
        " set the clock, then try again"
    )


def _of_cause(cause: BaseException, route: Route, *, proxy_failed: bool) -> str:
    domain = route.domain
    peer = f"the proxy {route.proxy}" if proxy_failed else str(route)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _of_certificate(cause, peer)
    if isinstance(cause, TunnelRefused | TunnelFailed):
        return describe_tunnel(cause, route)
    if isinstance(cause, sdk.AuthenticationError | sdk.SshKeyNotFound):
        return _of_credentials(
            cause,
            domain,
            "add the key to your profile there, or name the region that it belongs to with --domain"
            " (https://api.encord.com, https://api.us.encord.com)",
        )
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        wrong = "HTTPS_PROXY" if route.proxy else "--domain"
        return f"the host of {peer} is not known: check {wrong}, and the network"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"nobody answers at {peer}: {_last_words(cause)}"
    if isinstance(cause, urllib3.exceptions.SSLError) and proxy_failed:
        return f"{peer} does not speak TLS ({_last_words(cause)}): write http:// in its address"
    if isinstance(cause, urllib3.exceptions.TimeoutError | TimeoutError):
        return f"{peer} did not answer in time"
    if isinstance(cause, RedirectRefused):
        return f"{domain} sends us to another address ({cause}), which is not followed: check --domain"
    if isinstance(cause, sdk.EncordException):
        return one_line(cause.message, limit=_LONGEST_MESSAGE)
    if isinstance(cause, AnswerTooLarge | BrokenAnswer | UnreadableAnswer):
        return one_line(str(cause), limit=_LONGEST_MESSAGE)
    if isinstance(cause, RecursionError):
        return "the answer is nested too deep"
    if isinstance(cause, urllib3.exceptions.HTTPError | requests.RequestException | OSError):
        return one_line(f"the connection to {peer} broke: {_last_words(cause)}", limit=_LONGEST_MESSAGE)
    return f"the answer of {domain} cannot be read ({type(cause).__name__})"


def _of_credentials(cause: sdk.EncordException, domain: str, what_to_do: str) -> str:
    reason = one_line(cause.message.partition(_HINT)[0], limit=_LONGEST_MESSAGE)
    return f"{domain} does not accept these credentials ({reason}): {what_to_do}"


def _of_certificate(cause: ssl.SSLCertVerificationError, peer: str) -> str:
    wrong_time = _WRONG_TIME.get(getattr(cause, "verify_code", 0))
    if wrong_time:
        return (
            f"the certificate of {peer} {wrong_time} as of {this_clock()}: check that clock first;"
            " if it is right, the certificate must be renewed there"
        )
    return (
        f"the certificate of {peer} cannot be trusted ({cause.verify_message}): if a private authority"
        " signed it, name that with --ca-bundle"
    )


def describe_tunnel(cause: TunnelRefused | TunnelFailed, route: Route) -> str:
    """Return why there is no tunnel to the server of a route, and what to do about it."""
    said = one_line(str(cause), limit=_LONGEST_MESSAGE)
    if isinstance(cause, TunnelFailed):
        return f"the proxy {route.proxy} cannot reach {route.domain} ({said})"
    if cause.status != 407:
        return (
            f"the proxy {route.proxy} refuses to connect to {route.domain} ({said}): ask for it to be"
            " allowed, or name the host in NO_PROXY if no proxy is needed"
        )
    if route.proxy and route.proxy.has_password:
        return f"the proxy {route.proxy} does not accept the user and password of its address ({said})"
    return (
        f"the proxy {route.proxy} wants a user and password ({said}): write user:password@ in front of its"
        " host in HTTPS_PROXY, with special characters percent-encoded (/ as %2F)"
    )


def _last_words(cause: BaseException) -> str:
    """Return the text of the innermost cause, without error numbers and source positions."""
    words = str(chain_of(cause)[-1]).rpartition(": ")[2]
    return re.sub(r"^(\[Errno -?\d+|[A-Z_]+)\] | \(_ssl\.c:\d+\)$", "", words) or type(cause).__name__
