"""All errors of harvester, in one class tree ordered by what the caller should do next.

    HarvesterError
    ├── Retry                send the request again
    │   ├── RateLimited      the server limits the rate; does not count as an attempt; `retry_after`
    │   ├── Unavailable      5xx, timeout, reset, truncated or unreadable answer
    │   │   └── DamagedAnswer    a file arrived, but its length or checksum is wrong
    │   └── TooMuchAsked     request the same rows in smaller bundles; `maximum` if the server named one
    ├── SkipRow              this row cannot be fetched: record it as failed, continue with the others
    └── Stop                 end the run with `exit_code`
        ├── BadInput             2  wrong usage or bad input
        ├── Unsound              3  an export is damaged: export again
        ├── CredentialsRefused   4  credentials or permission
        │   └── KeyLocked           the key needs a passphrase, and none was given
        ├── CannotFinishNow      5  server down, disk full, deadline: run the same command again
        │   └── StoreAway           an object store throttles, fails or cannot be reached; it is waited for
        └── TargetRefused        6  the target is in use or belongs to another export

Exceptions of libraries are translated to these once, where they enter, with `raise ... from exc`. Messages
are one line, written for the user, and contain no secrets.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypedDict, Unpack

from harvester.schema import Failure


class Concerning(TypedDict, total=False):
    """The context of an error, as far as it is known.

    `operation` is what was being done, e.g. ``"get_label_rows"``, `row` the label hash of the row, and
    `trace_id` the id of the request that the platform's support asks for.
    """

    operation: str | None
    row: str | None
    trace_id: str | None


class HarvesterError(Exception):
    """Base of all errors that harvester raises on purpose.

    `message` is one line for the user, without secrets. The keys of `Concerning` are also attributes.
    """

    def __init__(self, message: str, **concerning: Unpack[Concerning]) -> None:
        super().__init__(message)
        self.message = message
        self.operation = concerning.get("operation")
        self.row = concerning.get("row")
        self.trace_id = concerning.get("trace_id")


class Retry(HarvesterError):
    """The request should be sent again, after `retry_after` seconds if the server named a time.

    `failure` is the code in the list of failed rows for a row that is not requested again.
    """

    failure: ClassVar[Failure] = "unavailable"

    def __init__(
        self, message: str, *, retry_after: float | None = None, **concerning: Unpack[Concerning]
    ) -> None:
        super().__init__(message, **concerning)
        self.retry_after = retry_after


class RateLimited(Retry):
    """The server refused the request because of its rate limit (429)."""


class Unavailable(Retry):
    """The server or the network failed: 5xx, timeout, reset, truncated or unreadable answer."""


class DamagedAnswer(Unavailable):
    """A file arrived whole, but it is not what its store says it is."""

    failure = "unreadable"


class TooMuchAsked(Retry):
    """Fewer rows should be requested at once. `maximum`: the server's limit in rows, None if not known."""

    failure: ClassVar[Failure] = "too_large"

    def __init__(self, message: str, *, maximum: int | None = None, **concerning: Unpack[Concerning]) -> None:
        super().__init__(message, **concerning)
        self.maximum = maximum


class SkipRow(HarvesterError):
    """One row cannot be fetched or read; others can. `failure` is its code in the list of failed rows."""

    def __init__(
        self, message: str, *, failure: Failure = "unreadable", **concerning: Unpack[Concerning]
    ) -> None:
        super().__init__(message, **concerning)
        self.failure = failure


class Stop(HarvesterError):
    """The run cannot continue. `exit_code` is the exit code of the process."""

    exit_code: ClassVar[int] = 1


class BadInput(Stop):
    """Wrong usage or bad input. Nothing was lost, and the message says what to change."""

    exit_code = 2


class Unsound(Stop):
    """The files of an export are missing or damaged. Exporting again repairs it."""

    exit_code = 3


class CredentialsRefused(Stop):
    """The credentials are missing, unusable or refused, or lack a permission."""

    exit_code = 4


class KeyLocked(CredentialsRefused):
    """The private key is locked with a passphrase, and none was given."""


class CannotFinishNow(Stop):
    """Server down, disk full, or deadline passed. Running the same command again continues."""

    exit_code = 5


class StoreAway(CannotFinishNow):
    """An object store throttles, fails or cannot be reached now. `answered`: it did answer, with an error."""

    def __init__(self, message: str, *, answered: bool = False, **concerning: Unpack[Concerning]) -> None:
        super().__init__(message, **concerning)
        self.answered = answered


class TargetRefused(Stop):
    """The target is in use by another process or belongs to another export."""

    exit_code = 6


def how_to_install(extra: str) -> str:
    """Return the commands that install an optional part of harvester, for the end of a message."""
    return f"pip install 'encord-harvester[{extra}]', or in a clone: pip install '.[{extra}]'"


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'Car' or 'Cart'?``, ignoring case, or "" if none of `known` is similar."""
    import difflib  # imported here, because it is rarely needed

    spelt = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(wanted.casefold(), spelt, n=3)
    return f"did you mean {' or '.join(repr(spelt[name]) for name in close)}?" if close else ""


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the first error of an exception group instead of the group, with its own cause."""
    try:
        yield
    except BaseExceptionGroup as errors:
        error = first_of(errors)
        raise error from error.__cause__


def first_of(error: BaseException) -> BaseException:
    """Return the first error in (nested) exception groups, which task groups wrap errors in.

    The errors after it come from the cancellation that the first one caused.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
