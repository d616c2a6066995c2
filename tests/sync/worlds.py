"""A simulated project in memory, served as a session serves it, and edited at random."""

import io
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, cast

from harvester.compaction import CompactSummary, compact_target
from harvester.encord.label_rows import options_for
from harvester.encord.listing import Spool
from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.events import Counters
from harvester.export import export
from harvester.filters import ServerSide, request_selection
from harvester.job import Job, Observer
from harvester.live import live_records
from harvester.output.compression import decompressed
from harvester.output.folders import FileSystem
from harvester.output.target import LocalTarget, Target, open_target
from harvester.settings import Format, Limits, Selection
from harvester.simulator.state import STAGES
from harvester.simulator.world import World, WorldSpec
from harvester.summary import Summary
from harvester.sync import SyncSummary, spec_of, sync
from tests.fakes import FakeProject

SMALL_PARTS = Format(rows_per_part=10)
LIMITS = Limits(bundle_size=5, concurrency=4)


class LiveWorld(FakeProject):
    """A project whose rows change."""

    def __init__(self, rows: int = 60, seed: int = 1, **spec: Any) -> None:
        super().__init__()
        self.world = World(WorldSpec(rows=rows, seed=seed, objects=1.0, **spec))
        self.changed: dict[str, dict[str, Any]] = {}  # by data hash: what the listing says otherwise
        self.more: list[dict[str, Any]] = []  # that is listed beside
        self.stale: set[str] = set()  # rows that come as they were before their last edit
        self.options = ServerSide()

    @property
    def project(self) -> ProjectInfo:
        """The project with its ontology as it is now."""
        ontology = json.dumps(self.world.ontology()).encode()
        return ProjectInfo(self.world.project_hash, "Small", "2024-01-01", ontology)

    def items(self) -> list[dict[str, Any]]:
        """The listing."""
        found = map(json.loads, self.world.listing({"include_all_label_branches": True}))
        return [item | self.changed.get(item["data_hash"], {}) for item in found]

    def stages(self, project: ProjectInfo) -> list[str]:
        return [title for title, _ in STAGES]

    def listing(self, project: ProjectInfo, selection: Selection, format: Format) -> Spool:
        items = [item for item in (*self.items(), *self.more) if _takes(selection, item)]
        return Spool(io.BytesIO(json.dumps({"status": 200, "response": items}).encode()), "")

    def label_rows(
        self, project: ProjectInfo, selection: Selection, format: Format, *, as_sent: bool = False
    ) -> Self:
        # One export or sync runs at a time.
        self.options = options_for(project, request_selection(selection, format))
        return self

    def row(self, label_hash: str) -> bytes | None:
        return self.world.label_row(
            label_hash,
            reviews=self.options.include_reviews,
            object_feature_hashes=self.options.include_object_feature_hashes,
            classification_feature_hashes=self.options.include_classification_feature_hashes,
            include_archived=self.options.include_archived,
            stale=label_hash in self.stale,
        )

    async def export(
        self,
        target: Path | str,
        *,
        selection: Selection = Selection(),
        format: Format = SMALL_PARTS,
        disk: FileSystem | None = None,
        **options: Any,
    ) -> Summary:
        job, observer = Job(self.project, selection, format, LIMITS), _observer(options)
        return await export(cast(Session, self), job, _opened(target, disk), observer, **options)

    async def sync(
        self, target: Path | str, *, disk: FileSystem | None = None, **options: Any
    ) -> SyncSummary:
        store, observer = _opened(target, disk), _observer(options)
        spec = spec_of(store, ())
        job = Job(self.project, spec.selection, spec.format, LIMITS)
        return await sync(cast(Session, self), job, store, observer, **options)

    async def compact(
        self, target: Path, *, disk: FileSystem | None = None, **options: Any
    ) -> CompactSummary:
        store, observer = LocalTarget(target, files=disk), _observer(options)
        return await compact_target(store, observer)

    # -- changes ------------------------------------------------------------------------------------

    def labels(self) -> list[str]:
        """The label hashes of all rows that have a label."""
        return [item["label_hash"] for item in self.items() if item.get("label_hash")]

    def change(self, label_hash: str, **fields: Any) -> None:
        """Has the listing say something else of a data unit: its stage, its title."""
        item = next(item for item in self.items() if item.get("label_hash") == label_hash)
        self.changed.setdefault(item["data_hash"], {}).update(fields)

    def move(self, label_hash: str, stage: str) -> None:
        """Moves a data unit to another stage of the workflow."""
        self.change(label_hash, workflow_graph_node={"uuid": stage, "title": stage})

    def change_at_random(self, dice: random.Random) -> None:
        """Some rows edited, removed, moved, renamed; some added, some labelled for the first time."""
        labels = self.labels()

        def some(most: int) -> list[str]:
            return dice.sample(labels, min(len(labels), dice.randint(0, most)))

        for label_hash in some(3):
            self.move(label_hash, dice.choice(["Annotate", "Review", "Complete"]))
        for label_hash in some(2):
            self.change(label_hash, data_title=f"renamed {dice.random()}")
        unlabelled = [item["data_hash"] for item in self.items() if not item.get("label_hash")]
        for data_hash in dice.sample(unlabelled, min(len(unlabelled), 2)):
            self.world.create(data_hash)
        edited = some(6)
        self.world.edit(rows=edited, removed=some(4), added=dice.randint(0, 5))
        self.broken = set(edited[:1])  # what is not edited is not asked for


