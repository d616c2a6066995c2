"""Answers: flat and in any order on the wire, flat and in ontology order in the records."""

import json
from typing import Any

import pytest

from harvester.schema import ANSWER_KEYS, OPTION_KEYS
from tests.labels.rows import (
    Json,
    answer,
    classifications,
    extract,
    flat,
    item,
    label,
    objects,
    option,
    placed,
    records,
    row,
    said,
    unit,
)


def static(*answers: Json, **how: Any) -> list[Json]:
    """The `attributes` of an object with these static answers."""
    entry = {"o1": {"objectHash": "o1", "classifications": list(answers)}}
    [record] = objects(row("image", unit(flat(label())), object_answers=entry), **how)
    assert record["dynamic_attributes"] == []
    return record["attributes"]


def dynamic(frames: list[int], *actions: Json, **how: Any) -> dict[int, list[Json]]:
    """The `dynamic_attributes` of an object with these dynamic answers, by frame."""
    labels = {str(frame): flat(label()) for frame in frames}
    sent = row("video", unit(labels), object_actions={"o1": {"objectHash": "o1", "actions": list(actions)}})
    return {record["frame"]: record["dynamic_attributes"] for record in objects(sent, **how)}


def test_answers_stand_in_ontology_order_depth_first() -> None:
    """Siblings on the wire, in any order; names are the ontology's, whatever the row calls them."""
    found = static(
        answer("note", "scratched"),
        answer("extras", [option("rack")]),
        answer("doors", [{"name": "Doors", "value": "two", "featureHash": "two"}]),
        answer("kind", [option("van")], manualAnnotation=True),
    )
    assert found == [
        item("kind", "Kind", [option("van")], manual_annotation=True),
        item("doors", "Doors", [option("two")], parent="van"),
        item("note", "Note", "scratched", parent="two"),
        item("extras", "Extras", [option("rack")]),
    ]


def test_an_answer_has_always_the_same_keys_in_the_same_order() -> None:
    """Readers that infer a schema from the first records find no other one later."""
    found = static(answer("kind", [option("van")]), answer("plate", "x"), answer("odd", {"a": 1}))
    assert [tuple(one) for one in found] == [ANSWER_KEYS] * 3
    assert tuple(found[0]["options"][0]) == OPTION_KEYS


def test_a_split_checklist_is_one_union_in_ontology_order() -> None:
    """The label editor writes a dict for each checked option, the SDK one for all."""
    found = static(
        answer("extras", [option("lamp")]),
        answer("extras", [option("rack"), option("lamp")]),
    )
    assert found == [item("extras", "Extras", [option("rack"), option("lamp")])]


def test_a_later_answer_replaces_an_earlier_one() -> None:
    """A repeated text, number or radio: the last one holds."""
    found = static(answer("plate", "old"), answer("kind", [option("van")]), answer("plate", "new"),
                   answer("kind", [option("bus")]))  # fmt: skip
    assert found == [item("kind", "Kind", [option("bus")]), item("plate", "Plate", "new")]


@pytest.mark.parametrize(
    "parents",
    [(), (answer("kind", [option("bus")]),), (answer("kind", []),)],
    ids=["no parent", "another option", "parent unanswered"],
)
def test_a_nested_answer_without_its_parent_is_kept_at_the_end(parents: tuple[Json, ...]) -> None:
    """Its parent is missing, unanswered, or answered otherwise: nothing is lost."""
    nested = answer("doors", [option("two")], manualAnnotation=False)
    last = static(nested, *parents, answer("plate", "x"))[-1]
    assert last == item("doors", "Doors", [option("two")], parent="van", manual_annotation=False)


def test_what_the_ontology_does_not_know_is_kept_at_the_end() -> None:
    """Unknown attributes come last, in their own words; unknown options last among their own."""
    unknown = answer("gone", [option("anything")])
    found = static(unknown, answer("extras", [option("future"), option("rack")]), answer("plate", None))
    assert found == [
        item("extras", "Extras", [option("rack"), option("future")]),
        item("plate", "Plate", None),
        item("gone", "sent", [option("anything")]),
    ]


def test_without_an_ontology_answers_stay_in_their_order_and_words() -> None:
    """Nothing is known then, so nothing is moved or renamed."""
    sent = [answer("doors", [option("two")]), answer("kind", [option("van")])]
    found = static(*sent, ontology=None)
    assert found == [item("doors", "sent", [option("two")]), item("kind", "sent", [option("van")])]


