"""Random choices that are the same for ever: of `random`, only `random()` promises that between Pythons."""

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Rng:
    """Draws from a seed that is an integer."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed).random

    def below(self, bound: int) -> int:
        return int(self._draw() * bound)

    def between(self, low: int, high: int) -> int:
        """Both ends are possible."""
        return low + int(self._draw() * (high - low + 1))

    def chance(self, share: float) -> bool:
        return self._draw() < share

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._draw() * len(items))]

    def real(self, low: float, high: float) -> float:
        """Four digits after the point, as the platform's coordinates often have."""
        return round(low + self._draw() * (high - low), 4)