def _opened(target: Path | str, disk: FileSystem | None) -> Target:
    """A directory on `disk`, or an address."""
    return open_target(target) if isinstance(target, str) else LocalTarget(target, files=disk)


def _observer(options: dict[str, Any]) -> Observer:
    """Takes what an observer has out of the options."""
    return Observer(
        options.pop("counters", None) or Counters(),
        options.pop("on_event", lambda event, fields: None),
        options.pop("stopping", None),
    )


def _takes(selection: Selection, item: dict[str, Any]) -> bool:
    wanted = selection.workflow_graph_node_title_eq
    return wanted is None or (item.get("workflow_graph_node") or {}).get("title") == wanted


def live(target: Path | str, **options: Any) -> list[str]:
    """All live records, in an order of their own."""
    return sorted(json.dumps(record, sort_keys=True) for record in live_records(target, **options))


def listing(target: Path) -> bytes:
    """What was listed last, as it stands on disk: that of the last sync, if there was one."""
    manifest = json.loads((target / "manifest.json").read_bytes())
    last = manifest["base"]["generation"] + len(manifest["generations"])
    folder = target / "generations" / f"{last:05}" if last else target
    return (folder / "listing.ndjson.zst").read_bytes()


def contents(target: Path) -> dict[str, bytes]:
    """The bytes of every file but for what varies from run to run."""
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    return {
        name: _steady(data) if name.endswith("manifest.json") else data
        for name, data in found.items()
        if "failed-" not in name
    }


def empty_folders(target: Path) -> list[str]:
    """The folders below a target that hold nothing."""
    folders = [path for path in target.rglob("*") if path.is_dir() and not any(path.iterdir())]
    return sorted(str(path.relative_to(target)) for path in folders)


def _steady(manifest: bytes) -> bytes:
    fields = json.loads(manifest)
    return json.dumps(
        {name: value for name, value in fields.items() if name not in ("run", "drift")}
    ).encode()


def feed(target: Path, generation: int) -> list[dict[str, Any]]:
    """The lines of a change feed."""
    (path,) = (target / "generations" / f"{generation:05}").glob("changes-00000.ndjson*")
    with decompressed(path.open("rb"), path.name) as lines:
        return [json.loads(line) for line in lines]


def whats(lines: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """What each line tells of which label row."""
    return sorted((line["change"], line["label_hash"]) for line in lines)
