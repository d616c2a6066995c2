"""The result of an export or a stream."""

from typing import Any

import msgspec

from harvester.nothing_left import NothingLeft
from harvester.plan.drift import Drift


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an export or a stream.

    `counts`, `records`, `notes`, `drift` and `run` are the manifest's, but for its pace. `nothing_left` says
    which predicates left no row or no record; empty where some are left.
    """

    target: str
    project: str
    counts: dict[str, int]
    records: dict[str, Any]
    notes: dict[str, int]
    drift: Drift | None
    run: dict[str, Any]
    resumed: bool = False
    already_complete: bool = False
    nothing_left: list[NothingLeft] = []
    synced: bool = False  # since then: failed rows are left to the next sync

    @property
    def exit_code(self) -> int:
        """3 where rows failed."""
        return 3 if self.counts["failed"] else 0
