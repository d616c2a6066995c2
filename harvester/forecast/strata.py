"""Which label rows to look at: drawn at random, some of each data type and length. Pure."""

import math
import random

import msgspec

from harvester.labels.places import FRAME_TYPES
from harvester.labels.wire import PlanRow

# Of each stratum, where it has so many: fewer say nothing about how much its rows differ.
_LEAST = 4


class Stratum(msgspec.Struct):
    """Rows that are likely alike: how many there are, and those drawn from them."""

    rows: int = 0
    drawn: list[PlanRow] = msgspec.field(default_factory=list)


class Draw:
    """Draws about `size` rows from a listing as it passes by. The same seed and listing, the same rows.

    Rows are of one stratum where their data type and the order of magnitude of their number of frames
    agree: a video of an hour is no picture. Memory: `size` rows a stratum.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._rng = random.Random(seed)
        self._strata: dict[tuple[str, int], Stratum] = {}

    def add(self, row: PlanRow, frames: object) -> None:
        """Sees a row that is to be asked for; `frames` as listed."""
        data_type = row.data_type.lower()
        long = data_type in FRAME_TYPES and isinstance(frames, int | float) and frames >= 1
        stratum = self._strata.setdefault((data_type, int(math.log10(frames)) if long else 0), Stratum())  # type: ignore[arg-type]
        stratum.rows += 1
        if len(stratum.drawn) < self._size:
            stratum.drawn.append(row)
        elif (place := self._rng.randrange(stratum.rows)) < self._size:
            stratum.drawn[place] = row

    def strata(self) -> list[Stratum]:
        """The strata, with as many rows drawn from each as is its share, but a few at least."""
        strata = [self._strata[key] for key in sorted(self._strata)]
        listed = sum(stratum.rows for stratum in strata)
        least = min(_LEAST, self._size // len(strata)) if strata else 0
        for stratum in strata:
            share = math.ceil(self._size * stratum.rows / listed)
            self._rng.shuffle(stratum.drawn)
            del stratum.drawn[max(2, least, share) :]
        return strata
