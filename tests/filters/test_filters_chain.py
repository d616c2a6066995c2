"""Filters: each keeps what it says, counts what it drops, and is asked of the server where it can be."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import BadInput
from harvester.filters import request_selection, server_side
from harvester.settings import Format, Selection
from tests.labels.rows import (
    EVERYTHING,
    Json,
    answer,
    classifications,
    copy,
    extract,
    flat,
    label,
    objects,
    placed,
    row,
    unit,
)  # fmt: skip

APPROVED = {"approved": True, "status": "APPROVED"}
REJECTED = {"approved": False, "status": "REJECTED"}


def kept(selection: Selection, *labels: Json, **how: Any) -> list[str]:
    """The hashes of the objects, all on one image, that `selection` keeps."""
    return [
        record["object"]["objectHash"]
        for record in objects(row("image", unit(flat(*labels))), selection=selection, **how)
    ]


def classified(selection: Selection, entries: Json, **how: Any) -> list[str]:
    """The hashes of the classifications that `selection` keeps."""
    sent = row("video", unit({}), classification_answers=entries)
    found = classifications(sent, selection=selection, **how)
    return [record["classification"]["classificationHash"] for record in found]


# A selection, a label that it keeps, and a label that it drops: fields of an object.
CASES: dict[str, tuple[Selection, Json, Json]] = {
    "shape": (Selection(shapes=("polygon", "point")), {"shape": "point"}, {"shape": "bounding_box"}),
    "no shape": (Selection(shapes=("polygon",)), {"shape": "polygon"}, {"shape": None}),
    "name": (Selection(names=("Car",)), {}, {"featureHash": "word", "name": "Car"}),
    "name on the wire is old": (Selection(names=("Car",)), {"name": "Automobile"}, {"featureHash": "word"}),
    "name that the ontology does not know": (
        Selection(names=("Ghost",)),
        {"featureHash": "gone", "name": "Ghost"},
        {"featureHash": "gone", "name": None},
    ),
    "feature hash": (Selection(feature_hashes=("car",)), {}, {"featureHash": "word"}),
    "no feature hash": (Selection(feature_hashes=("car",)), {}, {"featureHash": None}),
    "approved": (Selection(approved=True), {"reviews": [APPROVED]}, {"reviews": [REJECTED]}),
    "approved last": (
        Selection(approved=True),
        {"reviews": [REJECTED, APPROVED]},
        {"reviews": [APPROVED, REJECTED]},
    ),
    "approved by status": (
        Selection(approved=True),
        {"reviews": [{"status": "APPROVED"}]},
        {"reviews": [{"status": "NOT_REVIEWED"}]},
    ),
    "reviews that say nothing": (
        Selection(approved=True),
        {"reviews": [{"approved": True, "metadata": None}]},
        {"reviews": [{}]},
    ),
    "no reviews": (Selection(approved=True), {"reviews": [APPROVED]}, {"reviews": []}),
    "null reviews": (Selection(approved=True), {"reviews": [APPROVED]}, {"reviews": None}),
    "confidence": (Selection(min_confidence=0.5), {"confidence": 0.5}, {"confidence": 0.49}),
    "null confidence counts as 1": (Selection(min_confidence=1), {"confidence": None}, {"confidence": 0}),
    "author": (Selection(authors=("a@b", "c@d")), {"createdBy": "c@d"}, {"createdBy": "x@y"}),
    "null author": (Selection(authors=("a@b",)), {"createdBy": "a@b"}, {"createdBy": None}),
    "manual": (Selection(manual=True), {"manualAnnotation": True}, {"manualAnnotation": False}),
    "null manual counts as by hand": (
        Selection(manual=True),
        {"manualAnnotation": None},
        {"manualAnnotation": False},
    ),
    "automated": (Selection(manual=False), {"manualAnnotation": False}, {"manualAnnotation": None}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_filter_keeps_and_drops_objects(case: str) -> None:
    """One object that fits and one that does not."""
    selection, fits, fits_not = CASES[case]
    assert kept(selection, label("yes", **fits), label("no", **fits_not)) == ["yes"]


@pytest.mark.parametrize("case", [case for case in CASES if "shape" not in case and "name" not in case])
def test_each_filter_keeps_and_drops_classifications(case: str) -> None:
    """The same fields, in an entry of `classification_answers` and in an older row's copy."""
    selection, fits, fits_not = CASES[case]
    fits = {"featureHash": "car", **fits}
    entries = {
        **placed("yes", range=[[0, 0]], **fits),
        **placed("no", range=[[0, 0]], **{**fits, **fits_not}),
    }
    assert classified(selection, entries) == ["yes"]
    copies = flat(classifications=[copy("yes", **fits), copy("no", **{**fits, **fits_not})])
    bare = {**placed("yes", featureHash=None), **placed("no", featureHash=None)}
    older = row("video", unit({"0": copies}), classification_answers=bare)
    found = classifications(older, selection=selection)
    assert [record["classification"]["classificationHash"] for record in found] == ["yes"]


