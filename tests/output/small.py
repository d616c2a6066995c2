"""A small export without a server: what export.py does with the target, and nothing else."""

import json
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import msgspec

from harvester.fetch.pool import FailedRow
from harvester.labels.wire import PlanRow
from harvester.output import planfile
from harvester.output.commit import Commit, IdDigest, KindCounts, write_commit
from harvester.output.export_spec import ExportSpec, Project
from harvester.output.listing_file import mend_listing, write_listing
from harvester.output.manifest import Manifest, build_manifest, list_files, write_manifest
from harvester.output.ndjson import PartWriter
from harvester.output.planfile import PlanHeader
from harvester.output.repair import repair
from harvester.output.target import Target
from harvester.schema import OBJECT_KEYS
from harvester.settings import Format, Selection

ONTOLOGY = b'{"objects": [], "classifications": []}'
PURPOSE = ExportSpec(
    project=Project("project-hash", "Streets"),
    selection=Selection(shapes=("polygon",)),
    format=Format(emit=("objects", "rows"), rows_per_part=3),
)


def plan(rows: int = 8) -> Iterator[PlanRow]:
    """Every fourth row is unlabelled, the sixth is filtered, the third is going to fail."""
    for i in range(rows):
        unlabelled, filtered = i % 4 == 3, i == 5
        yield PlanRow(
            dataset_hash="dataset",
            data_title=f"../title {i}",
            label_hash=None if unlabelled else f"label-{i}",
            branch_name="main",
            data_hash=f"data-{i}",
            outcome="unlabelled" if unlabelled else "filtered" if filtered else None,
        )


def plan_lines(rows: int = 8) -> Iterator[bytes]:
    """The same rows as they are frozen."""
    return map(msgspec.json.encode, plan(rows))


def object_lines(row: PlanRow) -> list[bytes]:
    """Two records, or none: the fifth row has no objects."""
    if row.label_hash == "label-4":
        return []
    record = dict.fromkeys(OBJECT_KEYS, None) | {"kind": "object", "label_hash": row.label_hash}
    record |= {"object": {"value": "x"}, "attributes": [], "dynamic_attributes": []}
    return [json.dumps(record | {"frame": frame}).encode() + b"\n" for frame in range(2)]


def row_line(row: PlanRow) -> bytes:
    """The row as a record of its own."""
    record = {"kind": "row", "metadata": {}, "row": {"label_hash": row.label_hash}}
    return json.dumps(record).encode() + b"\n"


def harvest(target: Target, header: PlanHeader, part: int, rows: list[PlanRow]) -> None:
    """Writes and commits one part."""
    writer = PartWriter(target, part, header.format.compress)
    write_commit(target, written(writer, header, part, rows))


def written(
    writer: PartWriter,
    header: PlanHeader,
    part: int,
    rows: Iterable[PlanRow],
    failing: Container[str] = ("label-2",),
) -> Commit:
    """Writes rows of a part; its commit record."""
    rows, ids = list(rows), IdDigest()
    objects = harvested = failed = 0
    try:
        for row in rows:
            if row.outcome is not None or row.label_hash is None:
                continue
            if row.label_hash in failing:
                failed += 1
                writer.fail(FailedRow(row.label_hash, row.branch_name, row.data_title, "gone", "deleted", 1))
                continue
            harvested += 1
            ids.add([row])
            if lines := object_lines(row):
                writer.write("objects", lines, len(lines), 1)
                objects += len(lines)
            writer.write("rows", [row_line(row)], 1, 1)
        files = writer.close()
    except BaseException:
        writer.discard()
        raise
    return Commit(
        part=part,
        plan=header.digest,
        rows={
            "harvested": harvested,
            "unlabelled": sum(row.outcome == "unlabelled" for row in rows),
            "filtered": sum(row.outcome == "filtered" for row in rows),
            "failed": failed,
        },
        harvested_ids=ids.hexdigest(),
        records={
            "objects": KindCounts(objects + 1, objects, {"shapes": 1}),
            "rows": KindCounts(harvested, harvested),
        },
        files=files,
    )


def export(target: Target, spec: ExportSpec = PURPOSE, rows: int = 8, ontology: bytes = ONTOLOGY) -> Manifest:
    """Begins, goes on with, repairs or leaves alone, as the target needs it."""
    target.ensure()
    with target.lock():
        target.sweep()
        found = planfile.take_up(target, spec, ontology)
        header = found.header or planfile.freeze(
            target, plan_lines(rows), spec, found.ontology, known=found.known
        )
        resume_state = repair(target, header)
        if resume_state.manifest:
            return mend_listing(target, resume_state.manifest, header)
        left = set(range(header.parts)) - resume_state.commits.keys()
        for part, slice_ in planfile.slices(target, header, left):
            harvest(target, header, part, slice_)
        commits = repair(target, header).commits
        listing = write_listing(target, planfile.lines(target, header), list_files(commits.values()))
        manifest = build_manifest(
            header, commits, harvester="0", sdk="0", drift=None, run={}, listing=listing
        )
        write_manifest(target, manifest)
        return manifest


def contents(path: Path) -> dict[str, bytes]:
    """All files below `path`, by their path."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
