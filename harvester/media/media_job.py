"""Values that travel together: the job of fetching media, its observer, and its result."""

from typing import Any, NamedTuple

import anyio
import msgspec

from harvester.events import say
from harvester.job import OnEvent
from harvester.media.counters import MediaCounters
from harvester.media.options import MediaOptions
from harvester.output.target import Target
from harvester.settings import Limits

MEDIA_FOLDER = "media"


class MediaSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of fetching media.

    After a dry run, `counts` has the number of missing `files`, and of those whose size is known (`sized`);
    `bytes` is the size of the latter. After any other run, `counts`, `without_file` and `bytes` are as in
    `harvester.media.index.MediaManifest`. `run` describes this run: `seconds`, `fetched` files, `received`
    bytes, `requests`, `refused` and `retries`.
    """

    target: str
    folder: str
    project: str
    counts: dict[str, int]
    without_file: dict[str, int]
    bytes: int
    run: dict[str, Any]
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """3 if files failed, else 0."""
        return 3 if self.counts["failed"] else 0


class MediaJob(NamedTuple):
    """What a run needs: where the export is, where the files go, and what is wanted."""

    target: Target
    folder: Target
    options: MediaOptions
    limits: Limits


class MediaObserver(NamedTuple):
    """How the caller watches a run, and stops it."""

    counters: MediaCounters
    on_event: OnEvent = say
    stopping: anyio.Event | None = None
