"""What fuzzing has found, replayed."""

from pathlib import Path

import pytest

from tests.fuzz.replay import replay

FINDINGS = sorted((Path(__file__).parent / "findings").iterdir())


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda path: path.name)
def test_a_finding_stays_mended(finding: Path) -> None:
    """The row is read, and read truly, or refused in the way that is meant."""
    replay(finding.read_bytes())
