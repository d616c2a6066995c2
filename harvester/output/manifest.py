"""The manifest of an export. It is written last: where it exists, the export is finished."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypedDict, cast

import msgspec

from harvester.errors import Unsound
from harvester.events import one_line
from harvester.output.canonical import check_keys, convert, digest, indented, parse_object
from harvester.output.commit import Commit, KindCounts, PartFile
from harvester.output.export_spec import Project
from harvester.output.layout import FAILED, FORMAT, MANIFEST, NOTES
from harvester.output.planfile import PlainFile, PlanHeader
from harvester.output.target import Target
from harvester.plan.drift import Drift
from harvester.schema import KINDS, OUTCOMES, Count
from harvester.settings import Format, Selection

_COUNTED = ("listed", *OUTCOMES)
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e10)]


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one sync, see `harvester.output.generations`.

    `counts` are the rows of the whole export after this sync, as in `Manifest.counts`. `feed` is the file of
    the change feed (none if it has no lines), `changes` counts its lines by kind of change. `harvester` is
    the version that wrote the generation, `ontology` the file of its ontology. `kept_names` is true if the
    ontology had changed and records made with the earlier one were kept. `manifest` is the digest of the
    generation's own manifest.
    """

    number: Count
    counts: dict[str, Count]
    changes: dict[str, Count]
    feed: list[PartFile]
    harvester: str
    ontology: PlainFile | None
    kept_names: bool = False
    manifest: str

    def __post_init__(self) -> None:
        check_keys("counts", self.counts, _COUNTED, all_of_them=True)


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """Generations that a compaction has replaced, `first` to `last`. `harvester` is the version of them."""

    first: Count
    last: Count
    harvester: str


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The generation at which readers begin. Number 0 is the export itself, if it was never compacted.

    `former` are the generations that it replaces. `kept_names` is true if some of their records were made
    with an ontology that is not the base's.
    """

    generation: Count = 0
    former: list[Former] = []
    kept_names: bool = False


class ListingFile(PlainFile, frozen=True, kw_only=True):
    """The file of the listing, see `harvester.output.listing_file`. `rows` is its number of lines."""

    rows: Count


class RunFacts(TypedDict, total=False):
    """Facts about the run that finished an export. Another version may write fewer of them.

    `ended_at` is an ISO 8601 time in UTC. `pace` holds points of (seconds since the start, rows harvested by
    then).
    """

    ended_at: str
    seconds: Seconds
    resumed: bool
    harvested: Count
    requests: Count
    refused: Count
    retries: Count
    wire_bytes: Count
    body_bytes: Count
    pace: list[tuple[Seconds, Count]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of an export.

    `format` is the version of the file formats. `plan` is the digest of the frozen plan, `ontology` the file
    of the project's ontology at that time (None if it was not available). `counts` are label rows: ``listed``
    = ``harvested + unlabelled + filtered + failed``. `notes` counts the notes about harvested rows by kind.
    `parts` are in plan order. `drift` is None if the project was not listed again after the harvest.
    `base` is the generation that all these fields describe, and whose folder has the files: the export
    itself, or a compacted generation. `generations` are the syncs since then; the other fields stay as they
    were written with the base.

    `digest` is equal for every run with the same result. It therefore leaves out what differs between such
    runs: `run` (times, requests), the files of failed rows (attempts, trace ids), `notes` (a row may be
    stale in one run and not in the next) and `listing` (it says which rows failed).
    """

    format: int
    harvester: str
    sdk: str
    project: Project
    selection: Selection
    options: Format
    plan: str
    ontology: PlainFile | None
    counts: dict[str, Count]
    records: dict[str, KindCounts]
    notes: dict[str, Count]
    drift: Drift | None
    parts: list[PartFile]
    listing: ListingFile | None
    run: RunFacts
    base: Base = Base()
    generations: list[Generation] = []
    digest: str = ""

    def __post_init__(self) -> None:
        check_keys("counts", self.counts, _COUNTED, all_of_them=True)
        check_keys("records", self.records, KINDS)
        if [one.number for one in self.generations] != list(self.numbers)[1:]:
            raise ValueError("the generations are not numbered from the base on without a gap")

    @property
    def last(self) -> int:
        """The number of the last generation."""
        return self.base.generation + len(self.generations)

    @property
    def numbers(self) -> range:
        """The numbers of all generations that count, from the base on."""
        return range(self.base.generation, self.last + 1)

    def generation(self, number: int) -> Generation | None:
        """Return the entry of a generation, None for the base."""
        return self.generations[number - self.base.generation - 1] if number > self.base.generation else None


