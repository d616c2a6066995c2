"""The commit record of a part. A part exists if, and only if, the target holds a valid record of it.

The part's files are written and made durable before the record (`harvester.output.ndjson`). A part is
harvested again if its record is missing, damaged, of another plan, or names a file that is missing.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from harvester.labels.wire import PlanRow
from harvester.output.canonical import canonical, check_keys, convert, digest, parse_object
from harvester.output.layout import (
    COMMITS,
    check_name,
    commit_name,
    parse_commit,
    parse_part,
    possible_names,
)
from harvester.output.target import Target
from harvester.schema import KINDS, OUTCOMES, Count


class KindCounts(msgspec.Struct):
    """Record counts of one kind. `seen` = `written` + the sum of `dropped`, which counts by filter name."""

    seen: Count = 0
    written: Count = 0
    dropped: dict[str, Count] = msgspec.field(default_factory=dict)

    def add(self, other: "KindCounts") -> None:
        """Add the counts of another part."""
        self.count(other.seen, other.written, other.dropped)

    def count(self, seen: int, written: int, dropped: Mapping[str, int]) -> None:
        """Add the counts of some rows."""
        self.seen += seen
        self.written += written
        for name, number in dropped.items():
            self.dropped[name] = self.dropped.get(name, 0) + number


class PartFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a part.

    `records` is its number of lines, `rows` the number of label rows that have a line in it, `bytes` its
    size on disk. `sha256` is over the bytes on disk.
    """

    name: str
    kind: str
    rows: Count
    records: Count
    bytes: Count
    sha256: str

    def __post_init__(self) -> None:
        check_name(self.name, self.kind)


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The result of harvesting one part of the plan.

    `plan` is the digest of the plan. `rows` counts the part's rows by outcome: ``harvested``,
    ``unlabelled``, ``filtered``, ``failed``. `harvested_ids` is the `IdDigest` of the harvested rows; since
    a row may have no records, it is what proves which rows were harvested. `notes` counts the part's notes
    by kind. `lacking` are the fields that the expression of ``--where`` reads and that no record of the part
    had, None where no row was harvested. `digest` is a checksum of the record itself.
    """

    part: Count
    plan: str
    rows: dict[str, Count]
    harvested_ids: str
    records: dict[str, KindCounts]
    files: list[PartFile]
    notes: dict[str, Count] = {}
    lacking: list[str] | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        check_keys("rows", self.rows, OUTCOMES)
        check_keys("records", self.records, KINDS)
        names = {file.name for file in self.files if (own := parse_part(file.name)) and own.part == self.part}
        if len(names) < len(self.files):
            raise ValueError("it names a file twice, or one of another part")

    @property
    def counted(self) -> dict[str, int]:
        """Return the counts of rows, records and notes in one dictionary, by the names in `Counters`."""
        records = {kind: counts.written for kind, counts in self.records.items()}
        return self.rows | records | {"notes": sum(self.notes.values())}


class IdDigest:
    """The sha256 over the label hashes of rows in plan order, each followed by a newline."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, rows: Iterable[PlanRow]) -> None:
        """Add the next rows."""
        self._hash.update("".join([f"{row.label_hash or ''}\n" for row in rows]).encode())

    def hexdigest(self) -> str:
        """Return the digest of the rows added so far, in hexadecimal."""
        return self._hash.hexdigest()


def write_commit(target: Target, commit: Commit) -> None:
    """Write a part's commit record. From then on the part exists, so its files must already be durable."""
    fields = msgspec.to_builtins(commit)
    fields["digest"] = digest(fields, without=("digest",))
    target.put(commit_name(commit.part), canonical(fields) + b"\n")


def parse_commit_record(data: bytes) -> Commit | None:
    """Return the commit record in `data`, or None if it cannot be parsed or its digest does not match."""
    try:
        fields = parse_object(data)
        commit = convert(fields, Commit)
    except ValueError:
        return None
    return commit if commit.digest == digest(fields, without=("digest",)) else None


def read_commits(target: Target, plan: str) -> dict[int, Commit]:
    """Return the commit records of the parts that exist, by part number.

    A part exists if its record is of the plan with the digest `plan`, and each of its files has the
    recorded size.
    """
    sizes = dict(target.names())
    commits = {}
    for name, _ in target.names(COMMITS):
        part = parse_commit(name)
        commit = None if part is None else read_commit(target, plan, part)
        if commit and _complete(commit, sizes):
            commits[commit.part] = commit
    return dict(sorted(commits.items()))


def read_commit(target: Target, plan: str, part: int) -> Commit | None:
    """Return the commit record of one part, or None if there is no valid one. Its files are not checked."""
    commit = parse_commit_record(target.read(commit_name(part)) or b"")
    return commit if commit and commit.part == part and commit.plan == plan else None


def drop_part(target: Target, part: int) -> None:
    """Delete a part. The commit record goes first, so that an interrupted deletion leaves no damaged part."""
    target.delete(commit_name(part))
    for name in possible_names(part):
        target.delete(name)


def _complete(commit: Commit, sizes: Mapping[str, int]) -> bool:
    return all(sizes.get(file.name) == file.bytes for file in commit.files)
