"""Checks an export against its manifest and plan. Needs no server, and writes nothing."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.labels.wire import PlanRow
from harvester.output.commit import Commit, IdDigest, parse_commit_record
from harvester.output.generations import (
    NEW_EXPORT,
    base_of,
    describe,
    files_before_base,
    folder_of,
    read_base,
    read_changed,
    read_listing,
)
from harvester.output.layout import (
    BASE,
    CHANGED,
    COMMITS,
    FAILED,
    LISTED,
    LISTING,
    MANIFEST,
    ONTOLOGY,
    PLAN,
    PLAN_ROWS,
    PLAN_ROWS_SETTLED,
    STATE,
    commit_name,
    generation_folder,
    parse_commit,
    parse_part,
)
from harvester.output.lines import check_file
from harvester.output.listing_file import differs, in_plan_order, is_sound
from harvester.output.manifest import (
    Base,
    Manifest,
    count_notes,
    count_records,
    count_rows,
    list_files,
    read_manifest,
    with_generations,
)
from harvester.output.mending import (
    find_ontology,
    frozen_in_listing,
    plan_in_listing,
    spec_in,
)
from harvester.output.planfile import PlanHeader, intact, read_header, read_ontology
from harvester.output.planfile import slices as plan_slices
from harvester.output.target import Target

Remedy = Literal["sync", "compact", "export", "new export", "conversion", "media"]
_PLAN_FILES = (PLAN, PLAN_ROWS, PLAN_ROWS_SETTLED)


class Problem(msgspec.Struct, frozen=True):
    """A problem with a file. `part` is the number of the part it belongs to, if any.

    `remedy` is what mends it: running the export, the sync or the conversion again, or only a new export.
    """

    name: str
    what: str
    part: int | None = None
    remedy: Remedy = "export"

    def __str__(self) -> str:
        return one_line(f"{self.name}: {self.what}")


class Report(msgspec.Struct):
    """All problems that were found, in plan order."""

    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    @property
    def advice(self) -> str:
        """What to do about the problems, in a few words."""
        for_good = [problem for problem in self.problems if problem.remedy == "new export"]
        if for_good:
            return f"{NEW_EXPORT}: {for_good[0]}"
        if any(problem.remedy == "conversion" for problem in self.problems):
            return "convert its export again"
        if all(problem.remedy == "media" for problem in self.problems):
            return "run harvester media with --recheck to repair it"
        if any(problem.remedy == "export" for problem in self.problems):
            return "run its export again to repair it"
        if any(problem.remedy == "compact" for problem in self.problems):
            return "compact it again to finish it"
        return "sync it again to finish it"


def verify(target: Target) -> Report:
    """Check everything that can be checked without the server: bytes, lines, and the outcome of every row.

    Blocking. Holds the rows of one part and one line in memory.

    Raises:
        BadInput: there is no export.
        TargetRefused: the export has a newer format.
    """
    if target.read(MANIFEST) is None and not target.names(STATE):
        raise BadInput(f"{one_line(target.name)} holds no export")
    base = base_of(target)
    folder = folder_of(target, base.generation)
    found = list(_of_base(target, folder, base.generation))
    found += _of_listing(folder, read_header(folder), compare=not found)
    if base.generation:
        where = generation_folder(base.generation)
        found = [msgspec.structs.replace(problem, name=f"{where}/{problem.name}") for problem in found]
        found = [*_of_compacted(target, folder, base), *found]
    return Report([*found, *_of_generations(target)])


def _of_base(target: Target, folder: Target, number: int) -> Iterator[Problem]:
    """Yield the problems of the base of `target`, in `folder`, except those of its listing."""
    manifest, _ = _manifest(target)
    for problem in _problems(folder):
        lost = problem.name in _PLAN_FILES and not (manifest and plan_in_listing(folder, manifest))
        yield _if_changed(problem, "project") if lost else _of_ontology(problem, target, manifest, number)


def _of_compacted(target: Target, folder: Target, base: Base) -> Iterator[Problem]:
    """Yield the problems of what an export has outside of its generations, if it was compacted."""
    for name in target.leftovers():
        yield Problem(name, "left over from a run that was killed")
    manifest, problem = _manifest(target)
    own, _ = _manifest(folder)
    if problem:
        yield problem
    elif manifest and own and with_generations(own, manifest.generations) != manifest:
        yield Problem(MANIFEST, "it is not what the compacted generation says")
    named = read_base(target)
    is_next = named is not None and manifest is not None and named.generation == manifest.last + 1
    if named != base and not is_next:  # it is written before the manifest, see `_of_generations`
        yield Problem(BASE, "missing or damaged")
    if left := files_before_base(target, base, base.generation - 1):
        yield Problem(left[0], "left over from a compaction that did not finish", remedy="compact")


def _of_ontology(problem: Problem, target: Target, manifest: Manifest | None, generation: int) -> Problem:
    """Return a problem of a folder, and if it has lost an ontology that no other has, say what that means."""
    if problem.name != ONTOLOGY or (manifest and find_ontology(target, manifest, generation)):
        return problem
    return _if_changed(problem, "project's ontology")


def _if_changed(problem: Problem, which: str) -> Problem:
    what = f"{problem.what}: if the {which} has changed since, a new export is needed"
    return msgspec.structs.replace(problem, what=what)


def _of_listing(target: Target, frozen: PlanHeader | None, *, compare: bool) -> Iterator[Problem]:
    """Yield the problems of the listing. `compare`: check it against the plan and the failed rows as well."""
    manifest, _ = _manifest(target)
    if manifest is None:
        return
    if manifest.listing is None or not is_sound(target, manifest.listing):
        yield Problem(LISTING, "missing or damaged")
    elif compare and frozen is not None:
        rows = in_plan_order(target, frozen)
        if wrong := differs(target, manifest.listing, rows, manifest.parts):
            yield Problem(LISTING, wrong)


def _of_generations(target: Target) -> Iterator[Problem]:
    """Yield the problems of all generations."""
    manifest, _ = _manifest(target)
    if manifest is None:
        return
    generations = manifest.generations
    for generation in generations:
        folder, where = folder_of(target, generation.number), generation_folder(generation.number)
        last = generation.number == manifest.last
        found = [*_problems(folder), *_of_generation(folder, manifest, generation.number)]
        if last:
            found += _of_listing(folder, read_listing(folder), compare=not found)
        for problem in found:
            problem = _of_ontology(problem, target, manifest, generation.number)
            yield msgspec.structs.replace(problem, name=f"{where}/{problem.name}")
    begun, where = folder_of(target, manifest.last + 1), generation_folder(manifest.last + 1)
    if begun.read(LISTED) is not None:
        yield Problem(where, "a sync is not finished: run it again", remedy="sync")
    elif begun.read(PLAN) is not None:
        yield Problem(where, "a compaction is not finished: run it again", remedy="compact")


def _of_generation(folder: Target, whole: Manifest, number: int) -> Iterator[Problem]:
    """Yield the problems of a generation that are not about its parts. `whole` is the export's manifest."""
    named, last = whole.generation(number), number == whole.last
    assert named is not None
    changed = read_changed(folder)
    manifest, _ = _manifest(folder)
    if changed is None:
        yield Problem(CHANGED, "missing or damaged")
    elif manifest and describe(changed, manifest) != named:
        yield Problem(MANIFEST, "it is not what the export's manifest names")
    sizes = dict(folder.names())
    for file in named.feed:
        if file.name not in sizes:
            yield Problem(file.name, "missing", remedy="new export")
        elif wrong := check_file(folder, file, lambda label_hash: True):
            yield Problem(file.name, wrong, remedy="new export")
    if last and read_listing(folder) is None:
        remedy: Remedy = "export" if frozen_in_listing(folder, spec_in(whole)) else "new export"
        header = read_header(folder, LISTED)
        yield Problem(header.rows_file if header else LISTED, "missing or damaged", remedy=remedy)