def build_manifest(
    plan: PlanHeader,
    commits: Mapping[int, Commit],
    *,
    harvester: str,
    sdk: str,
    drift: Drift | None,
    run: Mapping[str, Any],
    listing: ListingFile | None = None,
) -> Manifest:
    """Return the manifest of an export whose parts are all committed. `harvester` and `sdk` are versions."""
    ordered = [commits[part] for part in range(plan.parts)]
    manifest = Manifest(
        format=FORMAT,
        harvester=harvester,
        sdk=sdk,
        project=plan.project,
        selection=plan.selection,
        options=plan.format,
        plan=plan.digest,
        ontology=plan.ontology,
        counts=count_rows(ordered),
        records=count_records(ordered, plan.format.kinds),
        notes=count_notes(ordered),
        drift=drift,
        parts=list_files(ordered),
        listing=listing,
        run=cast(RunFacts, dict(run)),
    )
    return _sealed(manifest)


def with_listing(manifest: Manifest, listing: ListingFile) -> Manifest:
    """Return the manifest with another file of the listing."""
    return _sealed(msgspec.structs.replace(manifest, listing=listing))


def with_generations(manifest: Manifest, generations: Iterable[Generation]) -> Manifest:
    """Return the manifest with these generations."""
    return _sealed(msgspec.structs.replace(manifest, generations=list(generations)))


def with_base(manifest: Manifest, base: Base) -> Manifest:
    """Return the manifest as that of a compacted generation."""
    return _sealed(msgspec.structs.replace(manifest, base=base))


def count_rows(commits: Iterable[Commit]) -> dict[str, int]:
    """Return the number of rows by outcome, summed over parts; ``listed`` is the sum of all outcomes."""
    counts = dict.fromkeys(("listed", *OUTCOMES), 0)
    for commit in commits:
        for outcome, number in commit.rows.items():
            counts[outcome] += number
            counts["listed"] += number
    return counts


def count_records(commits: Iterable[Commit], emit: Iterable[str]) -> dict[str, KindCounts]:
    """Return the record counts by kind, summed over parts, in alphabetical order.

    Every kind in `emit` has an entry, even if no part has a record of it.
    """
    records = {kind: KindCounts() for kind in sorted(emit)}
    for commit in commits:
        for kind, counts in commit.records.items():
            records.setdefault(kind, KindCounts()).add(counts)
    for counts in records.values():
        counts.dropped = dict(sorted(counts.dropped.items()))
    return records


def count_notes(commits: Iterable[Commit]) -> dict[str, int]:
    """Return the number of notes by kind, summed over parts."""
    notes = dict[str, int]()
    for commit in commits:
        for note, number in commit.notes.items():
            notes[note] = notes.get(note, 0) + number
    return dict(sorted(notes.items()))


def list_files(commits: Iterable[Commit]) -> list[PartFile]:
    """Return all files, sorted by part, then by name."""
    return [file for commit in commits for file in sorted(commit.files, key=lambda file: file.name)]


def manifest_digest(fields: Mapping[str, Any]) -> str:
    """Return `Manifest.digest` for the `fields` of a manifest file."""
    steady = [file for file in fields["parts"] if file["kind"] not in (FAILED, NOTES)]
    return digest({**fields, "parts": steady}, without=("run", "notes", "listing", "digest"))


def _sealed(manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(manifest, digest=manifest_digest(msgspec.to_builtins(manifest)))


def write_manifest(target: Target, manifest: Manifest) -> None:
    """Write the manifest, which finishes the export."""
    target.put(MANIFEST, indented(manifest))


def read_manifest(target: Target) -> Manifest | None:
    """Return the manifest, or None if the export is not finished.

    Raises:
        Unsound: the manifest is damaged.
    """
    data = target.read(MANIFEST)
    if data is None:
        return None
    try:
        fields = parse_object(data)
        manifest = convert(fields, Manifest)
    except ValueError as error:
        raise Unsound(f"cannot be read: {error}") from error
    if manifest.digest != manifest_digest(fields):
        raise Unsound("its digest does not fit what it says")
    return manifest


def named_manifest(target: Target) -> Manifest | None:
    """Return the manifest, as `read_manifest` does. Raises Unsound with its name and what to do."""
    try:
        return read_manifest(target)
    except Unsound as error:
        what = f"{target.name}: {MANIFEST} is damaged, and {error.message}: see harvester verify"
        raise Unsound(one_line(what)) from error
