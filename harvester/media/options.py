"""Which media are wanted."""

from typing import Literal, get_args

import msgspec

from harvester.errors import BadInput
from harvester.settings import DATA_TYPES, strings

Only = Literal["labelled", "empty", "all"]


class MediaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which files are wanted, and how they are fetched.

    `only`: of units with records (labelled), of those without (empty), of all and of unlabelled rows, too
    (all); None: of all units of the export. `allow_private` are hosts that may have a private address.
    `recheck` hashes again what is there. `prune` deletes files of units that are no longer wanted.
    """

    only: Only | None = None
    data_types: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    dry_run: bool = False
    recheck: bool = False
    prune: bool = False

    def __post_init__(self) -> None:
        if self.only is not None and self.only not in get_args(Only):
            raise BadInput(f"unknown --only {self.only!r}: one of {', '.join(get_args(Only))}")
        for field in ("data_types", "allow_private"):
            msgspec.structs.force_setattr(self, field, strings(field, getattr(self, field)))
        for data_type in self.data_types:
            if data_type not in DATA_TYPES:
                raise BadInput(f"unknown data type {data_type!r}: one of {', '.join(DATA_TYPES)}")