def _problems(target: Target) -> Iterator[Problem]:
    for name in target.leftovers():
        yield Problem(name, "left over from a run that was killed")
    manifest, problem = _manifest(target)
    if problem:
        yield problem
    header, damage = _plan(target)
    if damage:
        yield damage
    if header and header.ontology and read_ontology(target, header) is None:
        yield Problem(ONTOLOGY, "missing or damaged")
    commits: dict[int, Commit] = {}
    for part in _numbers(target, None if damage else header):
        commit, what = _commit(target, part, header)
        if commit:
            commits[part] = commit
        else:
            yield Problem(commit_name(part), what, part)
    if manifest:
        yield from _against_manifest(manifest, commits, header)
    yield from _unreferenced(target, commits)
    slices: Iterable[tuple[int, list[PlanRow] | None]] = ((part, None) for part in commits)
    if header and not damage:
        slices = plan_slices(target, header, commits)
    yield from _parts(target, commits, slices)


def _manifest(target: Target) -> tuple[Manifest | None, Problem | None]:
    try:
        manifest = read_manifest(target)
    except Unsound as error:
        return None, Problem(MANIFEST, error.message)
    return manifest, None if manifest else Problem(MANIFEST, "missing: the export is not finished")


def _plan(target: Target) -> tuple[PlanHeader | None, Problem | None]:
    header = read_header(target)
    if header is None:
        return None, Problem(PLAN, "missing" if target.read(PLAN) is None else "damaged")
    return header, None if intact(target, header) else Problem(header.rows_file, "missing or damaged")


def _commit(target: Target, part: int, header: PlanHeader | None) -> tuple[Commit | None, str]:
    data = target.read(commit_name(part))
    if data is None:
        return None, "missing: the part is not harvested"
    commit = parse_commit_record(data)
    if commit is None or commit.part != part:
        return None, "damaged"
    if header and (commit.plan != header.digest or part >= header.parts):
        return None, "it is of another plan"
    return commit, ""


