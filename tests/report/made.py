"""A finished export of records that a test makes up, without a server."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harvester.fetch.pool import FailedRow
from harvester.labels.wire import PlanRow
from harvester.output import planfile
from harvester.output.commit import Commit, IdDigest, KindCounts, write_commit
from harvester.output.export_spec import ExportSpec, Project
from harvester.output.manifest import build_manifest, write_manifest
from harvester.output.ndjson import PartWriter
from harvester.output.target import LocalTarget
from harvester.settings import Format, Selection


def row(number: int = 0, **fields: Any) -> PlanRow:
    """A row of the plan, to be harvested unless `fields` say otherwise."""
    known = {"dataset_hash": "dataset", "data_title": f"title {number}", "branch_name": "main"}
    return PlanRow(**known | {"label_hash": f"label-{number}", "data_hash": f"data-{number}"} | fields)


def object_record(number: int = 0, frame: int | None = 0, **sent: Any) -> dict[str, Any]:
    """An object record of that row. `attributes` go into the record, all else into the object."""
    attributes = sent.pop("attributes", [])
    known = {"kind": "object", "label_hash": f"label-{number}", "data_type": "video", "unit_hash": "unit"}
    return known | {"space_id": None, "frame": frame, "object": sent, "attributes": attributes}


def classification_record(number: int = 0, answers: Any = (), **sent: Any) -> dict[str, Any]:
    """A classification record of that row."""
    known = {"kind": "classification", "label_hash": f"label-{number}", "data_type": "video"}
    return known | {"frame": None, "classification": sent, "answers": list(answers)}


def made(
    path: Path,
    rows: Iterable[PlanRow],
    *,
    objects: Iterable[Any] = (),
    classifications: Iterable[Any] = (),
    failed: Iterable[str] = (),
    title: str = "Streets",
    selection: Selection = Selection(),
    dropped: dict[str, int] | None = None,
    run: dict[str, Any] | None = None,
) -> LocalTarget:
    """An export in `path` of one part; a record is a value, or bytes as they go into the file."""
    target, rows, lost = LocalTarget(path), list(rows), set(failed)
    target.ensure()
    header = planfile.freeze(
        target,
        map(msgspec.json.encode, rows),
        ExportSpec(project=Project("project-hash", title), selection=selection, format=Format()),
    )
    writer, counts = PartWriter(target, 0), {}
    for kind, records in (("objects", objects), ("classifications", classifications)):
        written = 0
        for record in records:
            line = record if isinstance(record, bytes) else json.dumps(record).encode()
            writer.write(kind, [line + b"\n"], 1, 1)
            written += 1
        lose = (dropped or {}) if kind == "objects" else {}
        counts[kind] = KindCounts(written + sum(lose.values()), written, lose)
    asked = [row for row in rows if row.outcome is None]
    for planned in asked:
        if planned.label_hash in lost:
            writer.fail(
                FailedRow(
                    planned.label_hash, planned.branch_name, planned.data_title, "gone", "it is gone", 6
                )
            )
    commit = Commit(
        part=0,
        plan=header.digest,
        rows={
            "harvested": len(asked) - len(lost),
            "unlabelled": sum(row.outcome == "unlabelled" for row in rows),
            "filtered": sum(row.outcome == "filtered" for row in rows),
            "failed": len(lost),
        },
        harvested_ids=IdDigest().hexdigest(),
        records=counts,
        files=writer.close(),
    )
    write_commit(target, commit)
    manifest = build_manifest(header, {0: commit}, harvester="0", sdk="0", drift=None, run=run or {})
    write_manifest(target, manifest)
    return target
