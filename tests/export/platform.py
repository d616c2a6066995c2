"""A platform in memory: what an export needs of a session, to be edited and broken at will."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio

from harvester.encord.listing import Spool
from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.events import Counters
from harvester.export import export
from harvester.job import Job, Observer, OnEvent
from harvester.output.folders import FileSystem
from harvester.output.target import LocalTarget
from harvester.settings import Format, Limits, Selection
from harvester.summary import Summary
from tests.fakes import FakeProject

PROJECT = ProjectInfo("project-hash", "Small project", "2024-01-01", None)
SMALL_PARTS = Format(rows_per_part=10)


class Platform(FakeProject):
    """A project of image rows with one box each; every fifth has no label."""

    def __init__(self, rows: int = 50) -> None:
        super().__init__()
        self.edited = {f"data-{i:04}": "2024-01-01" for i in range(rows)}
        self.listings = 0
        self.spooled: Callable[[bytes], io.BytesIO] = io.BytesIO

    def item(self, data_hash: str) -> dict[str, Any]:
        number = int(data_hash[-4:])
        return {
            "data_hash": data_hash,
            "dataset_hash": "dataset",
            "dataset_title": "Dataset",
            "data_title": f"{data_hash}.jpg",
            "data_type": "IMAGE",
            "label_hash": None if number % 5 == 4 else f"label-{number:04}",
            "branch_name": "main",
            "last_edited_at": self.edited[data_hash],
        }

    def listing(self, project: ProjectInfo, selection: Selection, format: Format) -> Spool:
        self.listings += 1
        items = [self.item(data) for data in sorted(self.edited, reverse=True)]
        return Spool(self.spooled(json.dumps({"status": 200, "response": items}).encode()), "")

    def row(self, label_hash: str) -> bytes:
        data = f"data-{label_hash[-4:]}"
        box = {"objectHash": "o", "name": "Car", "shape": "bounding_box", "edited": self.edited[data]}
        unit = {
            "data_hash": data,
            "data_title": f"{data}.jpg",
            "labels": {"objects": [box], "classifications": []},
        }
        row = {"label_hash": label_hash, "data_hash": data, "data_type": "image", "data_units": {data: unit}}
        return json.dumps(row).encode()

    async def export(
        self,
        target: Path,
        *,
        selection: Selection = Selection(),
        format: Format = SMALL_PARTS,
        limits: Limits = Limits(bundle_size=5),
        counters: Counters | None = None,
        on_event: OnEvent = lambda event, fields: None,
        stopping: anyio.Event | None = None,
        disk: FileSystem | None = None,
        **options: Any,
    ) -> Summary:
        job = Job(PROJECT, selection, format, limits)
        observer = Observer(counters or Counters(), on_event, stopping)
        return await export(cast(Session, self), job, LocalTarget(target, files=disk), observer, **options)


def files(target: Path) -> dict[str, bytes]:
    """The bytes of every part by name."""
    return {path.name: path.read_bytes() for path in sorted(target.glob("*.ndjson"))}


def contents(target: Path) -> dict[Path, bytes]:
    """The bytes of all files there are, the state's too."""
    return {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}


def manifest(target: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    return found
