"""Every foreign exception and status becomes one of ours here, by one table.

What an error means depends on what was asked: where a single row is refused, that row is skipped; where
a bundle is too large, fewer rows are asked for; where the project is refused, the run stops.
"""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson
import requests
import urllib3.exceptions
from encord import exceptions as sdk

from harvester.addresses import Proxy
from harvester.clock import difference, this_clock
from harvester.encord.body import (
    AnswerTooLarge,
    BrokenAnswer,
    RedirectRefused,
    TunnelFailed,
    TunnelRefused,
    UnreadableAnswer,
)
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
from harvester.events import one_line
from harvester.labels.json_paths import first_no_json
from harvester.schema import Failure

Asked = Literal["row", "rows", "project"]
_LONGEST_MESSAGE = 300

# The words of Python's http.client for any answer to CONNECT but 200: it raises a bare OSError.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})(.*)", re.S)
_BUSY = (408, 425, 429)  # of the statuses from 400 to 499, those that another attempt may mend
# Where the SDK's words for refused credentials turn to what may be done: our own message says that.
_HINT = " You might also be seeing this because"
# OpenSSL's X509_V_ERR_*, as in `SSLCertVerificationError.verify_code`.
_WRONG_TIME = {9: "is not valid yet", 10: "has expired"}

# One of our errors; or the code of a SkipRow.
Meaning = type[HarvesterError] | Failure

