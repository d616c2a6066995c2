"""Rows of every kind, mutated: read, and read truly, or skipped; nothing in between, however they come."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import SkipRow
from harvester.events import Counters
from harvester.fetch.pool import Pool
from harvester.labels.wire import label_hash_of
from harvester.output.ndjson import PartWriter
from harvester.output.target import LocalTarget
from harvester.part import harvest_rows
from harvester.settings import Format, Limits
from tests.fakes import FakeLabelRows
from tests.labels.hostile import EVERY_KIND, check, extractor, mutated, planned_rows

ROWS = planned_rows()
EXTRACTORS = {
    "everything": extractor(),
    "per frame": extractor(Format(emit=EVERY_KIND, per_frame=True)),
    "filtered": extractor(shapes=("polygon", "audio"), approved=True, min_confidence=0.5, manual=True),
}


def test_real_rows_are_read_truly() -> None:
    """Without a mutation nothing is skipped: the check itself holds of every kind of row."""
    for planned, sent in ROWS:
        check(sent, planned, EXTRACTORS["everything"].extract(sent, planned))


@pytest.mark.parametrize("how", EXTRACTORS)
@settings(max_examples=120, deadline=None)
@given(dice=st.randoms(use_true_random=False), at=st.integers(0, len(ROWS) - 1))
def test_a_mutated_row_is_read_truly_or_skipped(how: str, dice: random.Random, at: int) -> None:
    """Keys deleted, renamed, repeated; values swapped, wrapped, made hostile; bytes cut out and put in."""
    planned, sent = ROWS[at]
    sent = mutated(sent, dice)
    try:
        harvest = EXTRACTORS[how].extract(sent, planned)
    except SkipRow:
        return
    check(sent, planned, harvest)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_mutated_rows_fail_alone(tmp_path: Path) -> None:
    """Through the pool into a part's files: a row's lines stand whole in plan order, or it is failed."""
    dice = random.Random(7)
    sent = {planned.label_hash or "": mutated(row, dice) for planned, row in ROWS}
    plan = [planned for planned, _ in ROWS]
    expected: dict[str, bytes] = dict.fromkeys(EVERY_KIND, b"")
    readable = 0
    for planned in plan:
        row = sent[planned.label_hash or ""]
        if label_hash_of(row) in (None, planned.label_hash):  # one that does not say is asked for alone
            try:
                lines = EXTRACTORS["everything"].extract(row, planned).lines
            except SkipRow:
                continue
            readable += 1
            expected = {kind: expected[kind] + bytes(lines[kind]) for kind in EVERY_KIND}
    target = LocalTarget(tmp_path / "out")
    target.ensure()
    writer = PartWriter(target, 0, None)
    limits = Limits(bundle_size=16, max_attempts=2)
    async with Pool(FakeLabelRows(sent), limits, counters=Counters(), rng=random.Random(1)) as pool:
        tally = await harvest_rows(plan, pool=pool, extractor=EXTRACTORS["everything"], sink=writer)
    files = {file.kind: (tmp_path / "out" / file.name).read_bytes() for file in writer.close()}
    assert 20 < readable < len(plan) - 20
    assert (tally.harvested, tally.failed) == (readable, len(plan) - readable)
    failed = files.pop("failed").splitlines()
    assert len(failed) == tally.failed
    assert files == expected


def test_a_row_that_names_itself_twice_is_skipped() -> None:
    """Its records would be another row's."""
    planned, sent = ROWS[0]
    with pytest.raises(SkipRow, match="another one"):
        EXTRACTORS["everything"].extract(sent[:-1] + b',"label_hash":"other"}', planned)
