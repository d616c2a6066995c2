"""The live label rows in plan order are those of a new export, byte for byte."""

import json
import os
import random
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import Unsound
from harvester.live import finished
from harvester.live_rows import live_pieces, live_rows
from harvester.output.compression import decompressed
from harvester.settings import Compression, Format
from tests.output.test_output_plan import spoil
from tests.sync.worlds import LiveWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


KINDS = ("objects", "classifications", "units", "rows")


def in_files(target: Path, kind: str) -> bytes:
    """All lines of an export that was never synced, file after file."""
    found = b""
    for path in sorted(target.glob(f"{kind}-*")):
        with decompressed(path.open("rb"), path.name) as lines:
            found += lines.read()
    return found


def in_rows(target: Path) -> tuple[list[str], dict[str, bytes]]:
    """The label hashes of the live rows, and their lines by kind."""
    labels, found = list[str](), dict.fromkeys(KINDS, b"")
    for row in live_rows(*finished(target), KINDS):
        labels.append(row.label_hash)
        for kind, lines in row.lines.items():
            found[kind] += b"".join(lines)
    return labels, found


def harvested(target: Path) -> list[str]:
    """The label hashes of the harvested rows of an export that was never synced."""
    with decompressed((target / "listing.ndjson.zst").open("rb"), ".zst") as lines:
        rows = map(json.loads, lines)
        return [row["label_hash"] for row in rows if row["outcome"] == "harvested"]


def assert_as_new(target: Path, fresh: Path) -> None:
    """Both functions give the lines of a new export, `fresh`, in its order."""
    labels, found = in_rows(target)
    assert labels == harvested(fresh)
    for kind in KINDS:
        assert found[kind] == in_files(fresh, kind)
        assert b"".join(chain.from_iterable(live_pieces(*finished(target), kind))) == found[kind]


@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
@pytest.mark.parametrize("seed", range(3))
async def test_rows_are_those_of_a_new_export_in_its_order(
    tmp_path: Path, seed: int, compress: Compression | None
) -> None:
    """Before a sync, and after each of several rounds of edits, additions, removals and renames."""
    world, rng = LiveWorld(rows=50, seed=seed), random.Random(seed)
    format = Format(rows_per_part=7, compress=compress, emit=KINDS if seed else KINDS[:3])
    world.broken = set(rng.sample(world.labels(), 2))
    await world.export(tmp_path / "kept", format=format)
    assert_as_new(tmp_path / "kept", tmp_path / "kept")
    for number in range(4):
        world.change_at_random(rng)
        await world.sync(tmp_path / "kept")
        fresh = tmp_path / f"fresh{number}"
        await world.export(fresh, format=format)
        assert_as_new(tmp_path / "kept", fresh)


@pytest.mark.parametrize("title", ["0 first", "~ last"])
async def test_rows_that_were_settled_at_an_old_position_come_where_a_new_export_has_them(
    tmp_path: Path, title: str
) -> None:
    """Two renamed rows, settled, and all later ones; also after a sync."""
    world = LiveWorld(rows=40, branches=())
    renamed = world.labels()[10:12]

    def rename(event: str, fields: Mapping[str, Any]) -> None:
        if event == "part.committed" and not world.changed:
            world.world.edit(rows=renamed)
            for label_hash in renamed:
                world.change(label_hash, data_title=title)

    await world.export(tmp_path / "kept", settle=True, on_event=rename)
    await world.export(tmp_path / "fresh0")
    assert in_files(tmp_path / "kept", "objects") != in_files(tmp_path / "fresh0", "objects")
    assert_as_new(tmp_path / "kept", tmp_path / "fresh0")
    world.world.edit(rows=world.labels()[5:8])
    await world.sync(tmp_path / "kept")
    await world.export(tmp_path / "fresh1")
    assert_as_new(tmp_path / "kept", tmp_path / "fresh1")


class LongWorld(LiveWorld):
    """A row has a line of 17 MB."""

    def row(self, label_hash: str) -> bytes | None:
        sent = super().row(label_hash)
        if sent is not None and label_hash == self.labels()[0]:
            return sent[:-1] + b',"more":"%b"}' % (b"x" * 17 * 1024**2)
        return sent


async def test_a_line_may_be_longer_than_what_is_sorted_at_once(tmp_path: Path) -> None:
    """It comes whole."""
    world, format = LongWorld(rows=3, branches=(), unlabelled=0.0), Format(emit=("rows",))
    await world.export(tmp_path / "kept", format=format)
    world.world.edit(rows=world.labels())
    await world.sync(tmp_path / "kept")
    await world.export(tmp_path / "fresh", format=format)
    assert_as_new(tmp_path / "kept", tmp_path / "fresh")


async def test_files_of_many_generations_are_not_open_at_once(tmp_path: Path) -> None:
    """No more than those of the export itself, and what sorts."""
    world = LiveWorld(rows=20, branches=(), unlabelled=0.0)
    await world.export(tmp_path / "kept")
    for number in range(15):
        world.world.edit(rows=[world.labels()[number]])
        await world.sync(tmp_path / "kept")
    before = len(os.listdir("/proc/self/fd"))
    during = [len(os.listdir("/proc/self/fd")) for _ in live_rows(*finished(tmp_path / "kept"), KINDS)]
    assert max(during) - before < 15
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_rows_may_be_left_unread(tmp_path: Path) -> None:
    """Those of one kind are read, those of another not, and then none."""
    await LiveWorld(rows=30).export(tmp_path / "kept")
    rows = live_rows(*finished(tmp_path / "kept"), KINDS)
    units = b"".join(b"".join(row.lines["units"]) for row in rows)
    assert units == in_files(tmp_path / "kept", "units")
    rows = live_rows(*finished(tmp_path / "kept"), KINDS)
    assert next(rows).label_hash == harvested(tmp_path / "kept")[0]


@pytest.mark.parametrize("how", ["flipped", "truncated"])
@pytest.mark.parametrize(
    "name",
    [
        "objects-00001.ndjson", "generations/00001/units-00000.ndjson",
        "generations/00001/listing.ndjson.zst", "generations/00001/manifest.json",
    ],
)  # fmt: skip
async def test_damage_is_named(tmp_path: Path, name: str, how: str) -> None:
    """Whatever the file; none is taken for sound."""
    world = LiveWorld(rows=30, branches=(), unlabelled=0.0)
    await world.export(tmp_path / "kept")
    world.world.edit(rows=world.labels()[:3])
    await world.sync(tmp_path / "kept")
    spoil(tmp_path / "kept" / name, how)
    with pytest.raises(Unsound, match="see harvester verify"):
        in_rows(tmp_path / "kept")