ODD = [{"featureHash": "van"}, ["van"], [None], [[1]], True, [{"name": 3, "featureHash": "van"}]]


@pytest.mark.parametrize("answers", ["free text", None, 12, -1.5, [], 2**63 - 1])
def test_an_answer_of_another_form_than_its_type_stands_where_it_fits(answers: Any) -> None:
    """A radio that holds no list of options keeps what it holds."""
    assert static(answer("kind", answers)) == [item("kind", "Kind", answers)]


@pytest.mark.parametrize("answers", ODD[:-1])
def test_a_form_that_fits_nowhere_stands_as_json_text_and_is_noted(answers: Any) -> None:
    """Nothing is lost, and the schema stays the same."""
    entry = {"o1": {"objectHash": "o1", "classifications": [answer("kind", answers)]}}
    harvest = extract(row("image", unit(flat(label())), object_answers=entry))
    [record] = records(harvest, "objects")
    [found] = record["attributes"]
    assert json.loads(found["text"]) == answers
    assert found == item("kind", "Kind", found["text"])
    assert [(note.note, note.detail) for note in harvest.notes] == [("answer_as_text", "object o1")]


@pytest.mark.parametrize("sent", ["9223372036854775808", "-9223372036854775809", "1e400", "1" * 400])
def test_a_number_that_no_reader_takes_stands_in_text(sent: str) -> None:
    """Beyond 64 bits, or beyond a double."""
    entry = {"o1": {"classifications": [answer("speed", "NUMBER")]}}
    wire = json.dumps(row("image", unit(flat(label())), object_answers=entry))
    harvest = extract(wire.replace('"NUMBER"', sent).encode())
    [record] = records(harvest, "objects")
    assert record["attributes"] == [item("speed", "Speed", None, text=sent)]
    assert [note.note for note in harvest.notes] == ["answer_as_text"]


@pytest.mark.parametrize("entry", [None, {}, {"classifications": None}, {"classifications": []}])
def test_an_object_may_have_no_answers(entry: Json | None) -> None:
    """A missing, null or empty entry all mean the same."""
    [record] = objects(row("image", unit(flat(label())), object_answers={"o1": entry}))
    assert record["attributes"] == []


def test_dynamic_answers_hold_on_their_frames_only() -> None:
    """Both ends of a range count; ranges reach past the object's frames; the range itself is left out."""
    found = dynamic(
        [0, 2, 3, 7, 9],
        answer("plate", "A", dynamic=True, range=[[0, 2]], trackHash="t"),
        answer("plate", "B", dynamic=True, range=[[3, 3], [9, 500]]),
        answer("speed", 1.50, dynamic=True, range=[[2, 3]]),
    )
    plates = {
        frame: [said(one) for one in answers if one["name"] == "Plate"] for frame, answers in found.items()
    }
    assert plates == {0: ["A"], 2: ["A"], 3: ["B"], 7: [], 9: ["B"]}
    assert found[3] == [item("plate", "Plate", "B"), item("speed", "Speed", 1.5)]


def test_overlapping_dynamic_answers() -> None:
    """Texts: the later dict holds on the overlap. Checklists: union, on exactly the frames of each."""
    found = dynamic(
        [4, 5, 7, 8, 11],
        answer("plate", "A", range=[[0, 10]]),
        answer("plate", "B", range=[[5, 7]]),
        answer("extras", [option("rack")], range=[[0, 10]]),
        answer("extras", [option("lamp")], range=[[5, 7]]),
    )
    seen = {frame: {one["name"]: said(one) for one in answers if one} for frame, answers in found.items()}
    both = {"Extras": ["Rack", "Lamp"], "Plate": "B"}
    alone = {"Extras": ["Rack"], "Plate": "A"}
    assert seen == {4: alone, 5: both, 7: both, 8: alone, 11: {}}


def test_unknown_dynamic_answers_hold_on_their_frames_too() -> None:
    """As sent, but for the keys that say when they hold."""
    found = dynamic([0, 1], answer("gone", "x", range=[[1, 1]]), answer("plate", "A", range=[[0, 1]]))
    assert [one["feature_hash"] for one in found[0]] == ["plate"]
    assert found[1][1] == item("gone", "sent", "x")


