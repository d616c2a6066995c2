"""The commit record of a part: the part exists if, and only if, a valid one stands in the target.

The part's files are written first and are durable by then; see `harvester.output.ndjson`. A part whose
record is missing, of another plan, damaged, or names files that are not there, is harvested again.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from harvester.labels.wire import PlanRow
from harvester.output.canonical import canonical, digest, parse_object
from harvester.output.layout import COMMITS, commit_name, parse_commit, possible_names
from harvester.output.target import Target


class KindCounts(msgspec.Struct):
    """What became of the records of one kind: `seen` = `written` + all that filters `dropped`."""

    seen: int = 0
    written: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, other: "KindCounts") -> None:
        """Adds another part's counts."""
        self.count(other.seen, other.written, other.dropped)

    def count(self, seen: int, written: int, dropped: Mapping[str, int]) -> None:
        """Adds the counts of some rows."""
        self.seen += seen
        self.written += written
        for name, number in dropped.items():
            self.dropped[name] = self.dropped.get(name, 0) + number


class PartFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a part. `rows` are the rows that have lines in it, `records` its lines, `bytes` its size."""

    name: str
    kind: str
    rows: int
    records: int
    bytes: int
    sha256: str


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one part of the plan.

    `rows` counts the part's rows by outcome: ``harvested, unlabelled, filtered, failed``. `harvested_ids`
    is the `IdDigest` of the rows harvested, some of which may have no records: with the plan and the
    failed rows it proves which rows they were. `notes` counts the part's notes by what they note.
    `lacking` are the fields that the expression of ``--where`` reads and that no record had which it was
    asked of, None where no row was harvested. `digest` guards the record itself.
    """

    part: int
    plan: str
    rows: dict[str, int]
    harvested_ids: str
    records: dict[str, KindCounts]
    files: list[PartFile]
    notes: dict[str, int] = {}
    lacking: list[str] | None = None
    digest: str = ""

    @property
    def counted(self) -> dict[str, int]:
        """Rows by what became of them, records written by kind, and notes: by the names of `Counters`."""
        records = {kind: counts.written for kind, counts in self.records.items()}
        return self.rows | records | {"notes": sum(self.notes.values())}


class IdDigest:
    """sha256 over label hashes, each followed by a newline, in the order of the plan."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, rows: Iterable[PlanRow]) -> None:
        """Takes in the next rows."""
        self._hash.update("".join([f"{row.label_hash or ''}\n" for row in rows]).encode())

    def hexdigest(self) -> str:
        """The digest of the rows so far."""
        return self._hash.hexdigest()


def write_commit(target: Target, commit: Commit) -> None:
    """Makes the part exist. Its files must be durable already."""
    fields = msgspec.to_builtins(commit)
    fields["digest"] = digest(fields, without=("digest",))
    target.put(commit_name(commit.part), canonical(fields) + b"\n")


def parse_commit_record(data: bytes) -> Commit | None:
    """The record, if it is whole and its own digest says so."""
    try:
        fields = parse_object(data)
        commit = msgspec.convert(fields, Commit)
    except (ValueError, msgspec.ValidationError):
        return None
    return commit if commit.digest == digest(fields, without=("digest",)) else None


def read_commits(target: Target, plan: str) -> dict[int, Commit]:
    """The parts of the plan with digest `plan` that exist, by number: each file is there in its full size."""
    sizes = dict(target.names())
    commits = {}
    for name, _ in target.names(COMMITS):
        part = parse_commit(name)
        commit = None if part is None else read_commit(target, plan, part)
        if commit and _complete(commit, sizes):
            commits[commit.part] = commit
    return dict(sorted(commits.items()))


def read_commit(target: Target, plan: str, part: int) -> Commit | None:
    """The record of one part of that plan, if there is a whole one. Its files are not looked at."""
    commit = parse_commit_record(target.read(commit_name(part)) or b"")
    return commit if commit and commit.part == part and commit.plan == plan else None


def drop_part(target: Target, part: int) -> None:
    """Deletes a part, its commit record first: it has never existed."""
    target.delete(commit_name(part))
    for name in possible_names(part):
        target.delete(name)


def _complete(commit: Commit, sizes: Mapping[str, int]) -> bool:
    return all(sizes.get(file.name) == file.bytes for file in commit.files)