def test_a_shape_is_a_property_of_objects() -> None:
    """The shape filter leaves classifications alone, and does not count them."""
    sent = row("image", unit(flat(label())), classification_answers=placed(range=[[0, 0]]))
    harvest = extract(sent, selection=Selection(shapes=("point",)))
    assert harvest.written == {"objects": 0, "classifications": 1}
    assert harvest.dropped == {"objects": {"shape": 1}, "classifications": {}}


def test_the_name_of_a_classification_is_its_root_attributes() -> None:
    """From the ontology; without one, from the first answer or the copy."""
    entries = {**placed("a", range=[[0, 0]]), **placed("b", range=[[0, 0]], featureHash="quality")}
    assert classified(Selection(names=("Weather",)), entries) == ["a"]
    assert classified(Selection(names=("Quality",)), entries) == ["b"]
    assert classified(Selection(names=("Weather",)), entries, ontology=None) == ["a", "b"]
    unanswered = placed("c", range=[[0, 0]], classifications=[], featureHash="gone")
    assert classified(Selection(names=("Weather",)), unanswered) == []


def test_range_objects_are_filtered_too() -> None:
    """Their fields stand in `object_answers`."""
    entries = {
        name: {"objectHash": name, "shape": shape, "featureHash": "x", "createdBy": "a@b", "range": [[0, 1]]}
        for name, shape in (("yes", "audio"), ("no", "text"))
    }
    sent = row("audio", unit({}), object_answers=entries)
    selection = Selection(shapes=("audio",), authors=("a@b",))
    assert [record["object"]["objectHash"] for record in objects(sent, selection=selection)] == ["yes"]


def test_the_first_filter_that_refuses_counts_the_record() -> None:
    """seen = written + dropped, and a record is dropped once, in the order of the chain."""
    selection = Selection(shapes=("point",), names=("Car",), min_confidence=0.5)
    labels = [
        label("wrong everything", featureHash="word", confidence=0.1),
        label("wrong name", shape="point", featureHash="word", confidence=0.1),
        label("unsure", shape="point", confidence=0.1),
        label("fits", shape="point"),
    ]
    harvest = extract(row("image", unit(flat(*labels))), selection=selection)
    assert harvest.seen["objects"] == 4
    assert harvest.written["objects"] == 1
    assert harvest.dropped["objects"] == {"shape": 1, "name": 1, "min_confidence": 1}
    assert list(harvest.dropped["objects"]) == ["shape", "name", "min_confidence"]


def test_what_no_filter_looks_at_may_have_any_type() -> None:
    """Fields are decoded only where an active filter needs them."""
    odd = label(confidence="high", createdBy=[], reviews=3, manualAnnotation="x", name={}, shape="point")
    assert kept(Selection(shapes=("point",)), odd) == ["o1"]


