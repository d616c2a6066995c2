"""Divides data into splits, such as train, val and test, by a hash of a key.

A key is what may not be torn apart: the data hash of a label row, unless something else is asked for. Its
position is a number from 0 to 1: the first 8 bytes of ``sha256("SEED:KEY")``, read as a big-endian integer,
over 2**64. The splits share the line from 0 to 1 in the order in which they are given. So the split of a key
depends on the key, the seed and the shares alone: it stays the same while data are added and removed.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from fractions import Fraction
from typing import NamedTuple

from harvester.errors import BadInput

# A split names a folder or a file, also on disks that ignore case. On Windows, devices have some names.
_NAME = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[A-Z0-9][A-Z0-9._-]{0,63}", re.IGNORECASE | re.ASCII
)
_SHARE = re.compile(r"-?\d{0,9}\.?\d{0,18}")  # a decimal of a size that can be computed with
_POSITIONS = 2**64

_REMEMBERED = 1000  # keys that are kept to look for a seed that fills every split
_MOST_HASHES = 200_000  # that are computed to find one: about a second


class _Share(NamedTuple):
    """A split, and the first position (of 2**64) that is beyond it."""

    name: str
    end: int


class Splits:
    """Which split a key belongs to. Also notes which splits have been filled."""

    def __init__(self, text: str, seed: int = 0) -> None:
        """Read shares like ``train=0.8,val=0.1,test=0.1``.

        Raises:
            BadInput: a name or a share is not usable, or the shares do not add up to 1.
        """
        self._shares = _read_shares(text)
        self._seed = seed
        self._filled: set[str] = set()
        self._keys: dict[str, None] = {}  # the first ones, in order

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the splits, in the order in which they are given."""
        return tuple(share.name for share in self._shares)

    def of(self, key: str) -> str:
        """Return the name of the split that `key` belongs to."""
        return _split_of(self._shares, self._seed, key)

    def fill(self, key: str) -> str:
        """Note that something with this `key` is written. Return the name of its split."""
        if len(self._keys) < _REMEMBERED:
            self._keys[key] = None
        split = self.of(key)
        self._filled.add(split)
        return split

    def check_filled(self, by: str, only: Collection[str] = ()) -> None:
        """Raise BadInput if a split is empty. The message names a seed that fills all of them.

        `by` is what the keys are, in the message: ``data`` or ``metadata.site``. `only`: these splits count.
        """
        empty = [name for name in only or self.names if name not in self._filled]
        if not empty:
            return
        message = f"the split {' and '.join(empty)} would be empty"
        if len(self._keys) < len(self._shares):
            raise BadInput(
                f"{message}: by {by} there are only {len(self._keys):,} to divide into {len(self._shares)}"
            )
        seed = self._seed_that_fills()
        advice = "give it a larger share" if seed is None else f"--split-seed {seed} fills every split"
        raise BadInput(f"{message}: {advice}")

    def _seed_that_fills(self) -> int | None:
        """Return the smallest seed with which the remembered keys fill every split, or None."""
        for seed in range(_MOST_HASHES // len(self._keys)):
            missing = set(self.names)
            for key in self._keys:
                missing.discard(_split_of(self._shares, seed, key))
                if not missing:
                    return seed
        return None


def _split_of(shares: Iterable[_Share], seed: int, key: str) -> str:
    hashed = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass"))
    position = int.from_bytes(hashed.digest()[:8])
    return next(share.name for share in shares if position < share.end)


def _read_shares(text: str) -> list[_Share]:
    """Parse ``name=share`` pairs. Raises BadInput."""
    shares: list[_Share] = []
    total = Fraction(0)
    for pair in text.split(","):
        name, equals, share = (part.strip() for part in pair.partition("="))
        if not equals:
            raise BadInput(f"a split is written as name=share, such as train=0.8, not {pair!r}")
        if not _NAME.fullmatch(name) or name.endswith("."):
            raise BadInput(
                f"a split cannot be called {name!r}: it takes letters (a to z), digits, '.', '_' and '-', "
                "and is no device of Windows"
            )
        if name.casefold() in (known.name.casefold() for known in shares):
            raise BadInput(f"the split {name!r} is named twice")
        value = _number(share)
        if value is None or not 0 < value <= 1:
            raise BadInput(f"the share of {name} must be a number above 0 and up to 1, not {share!r}")
        total += value
        shares.append(_Share(name, int(total * _POSITIONS)))
    if total != 1:
        raise BadInput(f"the shares of the splits add up to {float(total):g}, not to 1")
    return shares


def _number(text: str) -> Fraction | None:
    return Fraction(text) if _SHARE.fullmatch(text) and any(map(str.isdigit, text)) else None
