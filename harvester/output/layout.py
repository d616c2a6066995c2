"""The names of the files in a target. A name is made of fixed words and numbers, never of a title."""

import re
from typing import NamedTuple

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.output.compression import SUFFIXES
from harvester.schema import KINDS, SCHEMA_VERSION
from harvester.settings import Compression

FORMAT = SCHEMA_VERSION  # the version of all file formats in a target

STATE = ".harvester"
MANIFEST = "manifest.json"
ONTOLOGY = "ontology.json"  # the project's ontology, as it was when the plan was frozen
LISTING = "listing.ndjson.zst"  # each listed row with its outcome; a sync writes it in its generation folder
PLAN = f"{STATE}/plan.json"
PLAN_ROWS = f"{STATE}/plan.ndjson.zst"
PLAN_ROWS_SETTLED = f"{STATE}/plan-settled.ndjson.zst"  # used alternately with PLAN_ROWS, see `replace_rows`
COMMITS = f"{STATE}/commits"
LISTED = f"{STATE}/listed.json"  # in a generation: the header of the listing that the sync compared
LISTED_ROWS = f"{STATE}/listed.ndjson.zst"
BASE = f"{STATE}/base.json"  # names the generation at which readers begin, if one is compacted
# Files of data sets and of media: the folder is theirs, so that no export begins in it.
OF_OTHERS = ("conversion.json", "media.json", "media.ndjson")
CHANGED = f"{STATE}/changed.json"  # in a generation: a summary of its changes
CHANGES = "changes"
FAILED = "failed"
NOTES = "notes"

# Bytes of a file that is read as a whole. The largest one, the manifest, has about 250 bytes for each file of
# a part, so that 300,000 parts with three kinds of records fit.
MOST_AT_ONCE = 256 * 1024**2

_KINDS = (*KINDS, FAILED, NOTES)
_SUFFIXES = tuple(f".ndjson{suffix}" for suffix in SUFFIXES.values())
_PART = re.compile(rf"({'|'.join(_KINDS)})-([0-9]{{5,9}})(?:{'|'.join(map(re.escape, _SUFFIXES))})")
_COMMIT = re.compile(r"([0-9]{5,9})\.json")


class PartName(NamedTuple):
    """The kind and the part number in the name of a part's file."""

    kind: str
    part: int


def part_name(kind: str, part: int, compression: Compression | None = None) -> str:
    """Return the name of a part's file, such as ``objects-00000.ndjson.zst``."""
    return f"{kind}-{part:05}.ndjson{SUFFIXES[compression]}"


def check_size(path: object, size: int) -> None:
    """Raise BadInput if a file of this size in bytes is too large to be read as a whole."""
    if size > MOST_AT_ONCE:
        raise BadInput(one_line(f"{path} has {size:,} bytes: no file of an export that is read at once has"))


def check_name(name: str, kind: str) -> None:
    """Raise ValueError if `name` is not that of a part's file or change feed with records of this kind.

    The names that a target's files mention are checked with it, so that none leads out of the target.
    """
    parsed = parse_part(name)
    if kind != (parsed.kind if parsed else CHANGES if name in _FEEDS else None):
        raise ValueError(f"{name!r} is not the name of a file with {kind}")


def possible_names(part: int) -> list[str]:
    """Return every name that a file of this part can have."""
    return [f"{kind}-{part:05}{suffix}" for kind in _KINDS for suffix in _SUFFIXES]


def parse_part(name: str) -> PartName | None:
    """Return the kind and part number in a file's name, or None if it is not the file of a part."""
    found = _PART.fullmatch(name)
    return PartName(found[1], int(found[2])) if found else None


def generation_folder(number: int) -> str:
    """Return the folder of a generation, such as ``generations/00001``.

    It has the layout of an export: a plan, parts and a manifest of its own.
    """
    return f"generations/{number:05}"


def commit_name(part: int) -> str:
    """Return the name of a commit record, such as ``.harvester/commits/00000.json``."""
    return f"{COMMITS}/{part:05}.json"


def parse_commit(name: str) -> int | None:
    """Return the part number in a commit record's name, or None if it is another file."""
    folder, _, file = name.rpartition("/")
    found = _COMMIT.fullmatch(file)
    return int(found[1]) if folder == COMMITS and found else None


_FEEDS = {part_name(CHANGES, 0, compression) for compression in SUFFIXES}
_FIXED_NAMES = {
    MANIFEST, LISTING, PLAN, PLAN_ROWS, PLAN_ROWS_SETTLED, ONTOLOGY, LISTED, LISTED_ROWS, CHANGED, BASE,
    *_FEEDS,
}  # fmt: skip


def is_own(name: str) -> bool:
    """Return whether the name is in the layout of an export or a generation. Only such files are deleted."""
    return name in _FIXED_NAMES or parse_part(name) is not None or parse_commit(name) is not None
