"""`--where`: what an expression keeps, what it reads, and what is said of one that cannot be used."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from harvester.errors import BadInput, SkipRow
from harvester.expression import FUNCTIONS, Where
from harvester.filters import server_side
from harvester.labels.extract import Extracted, Extractor
from harvester.settings import Selection
from tests.labels.rows import (
    EVERYTHING,
    PLANNED,
    Json,
    answer,
    classifications,
    extract,
    flat,
    label,
    objects,
    placed,
    row,
    unit,
)  # fmt: skip

BOX = {"x": 0.5, "y": 0, "w": 1, "h": 0.25}


def matches(expression: str, record: Json) -> bool:
    return Where(expression).matches(json.dumps(record).encode(), "label-1")


def objects_where(expression: str, *labels: Json, **how: Any) -> list[str]:
    """The hashes of the objects, all on one image, that `expression` keeps."""
    found = objects(row("image", unit(flat(*labels))), selection=Selection(where=expression), **how)
    return [record["object"]["objectHash"] for record in found]


@pytest.mark.parametrize(
    ("expression", "fits", "fits_not"),
    [
        ("object.confidence > 0.8", {"confidence": 1}, {"confidence": 0.8}),
        ("object.confidence == 1", {"confidence": 1.0}, {"confidence": 0.5}),
        ("object.boundingBox.w * object.boundingBox.h > 0.2", {"boundingBox": BOX}, {"boundingBox": None}),
        ("object.boundingBox.w * 1920.0 > 64.0", {"boundingBox": BOX}, {"boundingBox": {"w": 0}}),
        ('object["name"] in ["Car", "Bus"]', {"name": "Bus"}, {"name": "Tram"}),
        ('object.name.matches("^(?i)car")', {"name": "CARGO"}, {"name": None}),
        ('frame == null || object.shape == "point"', {"shape": "point"}, {}),
        (
            "has(object.lastEditedBy) && object.lastEditedBy != object.createdBy",
            {"lastEditedBy": "b@c", "createdBy": "a@b"},
            {},
        ),
        ("object.createdBy == null", {"createdBy": None}, {"createdBy": "a@b"}),
        ('object.exists(key, key == "extra")', {"extra": 1}, {}),
    ],
)
def test_an_expression_keeps_and_drops_objects(expression: str, fits: Json, fits_not: Json) -> None:
    """One object that it is true of and one that it is not true of."""
    assert objects_where(expression, label("yes", **fits), label("no", **fits_not)) == ["yes"]


def test_it_reads_the_whole_record() -> None:
    """Keys of the head, answers by their names, numbers in answers."""
    sent = row(
        "image",
        unit(flat(label("fast"), label("slow"))),
        object_answers={
            name: {"objectHash": name, "classifications": [answer("speed", kmh)]}
            for name, kmh in (("fast", 80), ("slow", 8.5))
        },
    )
    expression = (
        'kind == "object" && data_type == "image" && data_title.contains("title") && '
        'attributes.exists(a, a.value == "speed" && a.number >= 50.0)'
    )
    found = objects(sent, selection=Selection(where=expression))
    assert [record["object"]["objectHash"] for record in found] == ["fast"]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("object.confidence > 2.0", {"objects": 0, "classifications": 2}),
        ("size(attributes) > 99", {"objects": 0, "classifications": 2}),
        ('answers.exists(a, a.name == "nothing")', {"objects": 1, "classifications": 0}),
        ('classification.classificationHash == "c2"', {"objects": 1, "classifications": 1}),
        ('data_type == "image"', {"objects": 1, "classifications": 2}),
        ('data_type == "video"', {"objects": 0, "classifications": 0}),
        ('object.shape == "bounding_box" || size(answers) > 99', {"objects": 1, "classifications": 0}),
    ],
)
def test_it_concerns_the_records_that_have_what_it_names(expression: str, kept: dict[str, int]) -> None:
    """`object` is of objects and `answers` of classifications; other kinds are left alone."""
    entries = placed("c1", range=[[0, 0]]) | placed("c2", range=[[0, 0]])
    sent = row("image", unit(flat(label(shape="bounding_box"))), classification_answers=entries)
    harvest = extract(sent, selection=Selection(where=expression))
    assert {kind: harvest.written[kind] for kind in kept} == kept
    for kind in kept:
        if "where" in harvest.dropped[kind]:
            assert harvest.dropped[kind] == {"where": harvest.seen[kind] - harvest.written[kind]}


def test_it_comes_after_the_built_in_filters_and_before_your_own() -> None:
    """What an earlier filter drops it neither sees nor counts."""
    sent = row(
        "image", unit(flat(label("a", shape="point"), label("b", confidence=0.1), label("c", confidence=1)))
    )
    selection = Selection(
        shapes=("bounding_box",), where="object.confidence > 0.5", filters=("json:loads_nothing",)
    )
    with pytest.raises(BadInput, match="loads_nothing"):
        extract(sent, selection=selection)
    selection = Selection(
        shapes=("bounding_box",), where="object.confidence > 0.5", filters=("builtins:bool",)
    )
    assert extract(sent, selection=selection).dropped["objects"] == {
        "shape": 1,
        "where": 1,
        "builtins:bool": 0,
    }


def test_kept_records_are_as_they_were_sent() -> None:
    """Numbers are doubles for the expression alone."""
    [record] = objects(
        row("image", unit(flat(label("a", confidence=1, big=2**60)))),
        selection=Selection(where="object.confidence >= 1 && object.big > 1"),
    )
    assert (record["object"]["confidence"], record["object"]["big"]) == (1, 2**60)
    assert isinstance(record["object"]["confidence"], int)


@pytest.mark.parametrize(
    "record",
    [
        {"object": {}},
        {"object": {"box": None}},
        {"object": {"box": {}}},
        {"object": {"box": {"w": None}}},
        {"object": {"box": {"w": 1}}},
        {"object": {"box": {"w": 1}}, "frame": None},
    ],
)
@pytest.mark.parametrize(
    "expression", ["object.box.w < 2 && frame < 9", "!(object.box.w > 2) && !(frame > 9)"]
)
def test_what_is_missing_or_null_does_not_match(record: Json, expression: str) -> None:
    """Nor does its negation."""
    assert not matches(expression, record)


@pytest.mark.parametrize(
    "expression", ["ranges[0][0] >= 0", "attributes[0].number > 1.0 || ranges[0][2] > 1"]
)
@pytest.mark.parametrize("ranges", [[], None, [[]]])
def test_an_element_that_a_list_has_not_does_not_match(expression: str, ranges: Any) -> None:
    """The first range of a classification of the whole row, or the first answer where there is none."""
    assert not matches(expression, {"ranges": ranges, "attributes": []})


def test_a_null_is_a_value_where_it_can_be_one() -> None:
    """It can be asked for, and it may be what decides nothing."""
    assert matches("object.a == null", {"object": {"a": None}})
    assert matches("object.a < 1 || frame == 3", {"object": {"a": None}, "frame": 3})
    assert matches('object.a == null || object.a.startsWith("x")', {"object": {"a": None}})
    assert not matches('object.a.startsWith("x")', {"object": {"a": None}})
    assert not matches("object.hidden", {"object": {"hidden": None}})


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("object.confidence > 0.8 &&", "column 27 (at its end): something is missing"),
        ("frame < 3 &&& kind", "column 13 (at '& kind')"),
        ("frame <\n  3 )", "line 2, column 5 (at ')')"),
        (
            '"objct" == kind && objct.name == "x"',
            "column 20 (at 'objct.name == \"x\"'): no such key of a record: objct",
        ),
        ('"ß❄" == kind && form == "point"', "column 17 (at 'form == \"point\"')"),
        ('object.name.lower() == "car"', "column 13 (at 'lower() == \"car\"'): no such function: lower"),
        ('name == "x" and frame < 3', "column 13 (at 'and frame < 3'): CEL writes && for and"),
        ('name == "or" OR frame < 3', "column 14 (at 'OR frame < 3'): CEL writes || for OR"),
        ('name == "x" & frame < 3', "CEL writes && for &"),
        ('name = "x"', "column 6 (at '= \"x\"'): CEL writes == for ="),
        ('name === "x"', "CEL writes == for ==="),
        ('name <> "x"', "CEL writes != for <>"),
        ("not object.hidden", "CEL writes ! for not"),
        ("not(object.hidden)", "CEL writes ! for not"),
        ("object.a == None", "CEL writes null for None"),
        ('name == "and" frame', "extraneous input 'frame'"),
        ("frame", "gives 0, not true or false"),
        ("object.confidence", "gives 1.0, not true or false"),
        ("(" * 10_000, "column"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_at_once(expression: str, said: str) -> None:
    """In one line, with the column."""
    with pytest.raises(BadInput) as caught:
        Selection(where=expression)
    message = str(caught.value)
    assert message.startswith("--where: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("object.name > 3", "types that do not go together"),
        ("object.confidence * 2 > 1.0", "write 2.0, not 2"),
        ("object.title", "it gives 'Car', not true or false"),
        ("timestamp(object.name) > timestamp('2024-01-01T00:00:00Z')", "timestamp"),
        ('object.name.matches("(")', "unclosed group"),
        ("frame / 0 > 1", "division by zero"),
    ],
)
def test_what_makes_no_sense_on_a_record_stops_and_names_the_row(expression: str, said: str) -> None:
    """As with a function of your own that fails."""
    record = {"object": {"name": "Car", "title": "Car", "confidence": 1, "points": [1]}, "frame": 1}
    with pytest.raises(BadInput, match="label-1") as caught:
        matches(expression, record)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("object.confidence > 0.5", {"object": {"confidence": 0.75}}),
        ('object["confidence"] > 0.5 && frame > 1', {"frame": 7, "object": {"confidence": 0.75}}),
        ("has(object.a) && object.a.b == 1", {"object": {"a": {"b": 1}}}),
        (
            "size(object) > 1 && object.a.b == 1",
            {"object": {"confidence": 0.75, "a": {"b": 1}, "name": "Car"}},
        ),
        ('object.exists(k, k == "name")', {"object": {"confidence": 0.75, "a": {"b": 1}, "name": "Car"}}),
        ('kind == "object"', {"kind": "object"}),
    ],
)
def test_what_it_reads_is_what_is_decoded(expression: str, read: Json) -> None:
    """Keys of the record, and of its object."""
    thing = {"confidence": 0.75, "a": {"b": 1}, "name": "Car"}
    line = json.dumps({"kind": "object", "frame": 7, "object": thing, "attributes": []}).encode()
    assert Where(expression)._decode(line) == read


def test_numbers_are_doubles_however_deep() -> None:
    """In answers nested in answers, too; the frame is an integer."""
    nested = {"answers": [{"attributes": [{"answers": [{"attributes": [{"answers": 4}]}]}]}]}
    at = "attributes[0].answers[0].attributes[0].answers[0].attributes[0].answers"
    assert matches("object.n > 1e308 && object.m < -1e308", {"object": {"n": 10**400, "m": -(10**400)}})
    assert matches(f"{at} / 8.0 == 0.5 && frame % 2 == 1", {"attributes": [nested], "frame": 3})


def test_reviews_are_asked_for_where_they_are_read() -> None:
    """And only there."""
    nothing = {"object_features": frozenset[str](), "classification_features": frozenset[str]()}
    assert server_side(Selection(where="size(object.reviews) > 0"), **nothing).include_reviews
    assert not server_side(Selection(where='object.name == "reviews"'), **nothing).include_reviews


def test_one_expression_serves_many_threads() -> None:
    """Each gets its own record's answer."""
    where = Where("object.confidence > 0.5")
    lines = [json.dumps({"object": {"confidence": i / 1000}}).encode() for i in range(1000)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda line: where.matches(line, None), lines))
    assert found == [i > 500 for i in range(1000)]


