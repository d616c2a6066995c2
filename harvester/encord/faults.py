"""Every foreign exception and status becomes one of ours here, by one table.

What an error means depends on what was asked: where a single row is refused, that row is skipped; where
a bundle is too large, fewer rows are asked for; where the project is refused, the run stops.
"""

import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson
import requests
import urllib3.exceptions
from encord import exceptions as sdk

from harvester.encord.body import AnswerTooLarge, BrokenAnswer, RedirectRefused, UnreadableAnswer
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
    (ssl.SSLCertVerificationError,       CredentialsRefused, CredentialsRefused, CredentialsRefused),
    (urllib3.exceptions.HTTPError,       Unavailable,        Unavailable,        Unavailable),
    (requests.RequestException,          Unavailable,        Unavailable,        Unavailable),
    (OSError,                            Unavailable,        Unavailable,        Unavailable),
    # The SDK's own parsers trip over an answer that is not what they expect.
    (Exception,                          Unavailable,        Unavailable,        Unavailable),
)  # fmt: skip


def translate(
    error: Exception, *, asked: Asked, operation: str, domain: str, row: str | None = None
) -> HarvesterError:
    """What `error` means for a caller that asked for `asked`. `domain` is named where it may be wrong."""
    if isinstance(error, HarvesterError):
        error.operation, error.row = error.operation or operation, error.row or row
        return error
    cause = _cause(error)
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
    message = _message(cause, domain)
    if asked == "row" and isinstance(cause, UnreadableAnswer) and (found := first_no_json(cause.body)):
        message = f"the label row is no valid JSON: {found[0]} at {in_row(found[1])}"
    if asked == "project" and isinstance(cause, sdk.AuthorisationError):
        message += f" Connected to {domain}: if the project is in another region, name that with --domain."
    return kind(message, **known)


def unreadable(error: Exception) -> bytes | bytearray:
    """The body of an answer that came whole and is no JSON, where `error` says so and has it; else b""."""
    cause = _cause(error)
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


def _cause(error: Exception) -> BaseException:
    """The exception that says most: of a wrapped one, what it wraps."""
    chain = _chain(error)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
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


def _message(cause: BaseException, domain: str) -> str:
    """One line for the user. Libraries' own words are kept short, and out of the common cases."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {domain} cannot be trusted ({cause.verify_message}): if a private authority"
            " signed it, name that with --ca-bundle"
        )
    if isinstance(cause, sdk.AuthenticationError | sdk.SshKeyNotFound):
        return (
            f"{domain} does not accept these credentials: add the key to your profile there, or name the"
            " region that it belongs to with --domain (https://api.encord.com, https://api.us.encord.com)"
        )
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return f"the host of {domain} is not known: check --domain, and the network"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"nobody answers at {domain}: {_last_words(cause)}"
    if isinstance(cause, urllib3.exceptions.TimeoutError | TimeoutError):
        return f"{domain} did not answer in time"
    if isinstance(cause, RedirectRefused):
        return f"{domain} sends us to another address ({cause}), which is not followed: check --domain"
    if isinstance(cause, sdk.EncordException):
        return one_line(cause.message, limit=_LONGEST_MESSAGE)
    if isinstance(cause, AnswerTooLarge | BrokenAnswer | UnreadableAnswer):
        return one_line(str(cause), limit=_LONGEST_MESSAGE)
    if isinstance(cause, RecursionError):
        return "the answer is nested too deep"
    if isinstance(cause, urllib3.exceptions.HTTPError | requests.RequestException | OSError):
        return one_line(f"the connection to {domain} broke: {_last_words(cause)}", limit=_LONGEST_MESSAGE)
    return f"the answer of {domain} cannot be read ({type(cause).__name__})"


def _last_words(cause: BaseException) -> str:
    words = str(_chain(cause)[-1]).rpartition(": ")[2]
    return re.sub(r"^\[Errno -?\d+\] ", "", words) or type(cause).__name__
