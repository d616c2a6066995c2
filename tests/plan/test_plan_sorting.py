"""The sorter, which sorts on disk, gives back what sorting in memory would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import CannotFinishNow
from harvester.plan.sorting import scratch, sorter

TEXTS = st.text("a\0\1é\U0001f600", max_size=3)


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_sorted_as_in_memory(keys: list[tuple[str, str]]) -> None:
    """Keys come in the order of their code points, equal ones once."""
    with sorter() as items:
        for key in keys:
            items.add(key, repr(key).encode())
        assert list(items) == [repr(key).encode() for key in sorted(set(keys))]


def test_many_items() -> None:
    """More than are inserted at once."""
    with sorter() as items:
        for number in range(3000):
            items.add([f"{number * 7 % 3000:04}"], b"%d" % (number * 7 % 3000))
        assert [int(item) for item in items] == list(range(3000))


def test_first_of_equal_keys_by_its_bytes() -> None:
    """Which of two items with one key is kept does not depend on which came first."""
    for both in ([b"1", b"2"], [b"2", b"1"]):
        with sorter() as items:
            for item in both:
                items.add(["key"], item)
            assert list(items) == [b"1"]


def test_no_room() -> None:
    """A temporary directory without room stops the run in one line, to go on later."""
    with pytest.raises(CannotFinishNow, match=r"no room in the temporary directory: .* full"):
        fill_up()


def fill_up() -> None:
    with scratch("filled (item)") as database:
        database.execute("PRAGMA max_page_count = 10")
        for _ in range(100):
            database.execute("INSERT INTO filled VALUES (zeroblob(65536))")
