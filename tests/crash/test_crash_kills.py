"""The short form of `make crashtest`."""

import pytest

from tests.crash import compact_kills
from tests.crash.crashtest import run
from tests.crash.verbs import run as kill_verb


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


@pytest.mark.parametrize("verb", ["retry-failed", "s3"])
def test_no_kill_of_another_verb_changes_a_byte(verb: str) -> None:
    """One kill, in a directory and in a bucket. `make crashtest VERB=...` does it often, for each verb."""
    came_of_it = kill_verb(verb, kills=1, seed=1)
    assert came_of_it.kills == 1
    assert came_of_it.wrong == []
