"""The messages between the process of an export and its worker processes, sent through pipes.

A message is its length in four bytes, big-endian, followed by JSON. Credentials are sent this way, because
every user of the machine can read the arguments of a process.
"""

import traceback
from pathlib import Path
from typing import Any

import msgspec

from harvester import errors
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit
from harvester.part import Work

PREFIX = 4  # bytes


class Begin(msgspec.Struct, tag=True):
    """To a worker, first: the work, and the grace in seconds."""

    work: Work
    grace: float


class HarvestPart(msgspec.Struct, tag=True):
    """To a worker, in answer to `Ask`: the next part."""

    index: int
    rows: list[PlanRow]


class NoMore(msgspec.Struct, tag=True):
    """To a worker, in answer to `Ask`: no part is left to begin."""


class StopWorker(msgspec.Struct, tag=True):
    """To a worker: begin no part; open parts have the grace period to finish."""


class Ask(msgspec.Struct, tag=True):
    """From a worker: a request for another part."""


class CountersNow(msgspec.Struct, tag=True):
    """From a worker: the current values of its counters."""

    counters: dict[str, int]


class Said(msgspec.Struct, tag=True):
    """From a worker: an event."""

    event: str
    fields: dict[str, Any]


class Committed(msgspec.Struct, tag=True):
    """From a worker: a part is in the target."""

    commit: Commit


class Ended(msgspec.Struct, tag=True):
    """From a worker, last: it is done, or an error of class `error` ended it.

    A class that is not in `harvester.errors` means a bug, or an OSError if `errno` is set.
    """

    error: str | None = None
    message: str = ""
    errno: int | None = None
    traceback: str = ""


class WorkerFailed(Exception):
    """A bug in a worker process; its traceback is a note of this error."""


ToWorker = Begin | HarvestPart | NoMore | StopWorker
FromWorker = Ask | CountersNow | Said | Committed | Ended


def ended_by(error: BaseException) -> Ended:
    """Return the message for an error that ended this worker. `raise_ended` turns it into an error again."""
    error = errors.first_of(error)
    if isinstance(error, errors.HarvesterError):
        return Ended(error=type(error).__name__, message=error.message)
    name, trace = type(error).__name__, "".join(traceback.format_exception(error))
    if isinstance(error, OSError) and error.errno is not None:
        return Ended(error=name, message=error.strerror or str(error), errno=error.errno, traceback=trace)
    return Ended(error=name, message=str(error), traceback=trace)


def raise_ended(ended: Ended) -> None:
    """Raise the error that ended a worker, if one did."""
    if ended.error is None:
        return
    kind = getattr(errors, ended.error, None)
    if isinstance(kind, type) and issubclass(kind, errors.HarvesterError):
        raise kind(ended.message)
    if ended.errno is not None:
        raise OSError(ended.errno, ended.message)
    failed = WorkerFailed(f"{ended.error}: {ended.message}")
    failed.add_note(ended.traceback)
    raise failed


def packed(message: ToWorker | FromWorker) -> bytes:
    """Return the bytes of `message` for a pipe."""
    body = encoded(message)
    return len(body).to_bytes(PREFIX, "big") + body


def to_worker(body: bytes) -> ToWorker:
    """Decode a message to a worker."""
    message: ToWorker = decoded(body, ToWorker)
    return message


def from_worker(body: bytes) -> FromWorker:
    """Decode a message from a worker."""
    message: FromWorker = decoded(body, FromWorker)
    return message


def encoded(message: Any) -> bytes:
    """Encode a struct as JSON; paths become strings."""
    return msgspec.json.encode(message, enc_hook=str)


def decoded(body: bytes, kind: Any) -> Any:
    """Decode JSON from `encoded` into a struct of type `kind`."""
    return msgspec.json.decode(body, type=kind, dec_hook=_path)


def _path(wanted: type, value: Any) -> Path:
    if wanted is not Path:
        raise NotImplementedError(wanted)
    return Path(value)
