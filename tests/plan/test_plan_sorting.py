"""The sorter: what is spilled to disk comes back as if all had been sorted in memory."""

import tempfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import CannotFinishNow
from harvester.plan.sorting import sorter

TEXTS = st.text("a\0é\U0001f600", max_size=2)


@given(st.lists(st.tuples(TEXTS, TEXTS)), st.sampled_from((0, 3, 10**6)))
def test_sorted_as_in_memory(keys: list[tuple[str, str]], run_bytes: int) -> None:
    """Keys come in the order of their code points, equal ones once, however little fits into memory."""
    with sorter(run_bytes) as items:
        for key in keys:
            items.add(key, repr(key).encode())
        assert list(items) == [repr(key).encode() for key in sorted(set(keys))]


def test_many_runs() -> None:
    """More runs than may be open at once are merged in between."""
    with sorter(0) as items:
        for number in range(300):
            items.add([f"{number * 7 % 300:03}"], b"%d" % (number * 7 % 300))
        assert [int(item) for item in items] == list(range(300))


def test_first_of_equal_keys_by_its_bytes() -> None:
    """Which of two items with one key is kept does not depend on which came first."""
    for both in ([b"1", b"2"], [b"2", b"1"]):
        with sorter(0) as items:
            for item in both:
                items.add(["key"], item)
            assert list(items) == [b"1"]


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory without room stops the run in one line, to go on later."""

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with sorter(0) as items, pytest.raises(CannotFinishNow, match=r"no room to sort .*No space left"):
        items.add(["key"], b"item")