_CALLS = {
    "contains": 's.contains("x")',
    "startsWith": 's.startsWith("x")',
    "endsWith": 's.endsWith("x")',
    "matches": 's.matches("x")',
    "size": "size(s) > 0",
    "string": 'string(1) == "1"',
    "int": 'int("1") == 1',
    "uint": 'uint("1") == 1u',
    "double": 'double("1") == 1.0',
    "bytes": 'bytes("x") == b"x"',
    "timestamp": "timestamp(t) == timestamp(t)",
    "duration": 'duration("1h") == duration("60m")',
    "type": "type(s) == string",
    "dyn": 'dyn(s) == "x"',
}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_function_that_is_allowed_is_there(function: str) -> None:
    """And can be called."""
    call = _CALLS.get(function, f"timestamp(t).{function}() >= 0")
    call = call.replace("(t)", "(data_title)").replace("s.", "file_name.").replace("(s)", "(file_name)")
    assert matches(call, {"data_title": "2024-01-01T00:00:00Z", "file_name": "x"})


def test_classifications_are_chosen_by_their_answers() -> None:
    """As they are written: names from the ontology."""
    entries = placed("c1", range=[[0, 0]]) | placed("c2", featureHash="other", range=[[0, 0]])
    sent = row("video", unit({}), classification_answers=entries)
    found = classifications(sent, selection=Selection(where='classification.featureHash == "weather"'))
    assert [record["classification"]["classificationHash"] for record in found] == ["c1"]