def _numbers(target: Target, header: PlanHeader | None) -> list[int]:
    """Return the numbers of the parts in an undamaged plan, and of all commit records."""
    numbers = {part for name, _ in target.names(COMMITS) if (part := parse_commit(name)) is not None}
    return sorted(numbers.union(range(header.parts if header else 0)))


def _against_manifest(
    manifest: Manifest, commits: Mapping[int, Commit], header: PlanHeader | None
) -> Iterator[Problem]:
    if header and manifest.plan != header.digest:
        yield Problem(MANIFEST, "it is of another plan")
    elif header and manifest.ontology != header.ontology:
        yield Problem(MANIFEST, "its ontology is not the plan's")
    committed = {file.name: file for file in list_files(commits.values())}
    listed = {file.name: file for file in manifest.parts}
    if len(listed) < len(manifest.parts):
        yield Problem(MANIFEST, "it lists a file twice")
    for name in sorted(committed.keys() | listed.keys()):
        parsed = parse_part(name)
        part = parsed.part if parsed else None
        # A part of the plan without a commit record is reported already.
        in_plan = part in commits or header is None or part is None or part >= header.parts
        if in_plan and committed.get(name) != listed.get(name):
            yield Problem(name, "the manifest and the commit record differ", part)
    if header and len(commits) == header.parts:
        ordered = commits.values()
        if manifest.counts != count_rows(ordered):
            yield Problem(MANIFEST, "its row counts are not the sum of the parts'")
        if manifest.records != count_records(ordered, manifest.options.kinds):
            yield Problem(MANIFEST, "its record counts are not the sum of the parts'")
        if manifest.notes != count_notes(ordered):
            yield Problem(MANIFEST, "its counts of notes are not the sum of the parts'")


def _unreferenced(target: Target, commits: Mapping[int, Commit]) -> Iterator[Problem]:
    """Yield a problem for each file with the name of a part's file that no commit record names."""
    committed = {file.name for file in list_files(commits.values())}
    for name, _ in target.names():
        parsed = parse_part(name)
        if parsed and name not in committed:
            yield Problem(name, "no commit record names it", parsed.part)


def _parts(
    target: Target, commits: Mapping[int, Commit], slices: Iterable[tuple[int, list[PlanRow] | None]]
) -> Iterator[Problem]:
    sizes = dict(target.names())
    for part, rows in slices:
        commit = commits[part]
        failed = list[str]()
        # Failed rows are read first: all other rows of the part must have been harvested.
        for file in sorted(commit.files, key=lambda file: file.kind != FAILED):
            if file.name not in sizes:
                yield Problem(file.name, "missing", part)
                continue
            if sizes[file.name] != file.bytes:
                yield Problem(file.name, f"{sizes[file.name]:,} bytes, not {file.bytes:,}", part)
                continue
            if wrong := check_file(target, file, _expected(file.kind, rows, failed)):
                yield Problem(file.name, wrong, part)
        if rows is not None:
            for what in _wrong_outcomes(commit, rows, failed):
                yield Problem(commit_name(part), what, part)


def _expected(kind: str, rows: list[PlanRow] | None, failed: list[str]) -> Callable[[str], bool]:
    """Return a function that says whether a record with a label hash may be next in a file.

    For the file of failed rows, the function also appends the label hashes to `failed`.
    """
    if rows is None:
        return lambda label_hash: True
    asked = [row.label_hash or "" for row in rows if row.outcome is None]
    if kind == FAILED:
        left = set(asked)

        def takes(label_hash: str) -> bool:
            failed.append(label_hash)
            return label_hash in left

        return takes
    # `in` advances the iterator: records are in plan order, and a row may have none.
    lost = set(failed)
    following = iter([label_hash for label_hash in asked if label_hash not in lost])
    return lambda label_hash: label_hash in following


def _wrong_outcomes(commit: Commit, rows: list[PlanRow], failed: list[str]) -> Iterator[str]:
    """Yield what is wrong with the outcomes of a part's rows: their counts, and which rows were harvested."""
    lost = set(failed)
    harvested, ids = [row for row in rows if row.outcome is None and row.label_hash not in lost], IdDigest()
    ids.add(harvested)
    planned = Counter(row.outcome for row in rows)
    counts = {
        "harvested": len(harvested),
        "unlabelled": planned["unlabelled"],
        "filtered": planned["filtered"],
        "failed": len(failed),
    }
    for outcome, number in counts.items():
        if commit.rows.get(outcome, 0) != number:
            yield f"{commit.rows.get(outcome, 0):,} rows {outcome}, not {number:,} as the plan has it"
    if sum(counts.values()) != len(rows):
        yield f"{sum(counts.values()):,} rows accounted for, not {len(rows):,}"
    if ids.hexdigest() != commit.harvested_ids:
        yield "the rows harvested are not those of the plan"
