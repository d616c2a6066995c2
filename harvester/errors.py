"""One tree of errors, sorted by what the caller should do next.

    HarvesterError
    ├── Retry                ask again
    │   ├── RateLimited      the server refused for now; costs the item no attempt; `retry_after`
    │   ├── Unavailable      5xx, timeout, reset, truncated or unreadable answer
    │   └── TooMuchAsked     the same rows in smaller bundles; `maximum` if the server named one
    ├── SkipRow              this row cannot be had: record it as failed, go on with the rest
    └── Stop                 end the run; `exit_code` says how
        ├── BadInput             2  wrong usage or bad input
        ├── Unsound              3  what is there is not as it was written: export again
        ├── CredentialsRefused   4  credentials or permission
        │   └── KeyLocked           the key needs a passphrase, and none was given
        ├── CannotFinishNow      5  server down, disk full, deadline: run the same command again
        └── TargetRefused        6  the target is in use or belongs to another export

Foreign exceptions are translated into this tree once, where they enter, with `raise ... from exc`.
Messages are one line, made for the user, and hold no secret.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from harvester.schema import Failure


class HarvesterError(Exception):
    """Base of all errors that harvester raises on purpose.

    Args:
        message: one line for the user, without secrets.
        operation: what was being done, e.g. ``"get_label_rows"``.
        row: label hash of the row concerned.
        attempt: which attempt failed, counted from 1.
        trace_id: the request's trace id, for the platform's support.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        row: str | None = None,
        attempt: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.row = row
        self.attempt = attempt
        self.trace_id = trace_id


class Retry(HarvesterError):
    """Worth asking again. `failure` is what a row is listed as that is asked for no more."""

    failure: ClassVar[Failure] = "unavailable"


class RateLimited(Retry):
    """The server refused for now. `retry_after` is in seconds, `None` where the server named no time."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        operation: str | None = None,
        row: str | None = None,
        attempt: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, row=row, attempt=attempt, trace_id=trace_id)
        self.retry_after = retry_after


class Unavailable(Retry):
    """The server, or the way to it, failed: 5xx, timeout, reset, truncated or unreadable answer.

    `retry_after` is in seconds, `None` where the server named no time.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        operation: str | None = None,
        row: str | None = None,
        attempt: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, row=row, attempt=attempt, trace_id=trace_id)
        self.retry_after = retry_after


class TooMuchAsked(Retry):
    """Ask for fewer rows at once. `maximum` is the number of rows the server allows, `None` if unsaid."""

    failure: ClassVar[Failure] = "too_large"

    def __init__(
        self,
        message: str,
        *,
        maximum: int | None = None,
        operation: str | None = None,
        row: str | None = None,
        attempt: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, row=row, attempt=attempt, trace_id=trace_id)
        self.maximum = maximum


class SkipRow(HarvesterError):
    """This row cannot be had; its neighbours can. `failure` is the code that it is listed with."""

    def __init__(
        self,
        message: str,
        *,
        failure: Failure = "unreadable",
        operation: str | None = None,
        row: str | None = None,
        attempt: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, row=row, attempt=attempt, trace_id=trace_id)
        self.failure = failure


class Stop(HarvesterError):
    """The run cannot go on. `exit_code` is the process's exit code."""

    exit_code: ClassVar[int] = 1


class BadInput(Stop):
    """Wrong usage or bad input: nothing was lost, the message says what to change."""

    exit_code = 2


class Unsound(Stop):
    """An export was looked at and is not as it was written. Exporting again repairs it."""

    exit_code = 3


class CredentialsRefused(Stop):
    """The credentials are missing, unusable or refused, or lack a permission."""

    exit_code = 4


class KeyLocked(CredentialsRefused):
    """The private key is locked with a passphrase, and none was given."""


class CannotFinishNow(Stop):
    """Server down, disk full, or deadline passed: run the same command again to go on."""

    exit_code = 5


class TargetRefused(Stop):
    """The target is in use by another process or belongs to another export."""

    exit_code = 6


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'Car' or 'Cart'?``, whatever the case; nothing where none of `known` is close."""
    import difflib  # not before something is misspelt

    spelt = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(wanted.casefold(), spelt, n=3)
    return f"did you mean {' or '.join(repr(spelt[name]) for name in close)}?" if close else ""


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the error itself out of the groups that task groups wrap it in, with the cause that it has."""
    try:
        yield
    except BaseExceptionGroup as errors:
        error = first_of(errors)
        raise error from error.__cause__


def first_of(error: BaseException) -> BaseException:
    """The error itself out of the groups that task groups wrap it in: the one that came first.

    Those after it are of the cancellation that it caused.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
