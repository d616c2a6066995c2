"""Large rows: the row and all its lines are never in memory together."""

import json
import tracemalloc

import pytest

from harvester.labels.extract import Extractor
from harvester.settings import Format, Selection
from tests.labels.rows import PLANNED, extract, flat, label, records, row, unit


def large_row(objects: int, size: int) -> bytes:
    """Return a label row with `objects` objects of about `size` bytes each."""
    sent = [label(f"o{number}", padding="x" * size) for number in range(objects)]
    return json.dumps(row("image", unit(flat(*sent)))).encode()


@pytest.mark.parametrize(
    ("kind", "objects", "size"), [("objects", 4000, 4000), ("objects", 20_000, 620), ("rows", 1, 16_000_000)]
)
def test_the_lines_of_a_large_row_are_never_in_memory_beside_it(kind: str, objects: int, size: int) -> None:
    """Its lines are larger than the row, but iterating over them takes less than half the row's memory."""
    sent = large_row(objects, size)
    extractor = Extractor(Selection(), Format(emit=(kind,)), None)
    tracemalloc.start()
    try:
        lines = extractor.extract(sent, PLANNED).lines[kind]
        taken = sum(map(len, lines.chunks))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken == lines.size > len(sent)
    assert peak < len(sent) / 2


@pytest.mark.parametrize("objects", [1, 400, 9000])
def test_a_row_of_any_size_gives_the_same_records(objects: int) -> None:
    """An object has the same line whether lines are joined at once or in chunks."""
    harvest = extract(large_row(objects, 1000), format=Format(emit=("objects",)))
    found = records(harvest, "objects")
    assert [record["object"]["objectHash"] for record in found] == [f"o{i}" for i in range(objects)]
    [small] = records(extract(large_row(1, 1000), format=Format(emit=("objects",))), "objects")
    assert found[0] == small