def test_dynamic_answers_of_an_image() -> None:
    """An image is frame 0 of itself."""
    actions = {"o1": {"actions": [answer("plate", "A", range=[[0, 0]])]}}
    [record] = objects(row("image", unit(flat(label())), object_actions=actions))
    assert record["dynamic_attributes"] == [item("plate", "Plate", "A")]


def test_a_dynamic_answer_that_names_a_space_holds_only_there() -> None:
    """One object on two spaces may be answered differently on each."""
    spaces = {
        name: {"space_type": "video", "labels": {"0": flat(label()), "1": flat(label())}} for name in "ab"
    }
    actions = [answer("plate", "on a", range=[[1, 1]], spaceId="a"), answer("speed", 3, range=[[0, 1]])]
    sent = row("group", unit({}), spaces=spaces, object_actions={"o1": {"actions": actions}})
    seen = {
        (record["space_id"], record["frame"]): [said(one) for one in record["dynamic_attributes"]]
        for record in objects(sent)
    }
    assert seen == {("a", 0): [3], ("a", 1): ["on a", 3], ("b", 0): [3], ("b", 1): [3]}


def test_a_number_for_each_frame_of_a_long_track() -> None:
    """Each frame has its own answer, in whatever order the answers were sent."""
    frames = list(range(2000))
    actions = [answer("speed", frame / 4, range=[[frame, frame]]) for frame in reversed(frames)]
    found = dynamic(frames, *actions)
    assert {frame: [said(one) for one in answers] for frame, answers in found.items()} == {
        frame: [frame / 4] for frame in frames
    }


def test_answers_of_classifications_have_the_same_form() -> None:
    """`answers` has the form of an object's `attributes`."""
    [record] = classifications(row("video", unit({}), classification_answers=placed(range=[[0, 0]])))
    assert record["answers"] == [item("weather-is", "Weather", [option("sunny")], value="weather")]


def test_the_same_answers_come_out_the_same_however_often_they_are_seen() -> None:
    """More distinct answers than the cache holds, twice over, from one extractor."""
    entries = {f"o{at}": {"classifications": [answer("plate", f"{at}" * (1 + at % 7))]} for at in range(5000)}
    labels = flat(*[label(name) for name in entries], *[label(name) for name in entries])
    found = objects(row("image", unit(labels), object_answers=entries))
    texts = [record["attributes"][0]["text"] for record in found]
    assert texts == [f"{at}" * (1 + at % 7) for at in range(5000)] * 2


def test_the_same_dynamic_answers_hold_for_each_object_where_it_stands() -> None:
    """Many objects, answered alike, first met on different frames and spaces; each in its own way."""
    stands = {"o1": "a0 a2", "o2": "a2", "o3": "a0 b0", "o4": "b1 b2", "o5": "a0 a2", "o6": "b1"}
    actions = [
        answer("plate", "first", range=[[0, 0]]),
        answer("plate", "then", range=[[1, 2]]),
        answer("speed", 3, range=[[0, 2]], spaceId="a"),
    ]
    spaces = {
        space: {
            "space_type": "video",
            "labels": {
                frame: flat(*(label(name) for name, spots in stands.items() if space + frame in spots))
                for frame in "012"
            },
        }
        for space in "ab"
    }
    sent = row(
        "group", unit({}), spaces=spaces, object_actions={name: {"actions": actions} for name in stands}
    )
    seen = {
        (record["object"]["objectHash"], f"{record['space_id']}{record['frame']}"): [
            said(one) for one in record["dynamic_attributes"]
        ]
        for record in objects(sent)
    }
    assert seen == {
        (name, spot): ["first" if spot[1] == "0" else "then", *([3] if spot[0] == "a" else [])]
        for name, spots in stands.items()
        for spot in spots.split()
    }


@pytest.mark.parametrize("digits", [21, 5000])
def test_an_integer_of_any_length_is_an_answer(digits: int) -> None:
    """Python itself reads no integer of more than 4,300 digits; such a row must not end the export."""
    number = "9" * digits
    sent = json.dumps(
        row("image", unit(flat(label())), object_answers={"o1": {"classifications": [answer("speed", 777)]}})
    ).replace("777", number)
    [found] = objects(sent.encode())
    assert found["attributes"] == [item("speed", "Speed", number)]
