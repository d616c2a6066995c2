"""The short form of `make crashtest`."""

from tests.crash.crashtest import run


def test_no_kill_changes_a_byte() -> None:
    """Eight kills of exports by one and by two processes: same bytes, nothing left, little fetched again."""
    tally = run(kills=8, seed=1)
    assert tally.kills == 8
    assert tally.wrong == []
