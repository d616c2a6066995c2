"""One pass over an export: its frozen plan, then every file of records that its manifest lists."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import msgspec

from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.labels.wire import PlanRow
from harvester.output.commit import PartFile
from harvester.output.layout import FAILED, PLAN, STATE, parse_part
from harvester.output.manifest import Manifest, read_manifest
from harvester.output.planfile import read_header, slices
from harvester.output.target import Target
from harvester.report.labels import ClassificationTally, ObjectTally
from harvester.report.numbers import FailedSample, Failures, Labels, Numbers, Outcomes
from harvester.report.tally import MOST_KEYS, NONE, REST, ranked
from harvester.settings import Selection

_PIECE = 1024**2  # bytes of lines read at once
_SAMPLE = 100  # failed rows that are named

_FIELDS: Mapping[str, Callable[[PlanRow], str | None]] = {
    "task_status": lambda row: row.task_status,
    "label_status": lambda row: row.label_status,
    "stage": lambda row: row.stage,
    "data_type": lambda row: row.data_type.lower(),
    "dataset": lambda row: row.dataset_title or row.dataset_hash,
}


class _FailedRow(msgspec.Struct):
    label_hash: str | None = None
    data_title: str | None = None
    error: str | None = None
    message: str | None = None


def measure(target: Target) -> Numbers:
    """The numbers of a finished export. Blocking; one part's rows in memory, and one line.

    Raises:
        BadInput: there is no export.
        Unsound: the export is not finished, or damaged.
        TargetRefused: it is of a newer format.
    """
    name = one_line(target.name)
    try:
        manifest = read_manifest(target)
    except Unsound as error:
        raise _damaged(name, f"manifest.json {error.message}") from error
    if manifest is None:
        if not target.names(STATE):
            raise BadInput(f"{name} holds no export")
        raise Unsound(f"{name}: the export is not finished; run it again, then report")
    try:
        return _measured(target, manifest)
    except (CannotFinishNow, Unsound) as error:
        raise _damaged(name, error.message) from error


def _damaged(name: str, what: str) -> Unsound:
    return Unsound(f"{name} is damaged: {what}; run its export again to repair it")


def _measured(target: Target, manifest: Manifest) -> Numbers:
    _check_sizes(target, manifest)
    failures, rows_by = _rows(target, manifest)
    found: dict[str, Labels] = {}
    tallies: dict[str, ObjectTally | ClassificationTally] = {
        "objects": ObjectTally(),
        "classifications": ClassificationTally(),
    }
    for kind, tally in tallies.items():
        if kind in manifest.options.emit:
            for file in manifest.parts:
                if file.kind == kind:
                    _read(target, file, tally.read)
            found[kind] = tally.labels()
    return Numbers(
        target=target.name,
        project=manifest.project,
        harvester=manifest.harvester,
        digest=manifest.digest,
        selection=_chosen(manifest.selection),
        files=len(manifest.parts),
        bytes=sum(file.bytes for file in manifest.parts),
        rows=manifest.counts,
        rows_by=rows_by,
        records=manifest.records,
        objects=found.get("objects"),
        classifications=found.get("classifications"),
        failures=failures,
        drift=manifest.drift,
        run=manifest.run,
    )


def _check_sizes(target: Target, manifest: Manifest) -> None:
    sizes = dict(target.names())
    for file in manifest.parts:
        if sizes.get(file.name) != file.bytes:
            raise Unsound(f"{file.name} is missing or cut off")


def _lines(target: Target, file: PartFile) -> Iterator[bytes]:
    with target.open(file.name) as stream:
        while lines := stream.readlines(_PIECE):
            yield from lines


def _read(target: Target, file: PartFile, read: Callable[[Iterator[bytes]], int]) -> None:
    """Has a file's lines read. Raises Unsound where they are not as they were written."""
    try:
        records = read(_lines(target, file))
    except (ValueError, RecursionError) as error:
        raise Unsound(f"{file.name} holds a line that is no record") from error
    if records != file.records:
        raise Unsound(f"{file.name} has {records:,} lines, not {file.records:,}")


class _RowTally:
    """Rows by the values of one listing field, and by outcome."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add(self, value: str | None, outcome: str) -> None:
        key = value or NONE
        if key not in self._counts and len(self._counts) >= MOST_KEYS:
            key = REST
        self._counts.setdefault(key, Counter())[outcome] += 1

    def outcomes(self) -> list[Outcomes]:
        counted = [
            Outcomes(
                value, counts.total(), counts["harvested"], counts["unlabelled"], counts["filtered"],
                counts["failed"],
            )
            for value, counts in self._counts.items()
        ]  # fmt: skip
        return sorted(counted, key=lambda row: (-row.listed, row.name))


def _rows(target: Target, manifest: Manifest) -> tuple[Failures, dict[str, list[Outcomes]]]:
    """Failed rows, and the plan's rows by what the listing says of them."""
    header = read_header(target)
    if header is None or header.digest != manifest.plan:
        raise Unsound(f"{PLAN} is missing, or of another export")
    by_part = {
        parsed.part: file
        for file in manifest.parts
        if file.kind == FAILED and (parsed := parse_part(file.name))
    }
    errors, first = Counter[str](), list[FailedSample]()
    tallies = {field: _RowTally() for field in _FIELDS}
    for part, rows in slices(target, header, range(header.parts)):
        lost = set[str | None]()

        def fail(lines: Iterator[bytes], lost: set[str | None] = lost) -> int:
            for line in lines:
                row = msgspec.json.decode(line, type=_FailedRow)
                lost.add(row.label_hash)
                errors[row.error or NONE] += 1
                if len(first) < _SAMPLE:
                    first.append(
                        FailedSample(
                            row.label_hash or "", row.data_title or "", row.error or "", row.message or ""
                        )
                    )
            return len(lost)

        if part in by_part:
            _read(target, by_part[part], fail)
        for row in rows:
            outcome = row.outcome or ("failed" if row.label_hash in lost else "harvested")
            for field, value in _FIELDS.items():
                tallies[field].add(value(row), outcome)
    by_field = {field: tally.outcomes() for field, tally in tallies.items()}
    return Failures(ranked(errors.items()), first), by_field


def _chosen(selection: Selection) -> dict[str, object]:
    """The fields of `selection` that choose something."""
    default = Selection()
    return {
        field: value
        for field in selection.__struct_fields__
        if (value := getattr(selection, field)) != getattr(default, field)
    }
