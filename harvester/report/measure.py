"""Computes the numbers of the report in one pass: over the frozen listing, then over the files of records."""

from collections.abc import Callable, Iterator
from functools import partial

from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.live import own_manifest, void_rows
from harvester.output.commit import KindCounts, PartFile
from harvester.output.generations import folder_of
from harvester.output.layout import MANIFEST, STATE
from harvester.output.lines import read_lines
from harvester.output.manifest import Manifest, read_manifest
from harvester.output.target import Target
from harvester.report.labels import ClassificationTally, LabelTally, ObjectTally
from harvester.report.numbers import HistoryEntry, Labels, Numbers
from harvester.report.outcomes import failures, rows_by_field
from harvester.settings import Selection

Generation = tuple[Target, Manifest]


def measure(target: Target) -> Numbers:
    """Return the numbers of a finished export, as of its last sync.

    Blocking. The memory that it needs does not grow with the number of records.

    Raises:
        BadInput: the target holds no export.
        Unsound: the export is not finished, or damaged.
        TargetRefused: the export has a newer format.
    """
    name = one_line(target.name)
    what = f"{MANIFEST}: "
    try:
        manifest = read_manifest(target)
        what = ""
        if manifest is not None:
            return _measured(target, manifest)
    except (CannotFinishNow, Unsound) as error:
        raise Unsound(f"{name} is damaged: {what}{error.message}; see harvester verify") from error
    if not target.names(STATE):
        raise BadInput(f"{name} holds no export")
    raise Unsound(f"{name}: the export is not finished; run it again, then report")


def _measured(target: Target, manifest: Manifest) -> Numbers:
    generations: list[Generation] = []
    for number in manifest.numbers:
        folder = folder_of(target, number)
        generations.append((folder, own_manifest(folder, manifest, number)))
        _check_sizes(*generations[-1])
    last = generations[-1][1]
    rows_by = rows_by_field(target, manifest)
    labels = _labels(target, manifest, generations)
    files = [file for _, own in generations for file in own.parts]
    return Numbers(
        target=target.name,
        project=manifest.project,
        harvester=manifest.harvester,
        digest=manifest.digest,
        syncs=len(manifest.generations),
        history=_history(manifest, generations),
        selection=_chosen(manifest.selection),
        files=len(files),
        bytes=sum(file.bytes for file in files),
        rows=manifest.generations[-1].counts if manifest.generations else manifest.counts,
        rows_by=rows_by,
        records=_records(generations),
        objects=labels.get("objects"),
        classifications=labels.get("classifications"),
        failures=failures(*generations[-1]),
        drift=last.drift,
        run=last.run,
    )


def _history(manifest: Manifest, generations: list[Generation]) -> list[HistoryEntry]:
    changes = [{}, *(synced.changes for synced in manifest.generations)]
    return [
        HistoryEntry(number, own.run.get("ended_at"), changed)
        for number, (_, own), changed in zip(manifest.numbers, generations, changes, strict=True)
    ]


def _labels(target: Target, manifest: Manifest, generations: list[Generation]) -> dict[str, Labels]:
    """Return the statistics of the live records by kind."""
    tallies: dict[str, LabelTally] = {"objects": ObjectTally(), "classifications": ClassificationTally()}
    emit: tuple[str, ...] = manifest.options.kinds
    wanted = {kind: tally for kind, tally in tallies.items() if kind in emit}
    with void_rows(target, manifest) as void:
        for number, (folder, own) in zip(manifest.numbers, generations, strict=True):
            is_void = partial(void.holds, generation=number) if manifest.generations else None
            for file in own.parts:
                if (tally := wanted.get(file.kind)) is not None:
                    _read(folder, file, partial(tally.read, is_void=is_void))
    return {kind: tally.labels() for kind, tally in wanted.items()}


def _check_sizes(folder: Target, manifest: Manifest) -> None:
    sizes = dict(folder.names())
    for file in manifest.parts:
        if sizes.get(file.name) != file.bytes:
            raise Unsound(f"{file.name} is missing or cut off")


def _read(folder: Target, file: PartFile, read: Callable[[Iterator[bytes]], int]) -> None:
    """Call `read` with the lines of a file. Raises Unsound if the file is damaged."""
    try:
        records = read(read_lines(folder, file.name))
    except (ValueError, RecursionError) as error:
        raise Unsound(f"{file.name} holds a line that is no record") from error
    if records != file.records:
        raise Unsound(f"{file.name} has {records:,} lines, not {file.records:,}")


def _records(generations: list[Generation]) -> dict[str, KindCounts]:
    """Return the record counts by kind: the sum over the export and all its syncs."""
    sums: dict[str, KindCounts] = {}
    for _, own in generations:
        for kind, counts in own.records.items():
            sums.setdefault(kind, KindCounts()).add(counts)
    return sums


def _chosen(selection: Selection) -> dict[str, object]:
    """Return the fields of `selection` that are not at their defaults."""
    default = Selection()
    return {
        field: value
        for field in selection.__struct_fields__
        if (value := getattr(selection, field)) != getattr(default, field)
    }
