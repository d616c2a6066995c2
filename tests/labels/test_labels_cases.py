"""Rows that are easily read wrong, as they were met and at random: what each holds, no more and no less."""

import json
from itertools import islice
from random import Random

import msgspec
import pytest

from harvester.labels.wire import PlanRow
from harvester.settings import Format, Selection
from tests.labels.case_plans import FRAMES, KNOWN, Plans, by_frame, compare, met, spelt
from tests.labels.cases import Case, Features, features, ontology
from tests.labels.rows import PLANNED, extract, records

ROWS_OF_A_SEED = 120
REVIEWS = Selection(include_reviews=True)


def listed(case: Case) -> PlanRow:
    """A row as it is listed."""
    return msgspec.structs.replace(
        PLANNED,
        **{key: case.row[key] for key in ("label_hash", "data_hash", "dataset_hash")},
        number_of_frames=FRAMES,
    )


def check(case: Case, sent: bytes, known: Features) -> None:
    """What a row gives, with reviews and without, and with a line for each frame."""
    planned = listed(case)
    asked = extract(sent, selection=REVIEWS, ontology=ontology(known), planned=planned)
    compare("object", records(asked, "objects"), case.objects)
    compare("classification", records(asked, "classifications"), case.classifications)
    assert {note.note for note in asked.notes} == case.notes
    plain = extract(sent, ontology=ontology(known), planned=planned)
    compare("classification", records(plain, "classifications"), case.classifications, reviews=False)
    framed = extract(
        sent,
        selection=REVIEWS,
        format=Format(emit=("classifications",), per_frame=True),
        ontology=ontology(known),
        planned=planned,
    )
    compare("classification", records(framed, "classifications"), by_frame(case))


@pytest.mark.parametrize("name", met())
def test_a_case_as_it_was_met(name: str) -> None:
    """Each gives just what it holds."""
    case = met()[name]
    check(case, json.dumps(case.row).encode(), KNOWN)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cases_at_random(seed: int) -> None:
    """Other hashes, several in a row, keys in any order, fields that nobody knows, any spacing."""
    dice = Random(seed)
    known = features(dice)
    for case in islice(Plans(dice, known).cases(), ROWS_OF_A_SEED):
        check(case, spelt(case.row, dice), known)


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Selection(shapes=("time_range",)), "span"),
        (Selection(names=("Span",)), "span"),
        (Selection(feature_hashes=(KNOWN.span,)), "span"),
        (Selection(shapes=("cuboid",)), "cube"),
        (Selection(names=("Another name",)), "none"),
    ],
)
def test_filters_go_by_what_the_ontology_says(selection: Selection, kept: str) -> None:
    """An entry on a channel says neither shape nor name, or says another name."""
    dice = Random(4)
    for case in islice(Plans(dice, KNOWN).cases(), 40):
        sent, planned = spelt(case.row, dice), listed(case)
        found = extract(sent, selection=selection, ontology=ontology(KNOWN), planned=planned)
        # Only ranges of a recording or a time series have a shape among what is expected of them.
        spans = {one["object_hash"] for one in case.objects if one.get("shape") == "time_range"}
        cubes = {one["object_hash"] for one in case.objects if one.get("until") is not None}
        wanted = {"span": spans, "cube": cubes, "none": set()}[kept]
        assert {one["object_hash"] for one in records(found, "objects")} == wanted
