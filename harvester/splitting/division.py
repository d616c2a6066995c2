"""Assigns each label row to a split, as the options of `convert` and `media` say."""

from collections.abc import Collection
from typing import Protocol

from harvester.errors import BadInput
from harvester.labels.wire import PlanRow
from harvester.splitting.split_keys import SplitKeys
from harvester.splitting.splits import Splits


class SplitOptions(Protocol):
    """The options of `convert` and of `media` that divide data into splits."""

    @property
    def split(self) -> str | None: ...
    @property
    def split_by(self) -> str: ...
    @property
    def split_seed(self) -> int: ...


class Division:
    """The split of each label row. Without splits it is None.

    `missing` counts rows that lack what they are split by, and so go by their data hash.
    """

    def __init__(self, split: str | None, split_by: str = "data", split_seed: int = 0) -> None:
        """Take the options of a conversion.

        Raises:
            BadInput: one of them is not usable. The message says what to change.
        """
        self._splits = None if split is None else Splits(split, split_seed)
        self._keys = SplitKeys(split_by)
        if split is None and (split_by, split_seed) != ("data", 0):
            raise BadInput("--split-by and --split-seed need --split, such as train=0.8,val=0.2")
        self._by = split_by

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the splits."""
        return () if self._splits is None else self._splits.names

    @property
    def missing(self) -> int:
        """The number of rows that lack what they are split by."""
        return self._keys.missing

    def of(self, row: PlanRow, *, fills: bool = True) -> str | None:
        """Return the split of a row of which something is written. To be called once a row.

        Unless it `fills` its split, that may still be empty.
        """
        if self._splits is None:
            return None
        key = self._keys.of(row)
        return self._splits.fill(key) if fills else self._splits.of(key)

    def check(self, where: str, only: Collection[str] = ()) -> None:
        """Raise BadInput if no row has what they are split by, or if a split is empty.

        To be called at the end. `where` is the name of the export. `only`: these splits count.
        """
        if self._splits is not None:
            self._keys.check_found(where)
            self._splits.check_filled(self._by, only)


def division_of(options: SplitOptions) -> Division:
    """Return the division that these options describe. Raises BadInput as `Division` does."""
    return Division(options.split, options.split_by, options.split_seed)
