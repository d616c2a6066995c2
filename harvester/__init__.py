"""harvester: all the labels of an Encord project to newline-delimited JSON."""

from harvester.api import Record, export, export_async, records, stream, sync, sync_async
from harvester.errors import HarvesterError
from harvester.fetch.pool import FailedRow
from harvester.live import live_records
from harvester.run import Summary
from harvester.settings import Connection, Format, Limits, Selection
from harvester.sync import SyncSummary

__all__ = [
    "Connection",
    "FailedRow",
    "Format",
    "HarvesterError",
    "Limits",
    "Record",
    "Selection",
    "Summary",
    "SyncSummary",
    "export",
    "export_async",
    "live_records",
    "records",
    "stream",
    "sync",
    "sync_async",
]
