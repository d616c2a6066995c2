"""The settings of `convert`: the format of a data set, and its options. Validated when they are made."""

from pathlib import Path

import msgspec

from harvester.errors import BadInput
from harvester.process import MOST_PROCESSES
from harvester.settings import check_one_of, check_within

# The formats that `convert` writes.
DATASET_FORMATS = ("parquet", "coco", "yolo", "masks")

# How the columns begin, in the tables of a format, that count by reason what was left out.
LEFT_OUT = "left_out_"


class ConvertOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Into which format an export is converted, and how. Each format takes some of these options.

    `to` is the format. `include_unlabelled` adds images without labels, `no_empty` leaves out images without
    objects. `classes` is a file that renames, merges and orders classes. `split` is a list of shares such as
    ``train=0.8,val=0.2``, `split_by` is what stays together in one split, and another `split_seed` gives
    another division. `task` is what a model is to learn, `media` the directory with the files that labels
    are of. `every_frame` adds the frames and slices without objects, `boxes` treats boxes as areas,
    `classification` names the classification whose answers are the classes. `processes` is how many processes
    work on it, where the format has work for them; the files are the same with any number.
    """

    to: str = ""
    split: str | None = None
    split_by: str = "data"
    split_seed: int = 0
    include_unlabelled: bool = False
    no_empty: bool = False
    classes: Path | None = None
    task: str | None = None
    media: Path | None = None
    every_frame: bool = False
    boxes: bool = False
    classification: str | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        if not self.to:
            raise BadInput(f"name the format with --to: {', '.join(DATASET_FORMATS)}")
        check_one_of("format", [self.to], DATASET_FORMATS)
        check_within("split seed", self.split_seed, 0, 2**32)
        check_within("processes", self.processes, 1, MOST_PROCESSES)
