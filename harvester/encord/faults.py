"""Translate the exceptions of the SDK and other libraries to our own errors, with one table.

The meaning of an error depends on what was requested: if a single row is refused, it is skipped; if a bundle
is too large, it is split; if the project is refused, the run stops.
"""

import ssl
from datetime import UTC, datetime
from typing import Any, Literal

import requests
import urllib3.exceptions
from encord import exceptions as sdk

from harvester.clock import http_date
from harvester.encord.body import (
    AnswerTooLarge,
    BrokenAnswer,
    RedirectRefused,
    TunnelFailed,
    TunnelRefused,
    UnreadableAnswer,
)
from harvester.encord.causes import cause_of, chain_of
from harvester.encord.wording import Route, message_of
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
from harvester.labels.json_paths import first_invalid_number
from harvester.schema import Failure

Asked = Literal["row", "rows", "project"]

# One of our error classes, or the failure code of a SkipRow.
Meaning = type[HarvesterError] | Failure

# The first line whose class the exception is an instance of counts. The columns are its meaning if one row,
# several rows, or anything else (the project, its listing) was requested.
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
    # The SDK's parsers raise arbitrary exceptions for an answer that they do not expect.
    (Exception,                          Unavailable,        Unavailable,        Unavailable),
)  # fmt: skip


def translate(
    error: Exception, *, asked: Asked, operation: str, route: Route, row: str | None = None
) -> HarvesterError:
    """Return our error for `error`.

    Args:
        asked: what was requested; it selects the column of the table.
        operation: name of the SDK's function, for messages.
        route: how the server was reached, for messages.
        row: label hash, if a single row was requested.
    """
    if isinstance(error, HarvesterError):
        error.operation, error.row = error.operation or operation, error.row or row
        return error
    cause = cause_of(error)
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
    message = message_of(error, cause, route)
    if asked == "row" and isinstance(cause, UnreadableAnswer) and (found := first_invalid_number(cause.body)):
        message = f"the label row is no valid JSON: {found[0]} at {in_row(found[1])}"
    if asked == "project" and isinstance(cause, sdk.AuthorisationError):
        message += (
            f" Connected to {route.domain}: if the project is in another region, name that with --domain."
        )
    return kind(message, **known)


def unreadable(error: Exception) -> bytes | bytearray:
    """Return the body if `error` is about a complete answer that is not valid JSON; otherwise b""."""
    cause = cause_of(error)
    return cause.body if isinstance(cause, UnreadableAnswer) else b""


def in_row(path: str) -> str:
    """Convert a JSON path in an answer with one row to the path in that label row."""
    return path.removeprefix("response").removeprefix("[0]").removeprefix(".")


def never_connected(error: HarvesterError) -> bool:
    """Return whether `error` means that there was no connection.

    That is an unknown host, a closed port, or a proxy whose address says https but which does not speak TLS.
    """
    chain = chain_of(error)

    def holds(kind: type[BaseException]) -> bool:
        return any(isinstance(cause, kind) for cause in chain)

    no_tls = holds(urllib3.exceptions.ProxyError) and holds(urllib3.exceptions.SSLError)
    return holds(urllib3.exceptions.NewConnectionError) or no_tls


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date (RFC 9110); None if it is invalid.

    A date is compared with the answer's own Date header (`date`) if that is valid, so that a difference
    between the two clocks does not matter.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = http_date(text)
    if until is None:
        return None
    return max(0.0, (until - (http_date(date) or datetime.now(UTC))).total_seconds())


def _meaning(cause: BaseException, asked: Asked) -> Meaning:
    for foreign, row, rows, project in _TABLE:
        if isinstance(cause, foreign):
            return {"row": row, "rows": rows, "project": project}[asked]
    raise cause


def _retry_after_of(error: Exception) -> float | None:
    header = parse_retry_after(
        getattr(error, "retry_after_header", None), getattr(error, "date_header", None)
    )
    return header if header is not None else getattr(error, "retry_after", None)
