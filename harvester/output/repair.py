"""Finds out which parts of a target are valid when an export starts, and deletes the others."""

import hashlib
from collections.abc import Iterable

import msgspec

from harvester.errors import CannotFinishNow, Unsound
from harvester.output.commit import Commit, PartFile, drop_part, read_commits
from harvester.output.layout import COMMITS, MANIFEST, parse_commit, parse_part
from harvester.output.manifest import (
    Manifest,
    count_notes,
    count_records,
    count_rows,
    list_files,
    read_manifest,
)
from harvester.output.planfile import PlainFile, PlanHeader
from harvester.output.target import Target

_PIECE = 1024**2


class ResumeState(msgspec.Struct):
    """How much of an export exists.

    `commits` are the valid parts, by number. `manifest` is None unless the export is complete. `dropped` are
    the parts that were damaged or incomplete, and have been deleted.
    """

    commits: dict[int, Commit]
    manifest: Manifest | None
    dropped: list[int]


def repair(target: Target, plan: PlanHeader) -> ResumeState:
    """Delete everything that is not a valid part of `plan`, and return what is left. Only under the lock.

    The files of an unfinished export are checked by size. Those of a finished export are checked byte by
    byte, because no later run would look at them again. Blocking.
    """
    manifest, finished = None, target.read(MANIFEST) is not None
    try:
        manifest = read_manifest(target)
    except Unsound:
        pass  # the caller writes it again from the commit records
    commits = read_commits(target, plan.digest)
    if finished:
        commits = {part: commit for part, commit in commits.items() if _sound(target, commit)}
    unknown = sorted(_parts_seen(target) - commits.keys())
    if unknown or not (manifest and _agrees(manifest, plan, commits)):
        manifest = None
        target.delete(MANIFEST)
    for part in unknown:
        drop_part(target, part)
    _delete_unreferenced(target, commits)
    return ResumeState(commits, manifest, unknown)


def discard_parts(target: Target, parts: Iterable[int]) -> None:
    """Delete `parts`, after the manifest, so that the export is unfinished. Only under the lock."""
    target.delete(MANIFEST)
    for part in parts:
        drop_part(target, part)


def sound_file(target: Target, file: PartFile | PlainFile) -> bool:
    """Return whether the bytes of a file are those that were committed, and can be read."""
    try:
        return same_bytes(target, file)
    except (OSError, CannotFinishNow):
        return False


def same_bytes(target: Target, file: PartFile | PlainFile) -> bool:
    """Do as `sound_file` does, but raise CannotFinishNow or OSError if the file cannot be read."""
    hashed = hashlib.sha256()
    with target.open(file.name) as stream:
        while piece := stream.read(_PIECE):
            hashed.update(piece)
    return hashed.hexdigest() == file.sha256


def _sound(target: Target, commit: Commit) -> bool:
    return all(sound_file(target, file) for file in commit.files)


def _agrees(manifest: Manifest, plan: PlanHeader, commits: dict[int, Commit]) -> bool:
    ordered = [commits[part] for part in range(plan.parts) if part in commits]
    return (
        len(ordered) == len(commits) == plan.parts
        and manifest.plan == plan.digest
        and manifest.ontology == plan.ontology
        and manifest.counts == count_rows(ordered)
        and manifest.records == count_records(ordered, plan.format.kinds)
        and manifest.notes == count_notes(ordered)
        and manifest.parts == list_files(ordered)
    )


def _delete_unreferenced(target: Target, commits: dict[int, Commit]) -> None:
    """Delete files of parts that no commit record names, such as a kind that the part no longer has."""
    known = {file.name for commit in commits.values() for file in commit.files}
    for name, _ in target.names():
        if parse_part(name) and name not in known:
            target.delete(name)


def _parts_seen(target: Target) -> set[int]:
    """Return the numbers of all parts that have any file, or a commit record."""
    files = (parse_part(name) for name, _ in target.names())
    commits = (parse_commit(name) for name, _ in target.names(COMMITS))
    return {file.part for file in files if file} | {part for part in commits if part is not None}
