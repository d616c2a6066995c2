"""harvester: all the labels of an Encord project to newline-delimited JSON."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harvester.api import (
        export,
        export_async,
        records,
        stream,
        sync,
        sync_async,
    )
    from harvester.compact import compact, compact_async
    from harvester.compaction import CompactSummary
    from harvester.dataset_options import ConvertOptions
    from harvester.datasets.arrow import arrow
    from harvester.datasets.conversion import Conversion
    from harvester.datasets.convert import convert
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
    from harvester.media.in_python import media, media_async
    from harvester.media.media_job import MediaSummary
    from harvester.media.options import MediaOptions
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
    "CompactSummary",
    "Connection",
    "Conversion",
    "ConvertOptions",
    "CredentialsRefused",
    "FailedRow",
    "Format",
    "HarvesterError",
    "Limits",
    "MediaOptions",
    "MediaSummary",
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
    "arrow",
    "compact",
    "compact_async",
    "convert",
    "export",
    "export_async",
    "live_records",
    "media",
    "media_async",
    "records",
    "stream",
    "sync",
    "sync_async",
]

# Why harvester does not run here; empty where it does.
UNSUPPORTED = (
    "harvester runs on Linux and macOS; on Windows, use it in the Windows Subsystem for Linux (WSL)"
    if sys.platform == "win32"
    else ""
)

# The module of each name. It is imported once the name is used: the command begins before that.
_MODULES = {
    "AnswerItem": "harvester.schema",
    "BadInput": "harvester.errors",
    "CannotFinishNow": "harvester.errors",
    "ClassificationRecord": "harvester.schema",
    "CompactSummary": "harvester.compaction",
    "Connection": "harvester.settings",
    "Conversion": "harvester.datasets.conversion",
    "ConvertOptions": "harvester.dataset_options",
    "CredentialsRefused": "harvester.errors",
    "FailedRow": "harvester.fetch.pool",
    "Format": "harvester.settings",
    "HarvesterError": "harvester.errors",
    "Limits": "harvester.settings",
    "MediaOptions": "harvester.media.options",
    "MediaSummary": "harvester.media.media_job",
    "ObjectRecord": "harvester.schema",
    "OptionItem": "harvester.schema",
    "RateLimited": "harvester.errors",
    "Record": "harvester.schema",
    "Retry": "harvester.errors",
    "RowRecord": "harvester.schema",
    "Selection": "harvester.settings",
    "SkipRow": "harvester.errors",
    "Stop": "harvester.errors",
    "Summary": "harvester.summary",
    "SyncSummary": "harvester.sync",
    "TargetRefused": "harvester.errors",
    "TooMuchAsked": "harvester.errors",
    "Unavailable": "harvester.errors",
    "UnitRecord": "harvester.schema",
    "Unsound": "harvester.errors",
    "arrow": "harvester.datasets.arrow",
    "compact": "harvester.compact",
    "compact_async": "harvester.compact",
    "convert": "harvester.datasets.convert",
    "export": "harvester.api",
    "export_async": "harvester.api",
    "live_records": "harvester.live",
    "media": "harvester.media.in_python",
    "media_async": "harvester.media.in_python",
    "records": "harvester.api",
    "stream": "harvester.api",
    "sync": "harvester.api",
    "sync_async": "harvester.api",
}


class _Package(ModuleType):
    """This package: a name that a function and a module beneath it share is the function's."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python sets a module on its package when it is imported.
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if UNSUPPORTED:
        raise ImportError(UNSUPPORTED)
    found = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
