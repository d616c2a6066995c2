"""Counts label rows by the fields of the listing and by outcome."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import msgspec

from harvester.errors import Unsound
from harvester.labels.wire import PlanRow
from harvester.output import planfile
from harvester.output.generations import last_listing, read_failed
from harvester.output.layout import FAILED, parse_part
from harvester.output.lines import read_as
from harvester.output.manifest import Manifest
from harvester.output.target import Target
from harvester.report.numbers import FailedSample, Failures, Outcomes
from harvester.report.tally import MOST_KEYS, NONE, REST, ranked

_SAMPLE = 100  # the most failed rows that a report names

_FIELDS: Mapping[str, Callable[[PlanRow], str | None]] = {
    "task_status": lambda row: row.task_status,
    "label_status": lambda row: row.label_status,
    "stage": lambda row: row.stage,
    "data_type": lambda row: row.data_type.lower(),
    "dataset": lambda row: row.dataset_title or row.dataset_hash,
}


class _ListedFailure(msgspec.Struct):
    label_hash: str | None = None
    data_title: str | None = None
    error: str | None = None
    message: str | None = None


class _OutcomeCounts:
    """Counts rows by the values of one listing field, and by outcome."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add(self, value: str | None, outcome: str) -> None:
        key = value or NONE
        if key not in self._counts and len(self._counts) >= MOST_KEYS:
            key = REST
        self._counts.setdefault(key, Counter())[outcome] += 1

    def outcomes(self) -> list[Outcomes]:
        names = ("harvested", "unlabelled", "filtered", "failed")
        counted = [
            Outcomes(value, counts.total(), *(counts[name] for name in names))
            for value, counts in self._counts.items()
        ]
        return sorted(counted, key=lambda row: (-row.listed, row.name))


def rows_by_field(target: Target, manifest: Manifest) -> dict[str, list[Outcomes]]:
    """Count the rows of the last listing by the values of each field, and by outcome.

    Raises:
        Unsound: the frozen listing is missing.
        CannotFinishNow: the frozen listing is damaged.
    """
    tallies = {field: _OutcomeCounts() for field in _FIELDS}
    for row, outcome in _outcomes(target, manifest):
        for field, value in _FIELDS.items():
            tallies[field].add(value(row), outcome)
    return {field: tally.outcomes() for field, tally in tallies.items()}


def failures(folder: Target, manifest: Manifest) -> Failures:
    """Count the failed rows of a generation. `manifest` is the generation's own one, in `folder`."""
    errors, first = Counter[str](), list[FailedSample]()
    for file in manifest.parts:
        if file.kind == FAILED:
            for row in _failed(folder, file.name):
                errors[row.error or NONE] += 1
                if len(first) < _SAMPLE:
                    told = (row.label_hash, row.data_title, row.error, row.message)
                    first.append(FailedSample(*(text or "" for text in told)))
    return Failures(ranked(errors.items()), first)


def _failed(folder: Target, name: str) -> Iterator[_ListedFailure]:
    return read_as(folder, name, _ListedFailure)


def _outcomes(target: Target, manifest: Manifest) -> Iterator[tuple[PlanRow, str]]:
    """Yield the rows of the last listing, each with its outcome."""
    folder, header = last_listing(target)
    if header is None or (not manifest.generations and header.digest != manifest.plan):
        raise Unsound("its frozen listing is missing, damaged, or of another export")
    if manifest.generations:
        # Both the rows and the failed label hashes are sorted by label hash, so they are merged.
        failed = read_failed(folder)
        following = next(failed, None)
        for row in planfile.rows(folder, header):
            while following is not None and following < (row.label_hash or ""):
                following = next(failed, None)
            yield row, row.outcome or ("failed" if row.label_hash == following else "harvested")
        return
    by_part = {
        parsed.part: file.name
        for file in manifest.parts
        if file.kind == FAILED and (parsed := parse_part(file.name))
    }
    for part, rows in planfile.slices(folder, header, range(header.parts)):
        lost = {row.label_hash for row in _failed(folder, by_part[part])} if part in by_part else set()
        for row in rows:
            yield row, row.outcome or ("failed" if row.label_hash in lost else "harvested")
