"""A finished export of simulated images, made without a server: to convert and merge.

The simulator makes few label rows and repeats them under other hashes. Parquet and zstd would make little of
that, so coordinates, dates and hashes of objects are replaced by random ones, the same in each run.
"""

import random
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec

from harvester.errors import SkipRow
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.output import planfile
from harvester.output.commit import Commit, IdDigest, KindCounts, write_commit
from harvester.output.export_spec import ExportSpec
from harvester.output.listing_file import write_listing
from harvester.output.manifest import build_manifest, list_files, write_manifest
from harvester.output.ndjson import PartWriter
from harvester.output.target import LocalTarget
from harvester.plan.order import plan_order
from harvester.schema import Kind
from harvester.settings import Compression, Format, Selection
from harvester.simulator import WorldSpec
from harvester.simulator.shapes import HEIGHT, WIDTH
from harvester.simulator.world import World

OBJECTS_PER_ROW = 20
SHAPES = ("bounding_box", "rotatable_bounding_box", "polygon", "polyline")
_HASH = re.compile(rb'"objectHash": ?"([^"]{8})"')
_TIME = re.compile(rb"(?<=[ T])\d\d:\d\d:\d\d")
_SHARE = re.compile(rb"\b0\.\d{1,4}\b")
_SIZE = re.compile(rb'"width":\d+,"height":\d+')
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_AT_ONCE = 100  # label rows that are extracted together


def make_export(
    path: Path,
    rows: int,
    *,
    compress: Compression | None = None,
    kinds: tuple[Kind, ...] = ("objects",),
    objects_per_row: int = OBJECTS_PER_ROW,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """Make an export of `rows` label rows in the directory `path`. Equal arguments give equal bytes.

    `size` is the width and the height of each image, in pixels.
    """
    world = World(
        WorldSpec(
            rows=rows,
            objects_per_row=objects_per_row,
            mix=("image",),
            shapes=SHAPES,
            unlabelled=0.0,
            odd=False,
        )
    )
    ontology = msgspec.json.encode(world.ontology())
    format = Format(emit=kinds, compress=compress)
    target = LocalTarget(path)
    target.ensure()
    planned = sorted((_planned(item) for item in map(msgspec.json.decode, world.listing())), key=plan_order)
    spec = ExportSpec.of(world.project_hash, "Images", Selection(), format)
    header = planfile.freeze(target, map(msgspec.json.encode, planned), spec, ontology)
    extractor = Extractor(Selection(), format, ontology)

    def sent(planned: PlanRow) -> bytes:
        row = world.label_row(planned.label_hash or "")
        assert row is not None
        return _SIZE.sub(b'"width":%d,"height":%d' % size, _varied(row, random.Random(planned.label_hash)))

    commits = {
        part: _harvest(target, extractor, sent, header, part, own)
        for part, own in planfile.slices(target, header, range(header.parts))
    }
    files = list_files(commits[part] for part in range(header.parts))
    listing = write_listing(target, planfile.lines(target, header), files)
    manifest = build_manifest(header, commits, harvester="0", sdk="0", drift=None, run={}, listing=listing)
    write_manifest(target, manifest)
    return path


def _planned(item: dict[str, str]) -> PlanRow:
    return PlanRow(
        dataset_hash=item["dataset_hash"],
        dataset_title=item["dataset_title"],
        data_title=item["data_title"],
        data_type="image",
        label_hash=item["label_hash"],
        branch_name=item["branch_name"],
        data_hash=item["data_hash"],
    )


def _harvest(
    target: LocalTarget,
    extractor: Extractor,
    sent: Callable[[PlanRow], bytes],
    header: planfile.PlanHeader,
    part: int,
    planned: list[PlanRow],
) -> Commit:
    writer, ids = PartWriter(target, part, header.format.compress), IdDigest()
    records: dict[str, KindCounts] = {kind: KindCounts() for kind in header.format.kinds}
    found = ((memoryview(sent(row)), row) for row in planned)
    while some := list(islice(found, _AT_ONCE)):
        for _, extracted in extractor.extract_all(some):
            assert not isinstance(extracted, SkipRow)
            for kind, lines in extracted.lines.items():
                written = extracted.written[kind]
                if written:
                    writer.write(kind, lines.chunks, written, extracted.rows[kind])
                records[kind].count(extracted.seen[kind], written, extracted.dropped[kind])
    ids.add(planned)
    commit = Commit(
        part=part,
        plan=header.digest,
        rows={"harvested": len(planned), "unlabelled": 0, "filtered": 0, "failed": 0},
        harvested_ids=ids.hexdigest(),
        records=records,
        files=writer.close(),
    )
    write_commit(target, commit)
    return commit


def _varied(row: bytes, rng: random.Random) -> bytes:
    """Return a label row with other coordinates, times of day, and hashes of objects."""
    for object_hash in set(_HASH.findall(row)):
        row = row.replace(object_hash, "".join(rng.choices(_LETTERS, k=8)).encode())
    row = _TIME.sub(
        lambda _: b"%02d:%02d:%02d" % (rng.randrange(24), rng.randrange(60), rng.randrange(60)), row
    )
    return _SHARE.sub(lambda _: b"0.%04d" % rng.randrange(1, 10_000), row)
