"""What the export's process and its worker processes say to each other, over a worker's own pipes.

A message is its length in four bytes and then JSON. Credentials travel this way, never in an argument,
where every user of the machine could read them.
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
    """To a worker, first: what to do, and the import path on which a filter's module is found."""

    work: Work
    import_path: list[str]
    grace: float


class HarvestPart(msgspec.Struct, tag=True):
    """To a worker, in answer to `Ask`: the next part."""

    index: int
    rows: list[PlanRow]


class NoMore(msgspec.Struct, tag=True):
    """To a worker, in answer to `Ask`: no part is left to begin."""


class StopWorker(msgspec.Struct, tag=True):
    """To a worker: begin no part; those open have the grace to end."""


class Ask(msgspec.Struct, tag=True):
    """From a worker: another part, please."""


class CountersNow(msgspec.Struct, tag=True):
    """From a worker: its counters as they stand."""

    counters: dict[str, int]


class Said(msgspec.Struct, tag=True):
    """From a worker: an event."""

    event: str
    fields: dict[str, Any]


class Committed(msgspec.Struct, tag=True):
    """From a worker: a part is in the target."""

    commit: Commit


class Ended(msgspec.Struct, tag=True):
    """From a worker, last: it is done, or `error` ended it (a class of harvester.errors, else a bug)."""

    error: str | None = None
    message: str = ""
    errno: int | None = None
    traceback: str = ""


class WorkerFailed(Exception):
    """A bug in a worker process; its traceback is a note of this error."""


ToWorker = Begin | HarvestPart | NoMore | StopWorker
FromWorker = Ask | CountersNow | Said | Committed | Ended


def ended_by(error: BaseException) -> Ended:
    """What ended this worker, in words that raise it anew on the other side."""
    error = errors.first_of(error)
    if isinstance(error, errors.HarvesterError):
        return Ended(error=type(error).__name__, message=error.message)
    name, trace = type(error).__name__, "".join(traceback.format_exception(error))
    if isinstance(error, OSError) and error.errno is not None:
        return Ended(error=name, message=error.strerror or str(error), errno=error.errno, traceback=trace)
    return Ended(error=name, message=str(error), traceback=trace)


def raise_ended(ended: Ended) -> None:
    """Raises here what ended the worker, if anything did."""
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
    """`message` as it goes through a pipe."""
    body = encoded(message)
    return len(body).to_bytes(PREFIX, "big") + body


def to_worker(body: bytes) -> ToWorker:
    """The message that a worker got."""
    message: ToWorker = decoded(body, ToWorker)
    return message


def from_worker(body: bytes) -> FromWorker:
    """The message that a worker sent."""
    message: FromWorker = decoded(body, FromWorker)
    return message


def encoded(message: Any) -> bytes:
    """A struct as JSON, whatever it holds of paths."""
    return msgspec.json.encode(message, enc_hook=str)


def decoded(body: bytes, kind: Any) -> Any:
    """The `kind` of struct that was encoded."""
    return msgspec.json.decode(body, type=kind, dec_hook=_path)


def _path(wanted: type, value: Any) -> Path:
    if wanted is not Path:
        raise NotImplementedError(wanted)
    return Path(value)
