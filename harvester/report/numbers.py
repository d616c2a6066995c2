"""The numbers of a report, as ``--json`` prints them."""

from typing import Any

import msgspec

from harvester.output.commit import KindCounts
from harvester.output.manifest import RunFacts
from harvester.output.purpose import Project
from harvester.plan.drift import Drift

# Raised whenever a number is removed or changes its meaning.
SCHEMA_VERSION = 1

GRID = 24  # cells of a box map along each side
SMALLEST = 0.001  # side of a box, as a share of the image's, at the lower end of the size map


class Share(msgspec.Struct, frozen=True):
    """How often one value stands in the records, and on how many different objects or classifications."""

    name: str
    records: int
    distinct: int


class Ranking(msgspec.Struct, frozen=True):
    """The most frequent values, and how many more there are, all together.

    `folded` says that there were more different values than are told apart: `others` then counts those
    that came late as one.
    """

    top: list[Share]
    others: int = 0
    other_records: int = 0
    other_distinct: int = 0
    folded: bool = False


class Bin(msgspec.Struct, frozen=True):
    """So many frames have `low` to `high` objects, inclusive."""

    low: int
    high: int
    frames: int


class Frames(msgspec.Struct, frozen=True):
    """How many objects stand on a frame, page, image or space that has any."""

    frames: int
    mean: float
    median: int
    p95: int
    most: int
    histogram: list[Bin]


class Boxes(msgspec.Struct, frozen=True):
    """Boxes, plain and rotatable, on each frame that they stand on.

    Coordinates are shares of the image's sides. `positions` counts their centres by cell, `GRID` rows from
    the top of `GRID` cells from the left. `sizes` counts them by height (rows, from the smallest) and width
    (cells, from the smallest), each from `SMALLEST` to 1 on a logarithmic scale. `outside` boxes reach over
    the image's edge; `empty` ones have no area, and are in no size cell.
    """

    boxes: int
    outside: int
    empty: int
    positions: list[list[int]]
    sizes: list[list[int]]


class Reviews(msgspec.Struct, frozen=True):
    """Different objects by their last review."""

    approved: int = 0
    rejected: int = 0
    undecided: int = 0
    unreviewed: int = 0


class Missing(msgspec.Struct, frozen=True):
    """An attribute that `unanswered` of the `asked` different objects or classifications do not answer.

    The records do not hold the ontology: an object is asked whatever another object of its class answers.
    """

    name: str
    attribute: str
    asked: int
    unanswered: int


class MissingAnswers(msgspec.Struct, frozen=True):
    """Where answers are missing, most first; `more` further pairs of class and attribute are left out.

    `asked` and `unanswered` are sums over all pairs. `silent` is the number of different objects or
    classifications that answer nothing of what they are asked.
    """

    top: list[Missing]
    asked: int
    unanswered: int
    silent: int
    more: int = 0


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Objects, or classifications. `distinct` counts each once, however many frames it stands on.

    `unread` records are of a form that the report does not know; they are in `records` alone.
    """

    records: int
    distinct: int
    unread: int
    by_name: Ranking
    by_data_type: Ranking
    by_author: Ranking
    by_hand: int
    automated: int
    reviews: Reviews
    missing: MissingAnswers
    by_shape: Ranking | None = None
    boxes: Boxes | None = None
    per_frame: Frames | None = None


class Outcomes(msgspec.Struct, frozen=True):
    """What became of the rows that have one value in common."""

    name: str
    listed: int
    harvested: int
    unlabelled: int
    filtered: int
    failed: int


class FailedSample(msgspec.Struct, frozen=True):
    """A row that could not be had."""

    label_hash: str
    data_title: str
    error: str
    message: str


class Failures(msgspec.Struct, frozen=True):
    """Failed rows by kind of error, and the first of them."""

    by_error: dict[str, int]
    first: list[FailedSample]


class Brought(msgspec.Struct, frozen=True):
    """When the export (`generation` 0) or a sync ended, in UTC, and how many rows a sync changed, by how.

    `ended_at` is None where an older version has not noted it.
    """

    generation: int
    ended_at: str | None
    changes: dict[str, int]


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """All of a report. `rows` are by outcome; `rows_by` by value of each listing field, then by outcome.

    Of an export that was synced, rows and labels are as of its last sync, and `records`, `files` and `bytes`
    those of the export and all of its syncs: what a later sync made void is still there.

    `history` is the export and each of its syncs.

    `objects` and `classifications` are None where the export does not have them. `run` is what the manifest
    says of the run that ended the export, or its last sync; its `pace` are points of seconds and rows
    harvested by then.
    """

    schema: int = SCHEMA_VERSION
    target: str
    project: Project
    harvester: str
    digest: str
    syncs: int
    history: list[Brought]
    selection: dict[str, Any]
    files: int
    bytes: int
    rows: dict[str, int]
    rows_by: dict[str, list[Outcomes]]
    records: dict[str, KindCounts]
    objects: Labels | None
    classifications: Labels | None
    failures: Failures
    drift: Drift | None
    run: RunFacts
