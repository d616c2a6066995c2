"""How far a run is that fetches media."""

from dataclasses import dataclass


@dataclass(slots=True)
class MediaCounters:
    """Files: `files` are wanted, `there` were there before, `fetched` arrived in this run, `failed` did not.

    `without_file` are units of which the platform has no file, `frames` pictures of frames that are there.
    `received` are the bytes that arrived. `requests` are those for files, `refused` those that a store's rate
    limit refused, `retries` those sent again. `renewed` counts label rows whose URLs were asked for again.
    Only the event loop's thread may change them.
    """

    files: int = 0
    there: int = 0
    fetched: int = 0
    failed: int = 0
    without_file: int = 0
    frames: int = 0
    received: int = 0
    requests: int = 0
    refused: int = 0
    retries: int = 0
    renewed: int = 0

    @property
    def done(self) -> int:
        """Return the number of files that have an outcome."""
        return self.there + self.fetched + self.failed

    def work(self) -> dict[str, int]:
        """Return the counters of this run by name."""
        names = ("fetched", "received", "requests", "refused", "retries", "renewed", "frames")
        return {name: getattr(self, name) for name in names}
