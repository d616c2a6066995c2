"""The manifest: written last, and all that a reader of an export trusts."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harvester.errors import Unsound
from harvester.output.canonical import digest, indented, parse_object
from harvester.output.commit import Commit, KindCounts, PartFile
from harvester.output.layout import FAILED, FORMAT, MANIFEST, NOTES
from harvester.output.planfile import PlainFile, PlanHeader
from harvester.output.purpose import Project
from harvester.output.target import Target
from harvester.plan.drift import Drift
from harvester.settings import Format, Selection

OUTCOMES = ("harvested", "unlabelled", "filtered", "failed")


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What one sync brought: see `harvester.output.generations`.

    `counts` are the rows of the whole export as of then, as in `Manifest.counts`; `changes` counts the
    lines of the change `feed` by what they tell. `harvester` is the version that wrote it, `ontology` the
    file of its ontology. `kept_names`: the ontology had changed, and records stay that were made with an
    earlier one. `manifest` is the digest of the generation's own one.
    """

    number: int
    counts: dict[str, int]
    changes: dict[str, int]
    feed: list[PartFile]
    harvester: str
    ontology: PlainFile | None
    kept_names: bool = False
    manifest: str


class ListingFile(PlainFile, frozen=True, kw_only=True):
    """The file of the listing: see `harvester.output.listing_file`. `rows` counts its lines."""

    rows: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds.

    `format` is the version of the target's format, `plan` the digest of the frozen plan, `ontology` the
    file of the project's ontology as it was then, None where it was not at hand. `counts` are rows:
    ``listed`` = ``harvested + unlabelled + filtered + failed``. `notes` counts by kind what is to be known
    of rows that were harvested. `parts` stand in the order of the plan. `drift` is None where nobody looked.
    `generations` are the syncs since: all else is as the export left it. `digest` is the same for every run
    that brings the same; it leaves out `run` (times, requests), the files of failed rows (attempts, trace
    ids), `notes` (a row may be stale when one asks, and not later) and `listing` (it says which rows failed).
    """

    format: int
    harvester: str
    sdk: str
    project: Project
    selection: Selection
    options: Format
    plan: str
    ontology: PlainFile | None
    counts: dict[str, int]
    records: dict[str, KindCounts]
    notes: dict[str, int]
    drift: Drift | None
    parts: list[PartFile]
    listing: ListingFile | None
    run: dict[str, Any]
    generations: list[Generation] = []
    digest: str = ""


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
    """The manifest of an export whose parts are all committed. `harvester` and `sdk` are versions."""
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
        run=dict(run),
    )
    return _sealed(manifest)


def with_listing(manifest: Manifest, listing: ListingFile) -> Manifest:
    """The manifest of the same export, whose listing has been written anew."""
    return _sealed(msgspec.structs.replace(manifest, listing=listing))


def with_generations(manifest: Manifest, generations: Iterable[Generation]) -> Manifest:
    """The manifest of the same export, brought up to date by these."""
    return _sealed(msgspec.structs.replace(manifest, generations=list(generations)))


def count_rows(commits: Iterable[Commit]) -> dict[str, int]:
    """Rows by outcome, summed over parts; ``listed`` is their sum."""
    counts = dict.fromkeys(("listed", *OUTCOMES), 0)
    for commit in commits:
        for outcome, number in commit.rows.items():
            counts[outcome] += number
            counts["listed"] += number
    return counts


def count_records(commits: Iterable[Commit], emit: Iterable[str]) -> dict[str, KindCounts]:
    """Records by kind, summed over parts; every kind that is emitted is there, in alphabetical order."""
    records = {kind: KindCounts() for kind in sorted(emit)}
    for commit in commits:
        for kind, counts in commit.records.items():
            records.setdefault(kind, KindCounts()).add(counts)
    for counts in records.values():
        counts.dropped = dict(sorted(counts.dropped.items()))
    return records


def count_notes(commits: Iterable[Commit]) -> dict[str, int]:
    """Notes by what they note, summed over parts."""
    notes = dict[str, int]()
    for commit in commits:
        for note, number in commit.notes.items():
            notes[note] = notes.get(note, 0) + number
    return dict(sorted(notes.items()))


def list_files(commits: Iterable[Commit]) -> list[PartFile]:
    """All files, by part, then by name."""
    return [file for commit in commits for file in sorted(commit.files, key=lambda file: file.name)]


def manifest_digest(fields: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of what does not vary from run to run. `fields` as in the file."""
    steady = [file for file in fields["parts"] if file["kind"] not in (FAILED, NOTES)]
    return digest({**fields, "parts": steady}, without=("run", "notes", "listing", "digest"))


def _sealed(manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(manifest, digest=manifest_digest(msgspec.to_builtins(manifest)))


def write_manifest(target: Target, manifest: Manifest) -> None:
    """Ends the export."""
    target.put(MANIFEST, indented(manifest))


def read_manifest(target: Target) -> Manifest | None:
    """The manifest; None where the export has not ended.

    Raises:
        Unsound: it is there, but not as it was written.
    """
    data = target.read(MANIFEST)
    if data is None:
        return None
    try:
        fields = parse_object(data)
        manifest = msgspec.convert(fields, Manifest)
    except (ValueError, msgspec.ValidationError) as error:
        raise Unsound(f"cannot be read: {error}") from error
    if manifest.digest != manifest_digest(fields):
        raise Unsound("its digest does not fit what it says")
    return manifest
