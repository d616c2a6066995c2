"""Coverage-guided fuzzing of the extraction, by hand and for as long as one likes; no part of the test run.

    python3.11 -m venv fuzzing && fuzzing/bin/pip install atheris -e '.[test]'
    PYTHONPATH=. fuzzing/bin/python tests/fuzz/fuzz_extract.py CORPUS -max_total_time=600

CORPUS is a directory; an empty one is filled with the simulator's rows. The first byte of an input
chooses the extractor, the rest is the label row. What crashes is written to ``crash-...`` in the working
directory: mended, it goes into ``tests/fuzz/findings``, which `test_fuzz_findings.py` replays.
"""

import random
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found]  # not among the locked dependencies: for this script alone

with atheris.instrument_imports(include=["harvester.labels", "harvester.filters"]):
    from harvester.labels import extract  # noqa: F401

from tests.fuzz.replay import VARIANTS, replay
from tests.labels.hostile import mutated, planned_rows

_LONGEST = 64 * 1024


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """Half of the time the row's tree, else its bytes."""
    dice = random.Random(seed)
    if dice.random() < 0.6:
        try:
            made = bytes([dice.randrange(VARIANTS)]) + mutated(data[1:], dice)
        except (ValueError, RecursionError, UnicodeError):
            made = b""
        if 0 < len(made) <= size:
            return made
    return bytes(atheris.Mutate(data, size))


def main() -> None:
    """Fills an empty corpus, and fuzzes until told to stop."""
    corpus = next((Path(arg) for arg in sys.argv[1:] if not arg.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(exist_ok=True)
        if not any(corpus.iterdir()):
            for at, (_, sent) in enumerate(planned_rows()):
                (corpus / f"row-{at:03}").write_bytes(bytes([at % VARIANTS]) + sent)
    atheris.Setup([*sys.argv, f"-max_len={_LONGEST}"], replay, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
