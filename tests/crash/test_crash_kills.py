"""The short form of `make crashtest`."""

import pytest

from tests.crash.crashtest import run
from tests.crash.verbs import VERBS
from tests.crash.verbs import run as kill_verb


def test_no_kill_changes_a_byte() -> None:
    """Eight kills of exports by one and by two processes: same bytes, nothing left, little fetched again."""
    tally = run(kills=8, seed=1)
    assert tally.kills == 8
    assert tally.wrong == []


@pytest.mark.parametrize("verb", VERBS)
def test_no_kill_of_another_verb_changes_a_byte(verb: str) -> None:
    """One kill of each: that it can be killed and compared. `make crashtest VERB=...` does it often."""
    came_of_it = kill_verb(verb, kills=1, seed=1)
    assert came_of_it.kills == 1
    assert came_of_it.wrong == []
