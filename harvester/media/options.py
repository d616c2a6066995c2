"""The options of `media`: which files are wanted, and how they are fetched."""

import re
from typing import Literal, get_args

import msgspec

from harvester.errors import BadInput
from harvester.expression import Where
from harvester.schema import LISTING_KEYS, UNIT_KEYS
from harvester.settings import DATA_TYPES, check_within, strings
from harvester.splitting.division import division_of

_FRAMES = re.compile(r"labelled|all|every=[1-9][0-9]{0,8}", re.ASCII)

# The keys of a unit, and those that its line in the listing has besides.
_KEYS = (*UNIT_KEYS, *(key for key in LISTING_KEYS if key not in UNIT_KEYS))

Only = Literal["labelled", "empty", "all"]


class MediaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which files are wanted, and how they are fetched.

    `only` chooses units: with records (labelled), without (empty), or all units and also rows that have no
    labels yet (all). None: all units of the export. `where` is an expression over the keys of a unit and of
    its line in the listing. `only_splits` are the splits whose units are wanted, of those into which `split`,
    `split_by` and `split_seed` divide the data, as in `harvester.ConvertOptions`. `allow_private` are hosts
    that may have a private address. `frames` says of which frames of videos pictures are made: those with
    objects (labelled), all, or every N-th (every=N). `frame_format` is jpg or png. `recheck` hashes the files
    that are there again. `prune` deletes files of units that have left the export.
    """

    only: Only | None = None
    data_types: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    dry_run: bool = False
    where: str | None = None
    recheck: bool = False
    frames: str | None = None
    frame_format: str = "jpg"
    prune: bool = False
    split: str | None = None
    split_by: str = "data"
    split_seed: int = 0
    only_splits: tuple[str, ...] = ()

    def chooses(self) -> Where | None:
        """Return the expression of `where`, ready to be evaluated.

        Raises:
            BadInput: it cannot be used.
        """
        return None if self.where is None else Where(self.where, _KEYS)

    @property
    def every(self) -> int:
        """Return N, if every N-th frame is wanted; 1 is all of them."""
        return int((self.frames or "").partition("=")[2] or 1)

    def __post_init__(self) -> None:
        if self.only is not None and self.only not in get_args(Only):
            raise BadInput(f"unknown --only {self.only!r}: one of {', '.join(get_args(Only))}")
        if self.frames is not None and not _FRAMES.fullmatch(self.frames):
            raise BadInput(f"unknown --frames {self.frames!r}: labelled, all, or every=N")
        self.chooses()
        if self.frame_format not in ("jpg", "png"):
            raise BadInput(f"unknown --frame-format {self.frame_format!r}: jpg or png")
        for field in ("data_types", "allow_private", "only_splits"):
            msgspec.structs.force_setattr(self, field, strings(field, getattr(self, field)))
        for data_type in self.data_types:
            if data_type not in DATA_TYPES:
                raise BadInput(f"unknown data type {data_type!r}: one of {', '.join(DATA_TYPES)}")
        self._check_splits()

    def _check_splits(self) -> None:
        check_within("split seed", self.split_seed, 0, 2**32)
        names = division_of(self).names
        if names and not self.only_splits:
            raise BadInput(f"--split divides; name what to fetch with --only-split: {', '.join(names)}")
        if self.only_splits and not names:
            raise BadInput("--only-split needs --split, such as train=0.8,val=0.2")
        for name in self.only_splits:
            if name not in names:
                raise BadInput(f"there is no split {name!r} in {self.split}")
