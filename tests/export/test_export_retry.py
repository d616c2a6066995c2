"""Failed rows that are asked for again: they alone, and the part ends as if they had never failed."""

import hashlib
import random
from pathlib import Path

import pytest

from harvester.errors import CannotFinishNow, Unsound
from harvester.events import Counters
from harvester.output.commit import PartFile, parse_commit_record, write_commit
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.settings import Format
from tests.export.platform import Platform, files, manifest
from tests.sync.worlds import LiveWorld, contents

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
@pytest.mark.parametrize("seed", range(3))
async def test_rows_that_failed_are_merged_into_their_part(
    tmp_path: Path, seed: int, compress: str | None
) -> None:
    """In two steps: no other row is asked for, and every file becomes that of an export where none failed.

    Of all types of data and kinds of records, with notes.
    """
    dice, world = random.Random(seed), LiveWorld(60, seed=seed, unlabelled=0.1)
    format = Format(rows_per_part=10, compress=compress, emit=("objects", "classifications", "units", "rows"))
    world.stale = set(dice.sample(world.labels(), 6))  # they are noted
    await world.export(tmp_path / "clean", format=format)
    world.broken = set(dice.sample(world.labels(), 12))
    failed = (await world.export(tmp_path / "out", format=format)).counts["failed"]
    assert failed == len(world.broken)
    while world.broken:
        before = set(world.broken)
        world.broken = set(dice.sample(sorted(before), len(before) // 2 if len(before) > 6 else 0))
        world.asked = []
        counters = Counters()
        done = await world.export(tmp_path / "out", format=format, retry_failed=True, counters=counters)
        assert set(world.asked) == before
        assert done.counts["failed"] == counters.failed == len(world.broken)
        assert done.run["harvested"] == len(before) - len(world.broken)
        shown = {**done.counts, "units": done.records["units"]["written"]}
        assert counters.snapshot().items() >= shown.items()
        assert verify(LocalTarget(tmp_path / "out")).ok
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


async def test_a_part_of_which_every_row_failed_is_made_whole(tmp_path: Path) -> None:
    """It had no file but that of its failed rows."""
    platform = Platform(20)
    platform.broken = {f"label-{number:04}" for number in range(10)}
    assert (await platform.export(tmp_path / "out")).counts["failed"] == 8
    platform.broken = set()
    await platform.export(tmp_path / "out", retry_failed=True)
    await platform.export(tmp_path / "clean")
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


async def test_rows_that_fail_again_leave_the_part_as_it_was(tmp_path: Path) -> None:
    """Also where the server does not answer at all: no part is lost, and the export can do without it."""
    platform = Platform(20)
    platform.broken = {"label-0003"}
    await platform.export(tmp_path)
    objects = files(tmp_path)["objects-00000.ndjson"]
    assert (await platform.export(tmp_path, retry_failed=True)).exit_code == 3
    before = files(tmp_path)
    assert before["objects-00000.ndjson"] == objects

    def down() -> None:
        raise CannotFinishNow("the server is down")

    platform.before_answer = down
    with pytest.raises(CannotFinishNow):
        await platform.export(tmp_path, retry_failed=True)
    assert files(tmp_path) == before
    platform.before_answer, platform.asked = lambda: None, []
    assert (await platform.export(tmp_path)).counts["failed"] == 1
    assert (platform.asked, files(tmp_path)) == ([], before)
    assert verify(LocalTarget(tmp_path)).ok


async def test_a_part_whose_files_are_damaged_is_harvested_as_a_whole(tmp_path: Path) -> None:
    """Though the export was not finished: every byte of a part is checked before it is merged."""
    platform = Platform(20)
    platform.broken = {"label-0003"}
    await platform.export(tmp_path / "out")
    platform.broken, platform.asked = set(), []
    (tmp_path / "out/manifest.json").unlink()
    path = tmp_path / "out/objects-00000.ndjson"
    path.write_bytes(path.read_bytes().replace(b"Car", b"Cab", 1))
    await platform.export(tmp_path / "out", retry_failed=True)
    assert len(platform.asked) == 8
    await platform.export(tmp_path / "clean")
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


async def test_a_part_that_holds_what_its_plan_does_not_is_told(tmp_path: Path) -> None:
    """An export may come from somebody else: its commit record may name any lines."""
    platform = Platform(20)
    platform.broken = {"label-0003"}
    await platform.export(tmp_path)
    (tmp_path / "manifest.json").unlink()
    target = LocalTarget(tmp_path)
    commit = parse_commit_record(target.read(".harvester/commits/00000.json") or b"")
    assert commit
    for lines in (b'{"label_hash": "another"}\n', b"no JSON\n"):
        (tmp_path / "objects-00000.ndjson").write_bytes(lines)
        forged = [described(tmp_path, file) for file in commit.files]
        write_commit(target, type(commit)(**{**fields(commit), "files": forged}))
        with pytest.raises(Unsound, match="see harvester verify"):
            await platform.export(tmp_path, retry_failed=True)


def fields(commit: object) -> dict[str, object]:
    return {name: getattr(commit, name) for name in commit.__struct_fields__}  # type: ignore[attr-defined]


def described(folder: Path, file: PartFile) -> PartFile:
    """A file as it is now."""
    data = (folder / file.name).read_bytes()
    return PartFile(**{**fields(file), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})  # type: ignore[arg-type]


async def test_the_pace_of_a_retry_counts_what_it_fetched(tmp_path: Path) -> None:
    """And not the rows that its parts had before."""
    platform = Platform(20)
    platform.broken = {"label-0003", "label-0013"}
    await platform.export(tmp_path)
    platform.broken = set()
    await platform.export(tmp_path, retry_failed=True)
    assert [rows for _, rows in manifest(tmp_path)["run"]["pace"]] == [1, 2]
