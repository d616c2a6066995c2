"""Merges failed rows that were fetched again into their part. Its other rows keep their lines as they are.

The part then has the bytes that it would have if these rows had not failed. Its new files replace the old
ones only when they are complete. The commit record is deleted before that: after a kill in between, the part
counts as not harvested, and the next run harvests it as a whole.
"""

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence

from harvester.errors import Unsound
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit, IdDigest, KindCounts, read_commit, write_commit
from harvester.output.drafts import Files
from harvester.output.layout import FAILED, commit_name
from harvester.output.lines import FailedLabel, label_hash_reader, read_as, read_lines
from harvester.output.ndjson import PartWriter
from harvester.output.repair import sound_file
from harvester.output.scratch_files import ScratchFiles
from harvester.output.target import Target
from harvester.settings import Compression


def part_with_failures(target: Target, plan: str, part: int) -> Commit | None:
    """Return the commit record of a part of which rows failed; None if there is none, or it is damaged."""
    commit = read_commit(target, plan, part)
    if commit is None or not commit.rows["failed"]:
        return None
    return commit if all(sound_file(target, file) for file in commit.files) else None


def failed_in(target: Files, commit: Commit) -> frozenset[str]:
    """Return the label hashes of a part's failed rows."""
    names = [file.name for file in commit.files if file.kind == FAILED]
    return frozenset(row.label_hash for name in names for row in read_as(target, name, FailedLabel))


def merge_part(
    target: Target,
    former: Commit,
    rows: Sequence[PlanRow],
    *,
    beside: ScratchFiles,
    fresh: Commit,
    compression: Compression | None,
) -> Commit:
    """Replace a part by one that also has the new records of its failed rows, and commit it. Blocking.

    Args:
        former: the part, in `target`; all of its failed rows were fetched again.
        rows: all rows of the part, as the plan has them.
        beside: holds the files of `fresh`, not compressed.
        fresh: the part that the failed rows alone would be.

    Raises:
        Unsound: a line of the part is of no row of the plan.
        CannotFinishNow: a file cannot be read or written.
    """
    writer = PartWriter(target, former.part, compression)
    place_of = _places(rows)
    try:
        for kind in sorted({file.kind for file in (*former.files, *fresh.files)}):
            kept = _lines(target, former, kind) if kind != FAILED else iter(())
            _write_merged(writer, kind, kept, _lines(beside, fresh, kind), place_of)
        target.delete(commit_name(former.part))
        files = writer.close()
    except BaseException:
        writer.discard()
        raise
    failed = failed_in(beside, fresh)
    harvested = IdDigest()
    harvested.add(row for row in rows if row.outcome is None and row.label_hash not in failed)
    commit = Commit(
        part=former.part,
        plan=former.plan,
        rows=former.rows
        | {"harvested": former.rows["harvested"] + fresh.rows["harvested"], "failed": fresh.rows["failed"]},
        harvested_ids=harvested.hexdigest(),
        records=_added(former.records, fresh.records),
        files=files,
        notes={
            note: former.notes.get(note, 0) + fresh.notes.get(note, 0)
            for note in sorted({*former.notes, *fresh.notes})
        },
        lacking=_lacking_in_both(former.lacking, fresh.lacking),
    )
    write_commit(target, commit)
    for name in {file.name for file in former.files} - {file.name for file in files}:
        target.delete(name)
    return commit


_Line = tuple[str, bytes]  # the label hash of its row, and the line


def _lines(target: Files, commit: Commit, kind: str) -> Iterator[_Line]:
    for file in commit.files:
        if file.kind == kind:
            label_hash_of = label_hash_reader(kind)
            for line in read_lines(target, file.name):
                yield label_hash_of(line), line


def _write_merged(
    writer: PartWriter,
    kind: str,
    kept: Iterator[_Line],
    fresh: Iterator[_Line],
    place_of: Callable[[_Line], int],
) -> None:
    last = None
    for label_hash, line in heapq.merge(kept, fresh, key=place_of):
        writer.write(kind, [line], 1, int(label_hash != last))
        last = label_hash


def _places(rows: Sequence[PlanRow]) -> Callable[[_Line], int]:
    """Return a function that gives the place of a line's row in the plan."""
    places = {row.label_hash: place for place, row in enumerate(rows)}

    def place_of(line: _Line) -> int:
        if (place := places.get(line[0])) is None:
            raise Unsound("a part holds a line of no row of its plan: see harvester verify")
        return place

    return place_of


def _added(one: dict[str, KindCounts], other: dict[str, KindCounts]) -> dict[str, KindCounts]:
    added = {kind: KindCounts() for kind in (*one, *other)}
    for counted in (one, other):
        for kind, counts in counted.items():
            added[kind].add(counts)
    return added


def _lacking_in_both(one: Collection[str] | None, other: Collection[str] | None) -> list[str] | None:
    """Return the fields that no record of either had. None: neither is known."""
    if one is None or other is None:
        known = one if other is None else other
        return None if known is None else sorted(known)
    return sorted(set(one) & set(other))
