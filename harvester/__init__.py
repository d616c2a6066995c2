"""harvester: all the labels of an Encord project to newline-delimited JSON."""

from harvester.api import Record, export, export_async, records, stream
from harvester.errors import HarvesterError
from harvester.fetch.pool import FailedRow
from harvester.run import Summary
from harvester.settings import Connection, Format, Limits, Selection

__all__ = [
    "Connection",
    "FailedRow",
    "Format",
    "HarvesterError",
    "Limits",
    "Record",
    "Selection",
    "Summary",
    "export",
    "export_async",
    "records",
    "stream",
]
