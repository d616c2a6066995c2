"""Which fault is played on a request for a file."""

from collections import Counter
from hashlib import sha256

from harvester.simulator.faults import Faults, Strike
from harvester.simulator.limiter import Limiter


class FileFaults:
    """The faults of files since they were set: what happens to a file depends on its path alone."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._struck: Counter[str] = Counter()
        self.limiter = Limiter(Faults(rate=faults.media_rate))

    def strike(self, path: str) -> Strike | None:
        """Return what happens to this request; it counts."""
        strike, most = self._strike_of(path), self._faults.media_times
        if strike is None or (most is not None and self._struck[path] >= most):
            return None
        self._struck[path] += 1
        return strike

    def version(self, path: str) -> int:
        """Return which version of the file is there: 1 once it has changed, else 0."""
        most = self._faults.media_times
        changed = most is not None and self._struck[path] >= most
        return int(changed and self._strike_of(path) == "changed")

    def _strike_of(self, path: str) -> Strike | None:
        faults = self._faults
        if not faults.media:
            return None
        digest = sha256(f"{faults.seed}/{path}".encode()).digest()
        if int.from_bytes(digest[:6], "big") / (1 << 48) >= faults.media_share:
            return None
        return faults.media[int.from_bytes(digest[6:12], "big") % len(faults.media)]
