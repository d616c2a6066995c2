"""Compaction: merges an export and its syncs into one base, without asking the server for a label row.

The record files are those that a new export of the same listing and ontology would have, byte for byte. Plan,
listing and manifest are made as an export makes them; failed rows and notes are carried over.

Several files cannot be replaced atomically, and object stores have no rename. So compaction writes the next
generation, and readers begin there as soon as the export's manifest names it as the base. Only then are
earlier files deleted. A compaction that was killed before starts anew; one that was killed after goes on
deleting.
"""

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import anyio
import anyio.from_thread
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.job import Observer
from harvester.labels.wire import PlanRow
from harvester.live import damage_named, finished_manifest, own_manifest
from harvester.live_rows import LiveRow, is_in_order, live_rows
from harvester.outdated import baselines, has_mixed_names, ontology_file
from harvester.output import planfile
from harvester.output.commit import Commit, IdDigest, KindCounts, write_commit
from harvester.output.generations import (
    drop_former,
    drop_generation,
    folder_of,
    last_listing,
    write_base,
)
from harvester.output.layout import FAILED, LISTED, NOTES, ONTOLOGY
from harvester.output.listing_file import sorted_as_planned, write_listing
from harvester.output.manifest import (
    Base,
    Former,
    Manifest,
    build_manifest,
    list_files,
    with_base,
    write_manifest,
)
from harvester.output.mending import find_ontology, spec_in
from harvester.output.ndjson import PartWriter
from harvester.output.planfile import PlanHeader
from harvester.output.target import Target
from harvester.stopping import held, stopping_when, while_wanted
from harvester.sync import made_ready

_AT_ONCE = 1000  # lines of a row that are written together


class CompactSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a compaction.

    `generation` is the number of the base, `replaced` the number of generations that it replaces, the export
    itself included. `counts`, `records` and `notes` are the manifest's. `bytes_before` and `bytes_after` are
    the sizes of all files of records, failed rows and notes. If there was nothing to compact, `is_unchanged`
    is set.
    """

    target: str
    project: str
    generation: int
    replaced: int
    counts: dict[str, int]
    records: dict[str, Any]
    notes: dict[str, int]
    bytes_before: int
    bytes_after: int
    seconds: float
    is_unchanged: bool = False


async def compact_target(target: Target, observer: Observer) -> CompactSummary:
    """Merge a finished export and its syncs into one base.

    Raises:
        BadInput: there is no finished export; a sync is not finished; or records have signed URLs.
        Unsound: the export is damaged.
        TargetRefused: another process works in the target.
        CannotFinishNow: the disk fails, or the run was asked to stop. The same call starts anew.
    """
    began = anyio.current_time()
    await in_thread(_check, target)  # before the lock, which makes the directory
    async with stopping_when(observer.stopping, None) as stopping, held(target, stopping):
        before = await in_thread(lambda: made_ready(target, _check(target)))
        if not before.generations and await in_thread(is_in_order, target, before):
            return _summary(target, before, _bytes_of(before), 0, anyio.current_time() - began)
        work = _Compaction(target, before)
        plan = await stopping.waited_for(work.begin)
        observer.counters.listed = plan.rows
        with closing(work.parts()) as parts:
            while commit := await stopping.waited_for(partial(next, parts, None)):
                observer.counters.add(commit.counted)
                observer.on_event("part.committed", {"part": commit.part, **commit.rows})
                if stopping.event.is_set():
                    raise CannotFinishNow(f"{stopping.reason}: the export is as it was")
        seconds = anyio.current_time() - began
        after = await in_thread(work.end, seconds)
        replaced = len(before.numbers)
        observer.on_event("export.compacted", {"generation": work.number, "replaced": replaced})
        return _summary(target, after, work.bytes_before, replaced, seconds)


def _summary(
    target: Target, manifest: Manifest, bytes_before: int, replaced: int, seconds: float
) -> CompactSummary:
    return CompactSummary(
        target=target.name,
        project=manifest.project.title,
        generation=manifest.base.generation,
        replaced=replaced,
        counts=manifest.counts,
        records=msgspec.to_builtins(manifest.records),
        notes=manifest.notes,
        bytes_before=bytes_before,
        bytes_after=_bytes_of(manifest),
        seconds=round(seconds, 3),
        is_unchanged=not replaced,
    )


def _bytes_of(manifest: Manifest) -> int:
    return sum(file.bytes for file in manifest.parts)


def _check(target: Target) -> Manifest:
    """Return the manifest of an export that can be compacted. Blocking."""
    manifest = finished_manifest(target)
    if manifest.selection.signed_urls:
        raise BadInput(
            f"{one_line(target.name)} cannot be compacted: it has signed URLs, which a new export would renew"
        )
    if folder_of(target, manifest.last + 1).read(LISTED) is not None:
        raise BadInput(
            f"{one_line(target.name)}: a sync is not finished: finish it first, with harvester sync"
        )
    return manifest


class _Compaction:
    """The steps of a compaction. All of them block."""

    _plan: PlanHeader

    def __init__(self, target: Target, before: Manifest) -> None:
        self.number = before.last + 1
        self.bytes_before = 0
        self._target = target
        self._before = before
        self._folder = folder_of(target, self.number)
        self._commits: dict[int, Commit] = {}

    def begin(self) -> PlanHeader:
        """Freeze the plan: the rows listed last, as an export freezes them."""
        self._folder.sweep()
        drop_generation(self._folder)
        for number in self._before.numbers:
            self.bytes_before += _bytes_of(self._own_manifest(number))
        listed, frozen = last_listing(self._target)
        assert frozen is not None  # `made_ready` has repaired it, or has raised
        self._plan = planfile.freeze(
            self._folder,
            while_wanted(sorted_as_planned(listed, frozen)),
            spec_in(self._before),
            self._ontology(),
        )
        return self._plan

    def parts(self) -> Generator[Commit, None, None]:
        """Write one part after the other."""
        kinds = (*self._plan.format.kinds, NOTES, FAILED)
        check = anyio.from_thread.check_cancelled
        with (
            damage_named(self._target, self._before),
            closing(live_rows(self._target, self._before, kinds, check=check)) as rows,
        ):
            for part, planned in planfile.slices(self._folder, self._plan, range(self._plan.parts)):
                self._commits[part] = self._write_part(part, planned, rows)
                yield self._commits[part]
            if next(rows, None) is not None:
                raise self._unlike_plan()

    def end(self, seconds: float) -> Manifest:
        """Write the manifest, from which on readers begin here, and delete what is replaced."""
        from importlib.metadata import version  # slow to import, so only where it is needed

        commits = [self._commits[part] for part in sorted(self._commits)]
        listing = write_listing(self._folder, planfile.lines(self._folder, self._plan), list_files(commits))
        ran = self._before.run
        manifest = build_manifest(
            self._plan,
            self._commits,
            harvester=version("encord-harvester"),
            sdk=version("encord"),
            drift=self._own_manifest(self._before.last).drift,
            run={
                "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(seconds, 3),
                **{name: ran[name] for name in ("harvested", "body_bytes") if name in ran},
            },
            listing=listing,
        )
        base = Base(generation=self.number, former=self._former(), kept_names=_has_kept_names(self._before))
        manifest = with_base(manifest, base)
        write_manifest(self._folder, manifest)
        write_base(self._target, base)
        write_manifest(self._target, manifest)
        drop_former(self._target, base, first=self._before.base.generation)
        return manifest

    def _write_part(self, part: int, planned: list[PlanRow], rows: Iterator[LiveRow]) -> Commit:
        counts, notes, ids = Counter(row.outcome for row in planned), Counter[str](), IdDigest()
        records: dict[str, KindCounts] = {kind: KindCounts() for kind in self._plan.format.kinds}
        failed = 0
        writer = PartWriter(self._folder, part, self._plan.format.compress)
        try:
            for row in planned:
                if row.outcome is not None:
                    continue
                live = next(rows, None)
                if live is None or live.label_hash != row.label_hash:
                    raise self._unlike_plan()
                for kind, lines in live.lines.items():
                    written = _write(writer, kind, lines, notes)
                    if kind == FAILED:
                        has_failed = written > 0
                    elif written and kind in records:
                        records[kind].count(written, written, {})
                failed += has_failed
                if not has_failed:
                    ids.add([row])
            files = writer.close()
        except BaseException:
            writer.discard()
            raise
        commit = Commit(
            part=part,
            plan=self._plan.digest,
            rows={
                "harvested": counts[None] - failed,
                "unlabelled": counts["unlabelled"],
                "filtered": counts["filtered"],
                "failed": failed,
            },
            harvested_ids=ids.hexdigest(),
            records=records,
            files=files,
            notes=dict(sorted(notes.items())),
            lacking=[] if counts[None] > failed else None,
        )
        write_commit(self._folder, commit)
        return commit

    def _own_manifest(self, number: int) -> Manifest:
        return own_manifest(folder_of(self._target, number), self._before, number)

    def _ontology(self) -> bytes | None:
        last = self._before.last
        if ontology_file(self._before, last) is None:
            return None
        found = find_ontology(self._target, self._before, last)
        if found is None:
            raise Unsound(one_line(f"{self._target.name}: its {ONTOLOGY} is lost or damaged: sync it first"))
        return found

    def _former(self) -> list[Former]:
        """Return the version that wrote each replaced generation; neighbours of one version are one entry."""
        runs = list(self._before.base.former)
        for number in self._before.numbers:
            version = (self._before.generation(number) or self._before).harvester
            if runs and runs[-1].harvester == version and number > self._before.base.generation:
                runs[-1] = msgspec.structs.replace(runs[-1], last=number)
            else:
                runs.append(Former(first=number, last=number, harvester=version))
        return runs

    def _unlike_plan(self) -> Unsound:
        name = one_line(self._target.name)
        return Unsound(f"{name}: its listing and its plan are not of the same rows: see harvester verify")


class _KindOfNote(msgspec.Struct):
    note: str


_decode_note = msgspec.json.Decoder(_KindOfNote).decode


def _write(writer: PartWriter, kind: str, lines: Iterator[bytes], notes: Counter[str]) -> int:
    """Write a row's lines of one kind, and return their number. Notes are counted in `notes`."""
    written = 0
    while some := list(islice(lines, _AT_ONCE)):
        writer.write(kind, some, len(some), rows=not written)
        written += len(some)
        if kind == NOTES:
            notes.update(_decode_note(line).note for line in some)
    return written


def _has_kept_names(manifest: Manifest) -> bool:
    """Return whether live records were made with ontologies that differ from the last one."""
    last = ontology_file(manifest, manifest.last)
    return has_mixed_names(manifest) or any(
        ontology_file(manifest, baseline.of) != last for baseline in baselines(manifest)
    )
