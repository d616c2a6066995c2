"""harvester: all the labels of an Encord project to newline-delimited JSON."""

from harvester.api import export, export_async, records, stream, sync, sync_async
from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    HarvesterError,
    RateLimited,
    Retry,
    SkipRow,
    Stop,
    TargetRefused,
    TooMuchAsked,
    Unavailable,
    Unsound,
)
from harvester.fetch.pool import FailedRow
from harvester.live import live_records
from harvester.schema import (
    AnswerItem,
    ClassificationRecord,
    ObjectRecord,
    OptionItem,
    Record,
    RowRecord,
    UnitRecord,
)
from harvester.settings import Connection, Format, Limits, Selection
from harvester.summary import Summary
from harvester.sync import SyncSummary

__all__ = [
    "AnswerItem",
    "BadInput",
    "CannotFinishNow",
    "ClassificationRecord",
    "Connection",
    "CredentialsRefused",
    "FailedRow",
    "Format",
    "HarvesterError",
    "Limits",
    "ObjectRecord",
    "OptionItem",
    "RateLimited",
    "Record",
    "Retry",
    "RowRecord",
    "Selection",
    "SkipRow",
    "Stop",
    "Summary",
    "SyncSummary",
    "TargetRefused",
    "TooMuchAsked",
    "Unavailable",
    "UnitRecord",
    "Unsound",
    "export",
    "export_async",
    "live_records",
    "records",
    "stream",
    "sync",
    "sync_async",
]