PATHS: dict[str, set[str]] = {
    "object.confidense > 0.8": {"object", "object.confidense"},
    "object . boundingBox.w*object['boundingBox'][\"h\"] > 0.2": {
        "object", "object.boundingBox", "object.boundingBox.w", "object.boundingBox.h",
    },
    "has(object.a.b) && object.name.startsWith('frame.x') && frame > 1.5": {
        "object", "object.a", "object.a.b", "object.name", "frame",
    },
    'answers.exists(a, a.name == "b.c" && a.options.all(o, o.nmae == "x"))': {
        "answers", "answers.name", "answers.options", "answers.options.nmae",
    },
    "ranges[0][1] > 5 && size(reviews) > 0 && reviews[0].approved": {
        "ranges", "reviews", "reviews.approved",
    },
    "attributes.filter(a, a.number > 1.0).size() > 1": {"attributes", "attributes.number"},
    "object.exists(key, key == 'extra')": {"object"},
    "true": set(),
}  # fmt: skip


@pytest.mark.parametrize(("expression", "fields"), PATHS.items())
def test_the_fields_that_an_expression_reads_are_known(expression: str, fields: set[str]) -> None:
    """Through loops and brackets, and not from what stands in quotes or is a function."""
    assert set(Where(expression).fields) == fields


