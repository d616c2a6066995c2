"""The short form of `make crashtest`."""

from tests.crash import compact_kills
from tests.crash.crashtest import run


def test_no_kill_changes_a_byte() -> None:
    """Eight kills of exports by one and by two processes: same bytes, nothing left, little fetched again."""
    tally = run(kills=8, seed=1)
    assert tally.kills == 8
    assert tally.wrong == []


def test_no_kill_of_a_compaction_changes_a_byte() -> None:
    """Three kills: same bytes, no file or folder left."""
    killer = compact_kills.run(kills=3, seed=1, rows=60)
    assert killer.moments.total() == 3
    assert killer.wrong == []
