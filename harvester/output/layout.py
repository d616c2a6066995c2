"""What the files of a target are called. Names come from indices only, never from titles."""

import re
from typing import NamedTuple

from harvester.output.compression import SUFFIXES
from harvester.schema import KINDS, SCHEMA_VERSION
from harvester.settings import Compression

FORMAT = SCHEMA_VERSION  # version of everything that a target holds

STATE = ".harvester"
MANIFEST = "manifest.json"
ONTOLOGY = "ontology.json"  # the project's, as it was when the plan was frozen
LISTING = "listing.ndjson.zst"  # every listed row with its outcome; of a sync, in its generation's folder
PLAN = f"{STATE}/plan.json"
PLAN_ROWS = f"{STATE}/plan.ndjson.zst"
PLAN_ROWS_SETTLED = f"{STATE}/plan-settled.ndjson.zst"  # takes turns with the other: see `replace_rows`
COMMITS = f"{STATE}/commits"
LISTED = f"{STATE}/listed.json"  # of a generation: the listing that it brings the export up to
LISTED_ROWS = f"{STATE}/listed.ndjson.zst"
CHANGED = f"{STATE}/changed.json"  # of a generation: what it changes
CHANGES = "changes"
FAILED = "failed"
NOTES = "notes"

_KINDS = (*KINDS, FAILED, NOTES)
_SUFFIXES = tuple(f".ndjson{suffix}" for suffix in SUFFIXES.values())
_PART = re.compile(rf"({'|'.join(_KINDS)})-([0-9]{{5,9}})(?:{'|'.join(map(re.escape, _SUFFIXES))})")
_COMMIT = re.compile(r"([0-9]{5,9})\.json")


class PartName(NamedTuple):
    """A part's file, taken from its name."""

    kind: str
    part: int


def part_name(kind: str, part: int, compression: Compression | None = None) -> str:
    """``objects-00000.ndjson``, ``objects-00000.ndjson.zst``."""
    return f"{kind}-{part:05}.ndjson{SUFFIXES[compression]}"


def possible_names(part: int) -> list[str]:
    """Every name that a file of the part may have."""
    return [f"{kind}-{part:05}{suffix}" for kind in _KINDS for suffix in _SUFFIXES]


def parse_part(name: str) -> PartName | None:
    """The kind and number of a part's file; None for any other file."""
    found = _PART.fullmatch(name)
    return PartName(found[1], int(found[2])) if found else None


def generation_folder(number: int) -> str:
    """``generations/00001``: a place like the export's own, with its plan, parts and manifest."""
    return f"generations/{number:05}"


def commit_name(part: int) -> str:
    """``.harvester/commits/00000.json``."""
    return f"{COMMITS}/{part:05}.json"


def parse_commit(name: str) -> int | None:
    """The part whose commit record `name` is; None for any other file."""
    folder, _, file = name.rpartition("/")
    found = _COMMIT.fullmatch(file)
    return int(found[1]) if folder == COMMITS and found else None


_STEADY = {
    MANIFEST, LISTING, PLAN, PLAN_ROWS, PLAN_ROWS_SETTLED, ONTOLOGY, LISTED, LISTED_ROWS, CHANGED,
    *(part_name(CHANGES, 0, compression) for compression in SUFFIXES),
}  # fmt: skip


def is_own(name: str) -> bool:
    """Whether a file of that name, of an export or a generation, is one of ours, which may be deleted."""
    return name in _STEADY or parse_part(name) is not None or parse_commit(name) is not None
