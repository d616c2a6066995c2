"""Counters of the simulator."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(slots=True)
class FileStats:
    """Counts of one file: requests, bytes of bodies as sent, and faults played."""

    requests: int = 0
    bytes: int = 0
    struck: int = 0


@dataclass(slots=True)
class Stats:
    """Counts since the start; requests are those of the API only."""

    requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    connections: int = 0  # that brought requests; with TLS: handshakes
    by_kind: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # error codes and statuses answered
    refused: int = 0  # for the rate, or for too many in flight
    in_retry_after: int = 0  # requests sent although Retry-After was not over
    in_outage: int = 0
    unauthentic: int = 0
    struck: Counter[str] = field(default_factory=Counter)  # faults played, by name
    mutations: int = 0
    label_rows_made: int = 0  # by calls that initialise data units without one
    rows_served: int = 0
    bytes_sent: int = 0  # bodies, as sent
    media: defaultdict[str, FileStats] = field(default_factory=lambda: defaultdict(FileStats))  # by path
    media_refused: int = 0  # for the rate of files
    media_connections: int = 0

    def snapshot(self) -> dict[str, Any]:
        counts: dict[str, Any] = msgspec.to_builtins(self)
        return counts
