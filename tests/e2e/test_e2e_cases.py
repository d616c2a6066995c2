"""Rows that are easily read wrong, through the installed command, from a server that sends just these."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.e2e.conftest import Command
from tests.e2e.handmade import TITLE, serving
from tests.labels.case_plans import FRAMES, KNOWN, Plans, by_frame, compare, met, spelt
from tests.labels.cases import Case, Json, ontology

AT_RANDOM = 60


def cases() -> dict[str, Case]:
    """Those that were met, and some at random, by label hash."""
    dice = Random(5)
    made = [*met().values(), *islice(Plans(dice, KNOWN).cases(), AT_RANDOM)]
    return {case.row["label_hash"]: case for case in made}


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """The command for a project of these rows."""
    dice = Random(6)
    rows = {label_hash: spelt(case.row, dice) for label_hash, case in cases().items()}
    listed = {
        label_hash: {"number_of_frames": FRAMES if case.row["data_type"] == "video" else 0}
        for label_hash, case in cases().items()
    }
    with serving(ontology(KNOWN), rows, listed) as ready:
        yield ready


def by_row(target: Path, kind: str) -> dict[str, list[Json]]:
    """What was written of a kind, by label hash."""
    found: dict[str, list[Json]] = {label_hash: [] for label_hash in cases()}
    for part in sorted(target.glob(f"{kind}-*.ndjson")):
        for line in part.read_bytes().splitlines():
            record = json.loads(line)
            found[record["label_hash"]].append(record)
    return found


@pytest.mark.parametrize("bundle", ["1", "13"])
def test_every_row_gives_what_it_holds(command: Command, tmp_path: Path, bundle: str) -> None:
    """Objects, classifications with their reviews, and notes; rows come alone, and several in a bundle."""
    flags = ("--include-reviews", "--bundle-size", bundle)
    summary = command.export(tmp_path / "out", TITLE, *flags)
    assert summary["counts"]["harvested"] == len(cases())
    objects = by_row(tmp_path / "out", "objects")
    classifications = by_row(tmp_path / "out", "classifications")
    notes = by_row(tmp_path / "out", "notes")
    for label_hash, case in cases().items():
        compare("object", objects[label_hash], case.objects)
        compare("classification", classifications[label_hash], case.classifications)
        assert {note["note"] for note in notes[label_hash]} == case.notes


def test_reviews_are_null_where_they_were_not_asked_for(command: Command, tmp_path: Path) -> None:
    """All else of the classifications is the same."""
    command.export(tmp_path / "out", TITLE)
    for label_hash, found in by_row(tmp_path / "out", "classifications").items():
        compare("classification", found, cases()[label_hash].classifications, reviews=False)


def test_a_line_for_each_frame(command: Command, tmp_path: Path) -> None:
    """Classifications in the frames of their ranges; those without ranges once."""
    command.export(tmp_path / "out", TITLE, "--per-frame", "--include-reviews")
    for label_hash, found in by_row(tmp_path / "out", "classifications").items():
        compare("classification", found, by_frame(cases()[label_hash]))


@pytest.mark.parametrize(
    "flags", [("--shape", "time_range"), ("--name", "Span"), ("--feature-hash", KNOWN.span)], ids=str
)
def test_filters_keep_spans_that_say_neither_shape_nor_name(
    command: Command, tmp_path: Path, flags: tuple[str, str]
) -> None:
    """By what the ontology says of their feature hash."""
    command.export(tmp_path / "out", TITLE, "--emit", "objects", *flags)
    for label_hash, found in by_row(tmp_path / "out", "objects").items():
        spans = [one for one in cases()[label_hash].objects if one.get("shape") == "time_range"]
        compare("object", found, spans)
