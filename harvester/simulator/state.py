"""The state of a project: each row's facts as a function of its number, and all edits since."""

from collections.abc import Iterable

import msgspec
import orjson

from harvester.simulator.dates import EDITS, SPAN, START, date_text, microsecond_of
from harvester.simulator.edge_cases import VARIANTS
from harvester.simulator.identity import (
    DATA,
    DATASET,
    GOLDEN,
    LABEL,
    MASK,
    PROJECT,
    STAGE,
    Hashes,
    blend,
    mix,
)
from harvester.simulator.recipes import RECIPES, kinds_of
from harvester.simulator.rng import Rng
from harvester.simulator.spec import WorldSpec

STAGES = (("Annotate", "ANNOTATION"), ("Review", "REVIEW"), ("Complete", "DONE"))
DATASETS = ("Street scenes 2023", "Street scenes 2024", "Überland ❄ scenes")

EDITIONS = 8  # of a label row; each edit moves to the next. Those of each branch have numbers of their own

# Task status, label status, number of the workflow stage; the first is that of rows without a label row.
PROGRESS = (
    ("QUEUED", "NOT_LABELLED", 0),
    ("ASSIGNED", "LABEL_IN_PROGRESS", 0),
    ("RETURNED", "LABEL_IN_PROGRESS", 0),
    ("IN_REVIEW", "LABELLED", 1),
    ("IN_REVIEW", "REVIEW_IN_PROGRESS", 1),
    ("COMPLETED", "REVIEWED", 2),
    ("COMPLETED", "REVIEWED", 2),
    ("COMPLETED", "REVIEWED_TWICE", 2),
    ("COMPLETED", "LABELLED", 2),
)
# Titles that need escapes in JSON or on a terminal, one row in 64 each.
ODD_TITLES = (
    'say "cheese" \\ ',
    "Straße_日本_😀_",
    "../../etc/passwd_",
    "\x1b[31mred\x1b[0m_",
    "\u202egnp_",
    "tab\tnewline\n_",
)


class RowFacts(msgspec.Struct, frozen=True):
    """One label row, or a data unit that has none yet, on one branch (0 is the main branch)."""

    number: int
    branch: int
    recipe: int
    variant: int
    edition: int
    labelled: bool
    progress: int
    created: int
    edited: int
    bits: int


def date_form(row: RowFacts) -> int:
    return row.bits >> 42 & 3


def stage_number(title: str) -> int:
    """Return the number of the workflow stage of that title. Raises ValueError for an unknown one."""
    titles = [known for known, _ in STAGES]
    if title not in titles:
        raise ValueError(f"no stage {title!r}: one of {', '.join(titles)}")
    return titles.index(title)


