"""The numbers of a report, in the form in which ``--json`` prints them."""

from typing import Any

import msgspec

from harvester.output.commit import KindCounts
from harvester.output.export_spec import Project
from harvester.output.manifest import RunFacts
from harvester.plan.drift import Drift

# Increased whenever a number is removed or changes its meaning.
REPORT_VERSION = 1

GRID = 24  # the number of cells along each side of a box map
SMALLEST = 0.001  # the smallest side of a box in the size map, as a share of the image's side


class Share(msgspec.Struct, frozen=True):
    """One value: the number of records and of distinct objects or classifications that have it."""

    name: str
    records: int
    distinct: int


class Ranking(msgspec.Struct, frozen=True):
    """The most frequent values, and the sums over all `others`.

    `folded` is true if there were more distinct values than are counted separately. The values beyond that
    are then counted together as one.
    """

    top: list[Share]
    others: int = 0
    other_records: int = 0
    other_distinct: int = 0
    folded: bool = False


class Bin(msgspec.Struct, frozen=True):
    """The number of frames that have `low` to `high` objects, both included."""

    low: int
    high: int
    frames: int


class Frames(msgspec.Struct, frozen=True):
    """The number of objects on a frame, page, image or space, over all that have at least one."""

    frames: int
    mean: float
    median: int
    p95: int
    most: int
    histogram: list[Bin]


class Boxes(msgspec.Struct, frozen=True):
    """Boxes, plain and rotatable. A box counts once for each frame that it is on.

    Coordinates are shares of the image's sides. `positions` counts the centres by cell: `GRID` rows from the
    top, each of `GRID` cells from the left. `sizes` counts by height (rows) and width (cells), both from
    `SMALLEST` to 1 on a logarithmic scale. `outside` counts boxes that extend beyond the image. `empty`
    counts boxes without area, which are not in `sizes`.
    """

    boxes: int
    outside: int
    empty: int
    positions: list[list[int]]
    sizes: list[list[int]]


class Reviews(msgspec.Struct, frozen=True):
    """The number of distinct objects or classifications by their last review."""

    approved: int = 0
    rejected: int = 0
    undecided: int = 0
    unreviewed: int = 0


class Missing(msgspec.Struct, frozen=True):
    """An attribute of a class for which answers are missing.

    `asked` is the number of distinct objects or classifications of the class, `unanswered` the number of
    those without an answer. The records do not contain the ontology, so an attribute counts as one of the
    class if at least one object of the class answers it.
    """

    name: str
    attribute: str
    asked: int
    unanswered: int


class MissingAnswers(msgspec.Struct, frozen=True):
    """The attributes with missing answers, those with most first.

    `more` is the number of further pairs of class and attribute, which are left out of `top`. `asked` and
    `unanswered` are sums over all pairs. `silent` is the number of distinct objects or classifications that
    answer none of the attributes of their class.
    """

    top: list[Missing]
    asked: int
    unanswered: int
    silent: int
    more: int = 0


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of objects or of classifications.

    `distinct` counts each object once, even if it is on many frames. `unread` counts records of a form that
    the report does not know; they are included in `records`, but in no other number.
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
    """The number of rows with one value of a listing field, by outcome."""

    name: str
    listed: int
    harvested: int
    unlabelled: int
    filtered: int
    failed: int


class FailedSample(msgspec.Struct, frozen=True):
    """A row that could not be fetched or read."""

    label_hash: str
    data_title: str
    error: str
    message: str


class Failures(msgspec.Struct, frozen=True):
    """The number of failed rows by error code, and the first of these rows."""

    by_error: dict[str, int]
    first: list[FailedSample]


class HistoryEntry(msgspec.Struct, frozen=True):
    """The end of the export (`generation` 0) or of a sync, and the changes of the sync.

    `ended_at` is in UTC, None if an older version did not record it. `changes` counts rows by kind of change.
    """

    generation: int
    ended_at: str | None
    changes: dict[str, int]


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of a report.

    `rows` counts rows by outcome. `rows_by` counts them by listing field, then by value, then by outcome.

    If the export was synced, rows and labels are as of the last sync. `records`, `files` and `bytes` are sums
    over the export and all its syncs, since void records are still in the files. `history` has an entry for
    the export and for each sync.

    `objects` and `classifications` are None if the export does not have them. `run` is the manifest's entry
    on the run that finished the export or its last sync. Its `pace` has pairs of seconds and rows harvested
    until then.
    """

    schema: int = REPORT_VERSION
    target: str
    project: Project
    harvester: str
    digest: str
    syncs: int
    history: list[HistoryEntry]
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
