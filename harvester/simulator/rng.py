"""Random numbers that are the same in every Python version: of `random`, only `random()` promises that."""

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Rng:
    """A random number generator with an integer as its seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed).random

    def below(self, bound: int) -> int:
        return int(self._draw() * bound)

    def between(self, low: int, high: int) -> int:
        """Return an integer between two others, both included."""
        return low + int(self._draw() * (high - low + 1))

    def chance(self, share: float) -> bool:
        return self._draw() < share

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._draw() * len(items))]

    def real(self, low: float, high: float) -> float:
        """Return a number with four decimals, as many of the platform's coordinates have."""
        return round(low + self._draw() * (high - low), 4)