class State:
    """The rows of a project, and its edits."""

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec
        self.hashes = Hashes(spec.seed, spec.title)
        self.branches = ("main", *spec.branches)
        self.project_hash = self.hashes.text(PROJECT, 0)
        self.stages = [self.hashes.make(STAGE, number) for number in range(len(STAGES))]
        self.datasets = [self.hashes.make(DATASET, number) for number in range(len(DATASETS))]
        self.last_edit = START + SPAN
        self._seed = blend(spec.seed)
        self._kinds = kinds_of(spec.mix)
        self._unlabelled = int(spec.unlabelled * 65536)
        self._added = 0
        self._edits = 0
        self._removed: set[int] = set()
        self._created: dict[tuple[int, int], int] = {}  # second at which a label row was made
        self._versions: dict[tuple[int, int], tuple[int, int]] = {}  # edition and second of the last edit
        self._earlier: dict[tuple[int, int], tuple[int, int]] = {}  # of what was there before
        self.client_metadata: dict[int, bytes] = {}  # by number: the JSON that an edit gave it
        self._moved: dict[int, int] = {}  # by number: the progress that an edit gave it

    @property
    def numbers(self) -> range:
        """Return the numbers of all rows, including removed ones."""
        return range(self.spec.rows + self._added)

    def row(self, number: int, branch: int = 0) -> RowFacts | None:
        """Return the facts of a row; None if it was removed, or has no label row on that branch."""
        if number in self._removed:
            return None
        bits = mix((self._seed + number * GOLDEN) & MASK)
        kind = self._kinds[(bits & 0xFFFF) % len(self._kinds)]
        variant = (bits >> 16) % VARIANTS
        labelled = (bits >> 22 & 0xFFFF) >= self._unlabelled
        progress = 1 + (bits >> 38) % (len(PROGRESS) - 1)
        created = START + (bits >> 20) % SPAN
        edited = created + (bits >> 44) % 100_000
        edition = EDITIONS * branch
        if self.spec.large_row_bytes and number == 0:
            kind, labelled = 0, True
        if (made := self._created.get((number, branch))) is not None:
            labelled, progress, edition, created, edited = True, 1, -1, made, made
        elif branch and not (labelled and mix(bits + branch) & 3 == 0):
            return None
        elif not labelled:
            progress = 0
        if version := self._versions.get((number, branch)):
            edition, edited = version
        progress = self._moved.get(number, progress)
        return RowFacts(number, branch, kind, variant, edition, labelled, progress, created, edited, bits)

    def before(self, row: RowFacts) -> RowFacts:
        """Return a row as it was before its last edit; if never edited, with other labels an hour ago."""
        last = row.edition if row.edition < 0 else EDITIONS * row.branch + EDITIONS - 1
        edition, edited = self._earlier.get((row.number, row.branch), (last, row.edited - 3600))
        return msgspec.structs.replace(row, edition=edition, edited=edited)

    def find_label(self, label_hash: str) -> RowFacts | None:
        found = self.hashes.read(LABEL, label_hash)
        row = self._existing(found)
        return row if row and row.labelled else None

    def find_data(self, data_hash: str) -> RowFacts | None:
        return self._existing(self.hashes.read(DATA, data_hash))

    def _existing(self, found: tuple[int, int] | None) -> RowFacts | None:
        if found is None or found[0] not in self.numbers or found[1] >= len(self.branches):
            return None
        return self.row(*found)

    def title(self, row: RowFacts) -> str:
        """Return the title of a row: `street_0000042.jpg`, or one of `ODD_TITLES`."""
        odd = row.bits >> 52 & 63
        prefix = ODD_TITLES[odd] if odd < len(ODD_TITLES) else "street_"
        return f"{prefix}{row.number:07}.{RECIPES[row.recipe].suffix}"

    def title_bytes(self, row: RowFacts) -> bytes:
        """Return the title as it is written between JSON quotes."""
        return orjson.dumps(self.title(row))[1:-1]

    def dates(self, row: RowFacts) -> tuple[bytes, bytes]:
        """Return the dates of creation and last edit, in one of the platform's date formats."""
        form = date_form(row)
        return date_text(row.created, form), date_text(row.edited, form)

    def edited(self, row: RowFacts) -> int:
        """Return the time of its last edit, in microseconds since 1970."""
        return microsecond_of(row.edited, date_form(row))

    def sample(self, count: int, without: Iterable[RowFacts] = ()) -> list[RowFacts]:
        """Return up to `count` labelled rows of the main branch; other ones after each change."""
        rng = Rng(self.change_seed(3))
        found: dict[int, RowFacts] = {}
        passed = {row.number for row in without if not row.branch}
        for _ in range(20 * count if self.numbers else 0):  # bounded, because few rows may have a label
            row = self.row(rng.below(len(self.numbers)))
            if row and row.labelled and row.number not in passed:
                found[row.number] = row
                if len(found) == count:
                    break
        return list(found.values())

    # Changes

    def change_seed(self, purpose: int) -> int:
        """Return a seed that differs for each change and each purpose."""
        return blend(self.spec.seed, purpose, self._edits)

    def tick(self, at: int | None) -> int:
        """Return the second of a change: `at`, or one minute after the last change; never before that."""
        self._edits += 1
        self.last_edit = max(self.last_edit + 60, EDITS if at is None else at)
        return self.last_edit

    @property
    def created(self) -> int:
        """Return how many label rows were made."""
        return len(self._created)

    def create(self, number: int, branch: int, second: int) -> None:
        """Give a data unit a label row on a branch, without labels."""
        self._created[number, branch] = second

    def edit(self, row: RowFacts, second: int) -> None:
        """Give a label row other labels and a later date. After a few editions, earlier ones return."""
        latest = max(row.edition, 0) % EDITIONS
        self._earlier[row.number, row.branch] = row.edition, row.edited
        self._versions[row.number, row.branch] = EDITIONS * row.branch + 1 + latest % (EDITIONS - 1), second

    def move(self, number: int, stage: int) -> None:
        """Move a data unit with a label row to another stage of the workflow."""
        first = next(place for place, (*_, at) in enumerate(PROGRESS) if place and at == stage)
        self._moved[number] = first

    def remove(self, number: int) -> None:
        self._removed.add(number)

    def add(self, count: int) -> None:
        self._added += count