# -- the user's own functions -------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's with some filters."""
    (tmp_path / "own_filters.py").write_text(
        """
seen = []

class Big:
    @staticmethod
    def enough(record):
        return record.get("object", {}).get("boundingBox", {}).get("w", 0) > 0.2

def spy(record):
    seen.append(record)
    return True

def spoil(record):
    record.clear()
    return True

def broken(record):
    return record["object"]["nothing"]["there"]

number = 5
"""
    )
    (tmp_path / "own_broken.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_filters"
    sys.modules.pop("own_filters", None)


def test_an_own_function_gets_the_record_as_it_would_be_written(module: str) -> None:
    """Every key of the line, decoded; each function gets a record of its own."""
    selection = Selection(shapes=("bounding_box",), filters=(f"{module}:spoil", f"{module}:spy"))
    actions = {"o1": {"actions": [answer("plate", "A", range=[[0, 9]])]}}
    sent = row(
        "video",
        unit({"4": flat(label(confidence=10**30), label("o2", shape="point"))}),
        object_actions=actions,
    )
    harvest = extract(sent, selection=selection)
    assert sys.modules[module].seen == [json.loads(bytes(harvest.lines["objects"]))]
    [record] = sys.modules[module].seen
    assert (record["frame"], record["file_name"], record["data_type"]) == (4, "unit-1.file", "video")
    assert record["object"]["confidence"] == 10**30
    assert record["dynamic_attributes"][0]["text"] == "A"


def test_an_own_function_chooses_and_is_counted_under_its_path(module: str) -> None:
    """After the built-in filters, in the order given; it sees classifications as well."""
    path = f"{module}:Big.enough"
    small = label("small", boundingBox={"w": 0.1})
    sent = row("video", unit({"0": flat(label(), small)}), classification_answers=placed(range=[[0, 0]]))
    harvest = extract(sent, selection=Selection(filters=(path, f"{module}:spy")))
    assert harvest.written == {"objects": 1, "classifications": 0}
    assert harvest.dropped == {
        "objects": {path: 1, f"{module}:spy": 0},
        "classifications": {path: 1, f"{module}:spy": 0},
    }


def test_an_own_function_that_raises_stops_the_run(module: str) -> None:
    """One line that names the filter and the row, with the cause behind it."""
    with pytest.raises(
        BadInput, match="filter 'own_filters:broken' failed on one of the objects of row label-1"
    ) as caught:
        extract(row("image", unit(flat(label()))), selection=Selection(filters=(f"{module}:broken",)))
    assert isinstance(caught.value.__cause__, KeyError)
    assert "\n" not in caught.value.message
    assert caught.value.row == "label-1"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("own_filters", "write it package.module:callable"),
        (":spy", "write it package.module:callable"),
        ("own_filters:", "write it package.module:callable"),
        ("no.such.module:f", "no.such.module does not import"),
        ("own_broken:f", "own_broken does not import"),
        ("own_filters:nothing", "own_filters has no nothing"),
        ("own_filters:number", "number is no function"),
        ("..:x", "does not import"),
    ],
)
def test_an_own_function_that_does_not_import_is_bad_input(module: str, path: str, reason: str) -> None:
    """Said before any row is asked for, in one line."""
    with pytest.raises(BadInput) as caught:
        extract(row("image", unit({})), selection=Selection(filters=(path,)), format=EVERYTHING)
    assert caught.value.message.startswith(f"filter {path!r}: ")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message


# -- what the server does -----------------------------------------------------------------------------

FEATURES = {
    "object_features": frozenset({"car", "word"}),
    "classification_features": frozenset({"weather"}),
}


def test_the_server_is_asked_for_named_features_only() -> None:
    """Objects' hashes among the objects, classifications' among the classifications; None asks for all."""
    asked = server_side(Selection(feature_hashes=("car", "weather")), **FEATURES)
    assert asked.include_object_feature_hashes == {"car"}
    assert asked.include_classification_feature_hashes == {"weather"}
    only_objects = server_side(Selection(feature_hashes=("car",)), **FEATURES)
    assert only_objects.include_object_feature_hashes == {"car"}
    assert only_objects.include_classification_feature_hashes is None


def test_rows_that_are_emitted_are_not_narrowed() -> None:
    """What is written as it was sent is asked for whole; the filter then chooses among its objects."""
    named = Selection(feature_hashes=("car",), approved=True)
    for emit in (("rows",), ("objects", "rows")):
        asked = server_side(request_selection(named, Format(emit=emit)), **FEATURES)
        assert asked.include_object_feature_hashes is None
        assert asked.include_reviews
    assert request_selection(named, Format()) == named


@pytest.mark.parametrize("hashes", [(), ("car", "unknown")])
def test_the_server_is_asked_for_all_where_a_hash_is_not_known(hashes: tuple[str, ...]) -> None:
    """It may refuse a hash that it does not know; the filter looks at what comes in any case."""
    asked = server_side(Selection(feature_hashes=hashes), **FEATURES)
    assert asked.include_object_feature_hashes is None
    assert asked.include_classification_feature_hashes is None


def test_reviews_and_urls_are_asked_for_only_where_they_are_needed() -> None:
    """Reviews for the approved filter or by wish; signed URLs by wish alone."""
    assert not server_side(Selection(), **FEATURES).include_reviews
    assert server_side(Selection(approved=True), **FEATURES).include_reviews
    assert server_side(Selection(include_reviews=True), **FEATURES).include_reviews
    assert not server_side(Selection(approved=True), **FEATURES).get_signed_url
    assert server_side(Selection(signed_urls=True), **FEATURES).get_signed_url