@pytest.mark.parametrize(
    ("expression", "records", "lacking"),
    [
        ("object.confidense > 0.8", [{"object": {"confidence": 1}}], {"object.confidense"}),
        ("object.a == 1.0 || object.b == 2.0", [{"object": {"a": 5}}, {"object": {"b": 5}}], set()),
        ("object.a > 1.0 && object.b > 2.0", [{"object": {"a": 0}}], {"object.b"}),
        ("object.a.b > 1.0", [{"object": {"a": None}}], {"object.a", "object.a.b"}),
        ("frame > 5 && width > 5", [{"frame": None, "width": 0}], {"frame"}),
        ("answers.exists(a, a.x == 1.0)", [{"answers": []}], {"answers", "answers.x"}),
        ("answers.exists(a, a.x == 1.0)", [{"answers": [{"y": 1}]}, {"answers": [{}, {"x": 2}]}], set()),
        ("answers[0].options[0].nmae == ''", [{"answers": [{"options": [{}]}]}], {"answers.options.nmae"}),
    ],
)
def test_what_no_record_has_is_what_is_left(expression: str, records: list[Json], lacking: set[str]) -> None:
    """A field is there if any record has a value for it, whether the expression comes to it or not."""
    where = Where(expression)
    left = set(where.fields)
    for record in records:
        assert not where.matches(json.dumps(record).encode(), "label-1", left)
    assert left == lacking


def test_a_harvest_says_which_fields_none_of_its_records_had() -> None:
    """Of all kinds together. A record that another filter has dropped is not asked."""
    sent = row(
        "image",
        unit(flat(label("a", shape="point", extra=1), label("b", shape="polygon"))),
        classification_answers=placed("c1", range=[[0, 0]]),
    )
    expression = "object.extra > 1.0"
    assert extract(sent, selection=Selection(where=expression)).lacking == set()
    lacking = extract(sent, selection=Selection(where=expression, shapes=("polygon",))).lacking
    assert lacking == {"object.extra"}
    assert extract(sent, selection=Selection(where="until > 5 || branch_name == ''")).lacking == {"until"}
    assert extract(sent, selection=Selection(shapes=("point",))).lacking == set()
    assert extract(row("image", unit({})), selection=Selection(where=expression)).lacking == {
        "object", "object.extra",
    }  # fmt: skip


def test_a_row_that_cannot_be_read_has_no_field() -> None:
    """What was found in it before the fault is taken back with its records."""
    good = row("image", unit(flat(label("a"))))
    broken = row("image", unit(flat(label("b", extra=1))), classification_answers={"c1": 5})
    extractor = Extractor(Selection(where="object.extra > 1.0"), EVERYTHING, None)
    planned = msgspec.structs.replace(PLANNED, label_hash=good["label_hash"])
    both = [(json.dumps(sent).encode(), planned) for sent in (good, broken)]
    (_, first), (_, second) = extractor.extract_all(both)
    assert isinstance(first, Extracted)
    assert first.lacking == {"object.extra"}
    assert isinstance(second, SkipRow)