# The first line that an exception is an instance of: what it becomes where a row, several rows, or
# anything else (the project, its listing) was asked for.
_TABLE: tuple[tuple[type[BaseException], Meaning, Meaning, type[HarvesterError]], ...]
_TABLE = (
    # exception                          one row             several rows        the project
    (sdk.AuthenticationError,            CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (sdk.SshKeyNotFound,                 CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (sdk.DuplicateSshKeyError,           CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (sdk.OperationNotAllowed,            CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (sdk.AuthorisationError,             "forbidden",        "forbidden",        CredentialsRefused),
    (sdk.ResourceNotFoundError,          "gone",             "gone",             BadInput),
    (sdk.InvalidArgumentsError,          "unreadable",       "unreadable",       BadInput),
    (sdk.InvalidDateFormatError,         "unreadable",       "unreadable",       BadInput),
    (sdk.WrongProjectTypeError,          "unreadable",       "unreadable",       BadInput),
    (sdk.RateLimitExceededError,         RateLimited,        RateLimited,        RateLimited),
    (sdk.PayloadTooLargeError,           "too_large",        TooMuchAsked,       CannotFinishNow),
    (sdk.MultiLabelLimitError,           "too_large",        TooMuchAsked,       CannotFinishNow),
    (sdk.MethodNotAllowedError,          CannotFinishNow,    CannotFinishNow,    CannotFinishNow),
    (sdk.UnknownException,               Unavailable,        Unavailable,        Unavailable),
    (sdk.GenericServerError,             Unavailable,        Unavailable,        Unavailable),
    (sdk.RequestException,               Unavailable,        Unavailable,        Unavailable),
    (sdk.EncordException,                "unreadable",       "unreadable",       CannotFinishNow),
    (AnswerTooLarge,                     "too_large",        TooMuchAsked,       CannotFinishNow),
    (UnreadableAnswer,                   "unreadable",       "unreadable",       CannotFinishNow),
    (RecursionError,                     "unreadable",       "unreadable",       CannotFinishNow),
    (BrokenAnswer,                       Unavailable,        Unavailable,        Unavailable),
    (RedirectRefused,                    CannotFinishNow,    CannotFinishNow,    CannotFinishNow),
    (TunnelRefused,                      CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (TunnelFailed,                       Unavailable,        Unavailable,        Unavailable),
    (ssl.SSLCertVerificationError,       CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (urllib3.exceptions.HTTPError,       Unavailable,        Unavailable,        Unavailable),
    (requests.RequestException,          Unavailable,        Unavailable,        Unavailable),
    (OSError,                            Unavailable,        Unavailable,        Unavailable),
    # The SDK's own parsers trip over an answer that is not what they expect.
    (Exception,                          Unavailable,        Unavailable,        Unavailable),
)  # fmt: skip


@dataclass(frozen=True)
class Route:
    """How requests reach the server: errors name what may be wrong with it."""

    domain: str
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.domain} (through the proxy {self.proxy})" if self.proxy else self.domain


def translate(
    error: Exception, *, asked: Asked, operation: str, route: Route, row: str | None = None
) -> HarvesterError:
    """What `error` means for a caller that asked for `asked` by way of `route`."""
    if isinstance(error, HarvesterError):
        error.operation, error.row = error.operation or operation, error.row or row
        return error
    chain = _chain(error)
    cause = _cause(error, chain)
    meaning = _meaning(cause, asked)
    kind = SkipRow if isinstance(meaning, str) else meaning
    known: dict[str, Any] = {
        "operation": operation,
        "row": row,
        "trace_id": getattr(getattr(error, "context", None), "trace_id", None),
    }
    if isinstance(meaning, str):
        known["failure"] = meaning
    if issubclass(kind, RateLimited | Unavailable):
        known["retry_after"] = _retry_after_of(error)
    if issubclass(kind, TooMuchAsked):
        maximum = getattr(error, "maximum_labels_allowed", None)
        known["maximum"] = maximum if isinstance(maximum, int) and maximum > 0 else None
    if route.proxy and any(isinstance(each, urllib3.exceptions.ProxyError) for each in chain):
        message = _message(cause, f"the proxy {route.proxy}", route)
    else:
        message = _message(cause, str(route), route)
    if asked == "row" and isinstance(cause, UnreadableAnswer) and (found := first_no_json(cause.body)):
        message = f"the label row is no valid JSON: {found[0]} at {in_row(found[1])}"
    if asked == "project" and isinstance(cause, sdk.AuthorisationError):
        message += (
            f" Connected to {route.domain}: if the project is in another region, name that with --domain."
        )
    if kind is CredentialsRefused and (clocks := _clocks_differ(error)):
        said = one_line(getattr(cause, "message", ""), limit=_LONGEST_MESSAGE).partition(_HINT)[0]
        message = f"{route.domain} refuses a signed request ({said}): {clocks}"
    return kind(message, **known)


def unreadable(error: Exception) -> bytes | bytearray:
    """The body of an answer that came whole and is no JSON, where `error` says so and has it; else b""."""
    cause = _cause(error, _chain(error))
    return cause.body if isinstance(cause, UnreadableAnswer) else b""


def in_row(path: str) -> str:
    """Where in its label row `path` leads, which leads there in an answer for one row."""
    return path.removeprefix("response").removeprefix("[0]").removeprefix(".")


def never_connected(error: HarvesterError) -> bool:
    """Whether `error` means that nobody was there to be asked: an unknown host, or a closed port."""
    return any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in _chain(error))


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds that a Retry-After header names, as a number or as a date; None for garbage.

    A date counts from the answer's own `date` where that can be read, so that the clocks' difference
    does not matter.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = _moment(text)
    if until is None:
        return None
    return max(0.0, (until - (_moment(date) or datetime.now(UTC))).total_seconds())


def _meaning(cause: BaseException, asked: Asked) -> Meaning:
    for foreign, row, rows, project in _TABLE:
        if isinstance(cause, foreign):
            return {"row": row, "rows": rows, "project": project}[asked]
    raise cause


def _chain(error: BaseException) -> list[BaseException]:
    """`error` and what caused it, also where libraries keep the cause among the arguments."""
    chain: list[BaseException] = []
    new: list[object] = [error]
    while new:
        found = new.pop(0)
        if isinstance(found, BaseException) and found not in chain:
            chain.append(found)
            new += [found.__cause__, getattr(found, "reason", None), *found.args]
    return chain


def _cause(error: Exception, chain: Sequence[BaseException]) -> BaseException:
    """The exception that says most: of a wrapped one, what it wraps. `chain` is all of `error`'s."""
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        if isinstance(cause, OSError) and (found := _NO_TUNNEL.match(str(cause))):
            status, reason = int(found[1]), found[2].strip()
            final = 400 <= status < 500 and status not in _BUSY
            return TunnelRefused(status, reason) if final else TunnelFailed(f"{status} {reason}".strip())
    wrapped = [cause for cause in chain if isinstance(cause, urllib3.exceptions.HTTPError)]
    if wrapped:
        return wrapped[-1]
    for cause in chain:
        if isinstance(cause, orjson.JSONDecodeError):
            whole = cause.doc.startswith("{") and "unexpected end" not in cause.msg
            return (
                UnreadableAnswer("the answer is no valid JSON", cause.doc.encode())
                if whole
                else BrokenAnswer("the answer is no JSON")
            )
    return chain[1] if isinstance(error, sdk.RequestException) and len(chain) > 1 else error


def _retry_after_of(error: Exception) -> float | None:
    header = parse_retry_after(
        getattr(error, "retry_after_header", None), getattr(error, "date_header", None)
    )
    return header if header is not None else getattr(error, "retry_after", None)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _clocks_differ(error: Exception) -> str | None:
    """What to say of the clocks where `error` refuses a request with a signed date; None where they agree.

    Transports leave with the error whether the request had one, and the Date of the answer.
    """
    if not getattr(error, "date_signed", False):
        return None
    differ = difference(_moment(getattr(error, "date_header", None)))
    return differ and (
        f"this machine's clock is {differ} the server's, and the date is part of each signature:"
        " set the clock, then try again"
    )


def _message(cause: BaseException, peer: str, route: Route) -> str:
    """One line for the user. Libraries' own words are kept short, and out of the common cases.

    `peer` is the other end of the connection, in words: the server, or the proxy of the `route`.
    """
    domain = route.domain
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _of_certificate(cause, peer)
    if isinstance(cause, TunnelRefused | TunnelFailed):
        return _of_tunnel(cause, route)
    if isinstance(cause, sdk.AuthenticationError | sdk.SshKeyNotFound):
        reason = one_line(cause.message.partition(_HINT)[0], limit=_LONGEST_MESSAGE)
        return (
            f"{domain} does not accept these credentials ({reason}): add the key to your profile there, or"
            " name the region that it belongs to with --domain (https://api.encord.com,"
            " https://api.us.encord.com)"
        )
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        wrong = "HTTPS_PROXY" if route.proxy else "--domain"
        return f"the host of {peer} is not known: check {wrong}, and the network"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"nobody answers at {peer}: {_last_words(cause)}"
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


def _of_tunnel(cause: TunnelRefused | TunnelFailed, route: Route) -> str:
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
        f"the proxy {route.proxy} wants a user and password ({said}): write them into its address, as"
        " http://user:password@host:port with special characters percent-encoded"
    )


def _last_words(cause: BaseException) -> str:
    words = str(_chain(cause)[-1]).rpartition(": ")[2]
    return re.sub(r"^\[Errno -?\d+\] ", "", words) or type(cause).__name__
