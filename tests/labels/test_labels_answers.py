"""Answers: flat on the wire, nested and in ontology order in the records."""

from typing import Any

import pytest

from tests.labels.rows import Json, answer, classifications, flat, label, objects, option, placed, row, unit


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


def written(feature: str, name: str, answers: Any, **more: Any) -> Json:
    return {
        "name": name,
        "value": feature,
        "featureHash": feature,
        "manualAnnotation": None,
        "answers": answers,
        **more,
    }


def test_answers_stand_in_ontology_order_under_the_option_they_belong_to() -> None:
    """Siblings on the wire, in any order; names are the ontology's, whatever the row calls them."""
    found = static(
        answer("note", "scratched"),
        answer("extras", [option("rack")]),
        answer("doors", [{"name": "Doors", "value": "two", "featureHash": "two"}]),
        answer("kind", [option("van")], manualAnnotation=True),
    )
    note = written("note", "Note", "scratched")
    doors = written("doors", "Doors", [{**option("two"), "attributes": [note]}])
    kind = written("kind", "Kind", [{**option("van"), "attributes": [doors]}], manualAnnotation=True)
    assert found == [kind, written("extras", "Extras", [option("rack")])]


def test_a_split_checklist_is_one_union_in_ontology_order() -> None:
    """The label editor writes a dict for each checked option, the SDK one for all."""
    found = static(
        answer("extras", [option("lamp")]),
        answer("extras", [option("rack"), option("lamp")]),
    )
    assert found == [written("extras", "Extras", [option("rack"), option("lamp")])]


def test_a_later_answer_replaces_an_earlier_one() -> None:
    """A repeated text, number or radio: the last one holds."""
    found = static(answer("plate", "old"), answer("kind", [option("van")]), answer("plate", "new"),
                   answer("kind", [option("bus")]))  # fmt: skip
    assert found == [written("kind", "Kind", [option("bus")]), written("plate", "Plate", "new")]


NESTED = answer("doors", [option("two")], manualAnnotation=False, extra={"deep": 1})


@pytest.mark.parametrize(
    "parents",
    [(), (answer("kind", [option("bus")]),), (answer("kind", []),)],
    ids=["no parent", "another option", "parent unanswered"],
)
def test_a_nested_answer_without_its_parent_is_kept_at_the_end_as_sent(parents: tuple[Json, ...]) -> None:
    """Its parent is missing, unanswered, or answered otherwise: nothing is lost."""
    assert static(NESTED, *parents, answer("plate", "x"))[-1] == NESTED


def test_what_the_ontology_does_not_know_is_kept_at_the_end_as_sent() -> None:
    """Unknown attributes come last; unknown options last among their own."""
    stranger = answer("gone", [option("anything")], more=[1, None])
    found = static(stranger, answer("extras", [option("future"), option("rack")]), answer("plate", None))
    extras, plate, last = found
    assert extras["answers"] == [option("rack"), option("future")]
    assert plate == written("plate", "Plate", None)
    assert last == stranger


def test_without_an_ontology_answers_are_as_sent() -> None:
    """Nothing is known then, so nothing is moved or renamed."""
    sent = [answer("doors", [option("two")]), answer("kind", [option("van")])]
    assert static(*sent, ontology=None) == sent


@pytest.mark.parametrize(
    "answers", ["free text", None, 12, {"featureHash": "van"}, [], ["van"], [None], [[1]]]
)
def test_an_answer_of_an_odd_form_is_kept_as_sent(answers: Any) -> None:
    """A radio that holds no list of options keeps what it holds."""
    assert static(answer("kind", answers)) == [written("kind", "Kind", answers)]


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
        frame: [one["answers"] for one in answers if one["name"] == "Plate"]
        for frame, answers in found.items()
    }
    assert plates == {0: ["A"], 2: ["A"], 3: ["B"], 7: [], 9: ["B"]}
    assert found[3] == [written("plate", "Plate", "B"), written("speed", "Speed", 1.5)]


def test_overlapping_dynamic_answers() -> None:
    """Texts: the later dict holds on the overlap. Checklists: union, on exactly the frames of each."""
    found = dynamic(
        [4, 5, 7, 8, 11],
        answer("plate", "A", range=[[0, 10]]),
        answer("plate", "B", range=[[5, 7]]),
        answer("extras", [option("rack")], range=[[0, 10]]),
        answer("extras", [option("lamp")], range=[[5, 7]]),
    )
    seen = {
        frame: {one["name"]: one["answers"] for one in answers if one} for frame, answers in found.items()
    }
    both = {"Extras": [option("rack"), option("lamp")], "Plate": "B"}
    alone = {"Extras": [option("rack")], "Plate": "A"}
    assert seen == {4: alone, 5: both, 7: both, 8: alone, 11: {}}


def test_unknown_dynamic_answers_hold_on_their_frames_too() -> None:
    """As sent, but for the keys that say when they hold."""
    found = dynamic([0, 1], answer("gone", ["x"], range=[[1, 1]]), answer("plate", "A", range=[[0, 1]]))
    assert [one["featureHash"] for one in found[0]] == ["plate"]
    assert found[1][1] == written("gone", "sent", ["x"])


def test_dynamic_answers_of_an_image() -> None:
    """An image is frame 0 of itself."""
    actions = {"o1": {"actions": [answer("plate", "A", range=[[0, 0]])]}}
    [record] = objects(row("image", unit(flat(label())), object_actions=actions))
    assert record["dynamic_attributes"] == [written("plate", "Plate", "A")]


def test_a_dynamic_answer_that_names_a_space_holds_only_there() -> None:
    """One object on two spaces may be answered differently on each."""
    spaces = {
        name: {"space_type": "video", "labels": {"0": flat(label()), "1": flat(label())}} for name in "ab"
    }
    actions = [answer("plate", "on a", range=[[1, 1]], spaceId="a"), answer("speed", 3, range=[[0, 1]])]
    sent = row("group", unit({}), spaces=spaces, object_actions={"o1": {"actions": actions}})
    seen = {
        (record["space_id"], record["frame"]): [one["answers"] for one in record["dynamic_attributes"]]
        for record in objects(sent)
    }
    assert seen == {("a", 0): [3], ("a", 1): ["on a", 3], ("b", 0): [3], ("b", 1): [3]}


def test_a_number_for_each_frame_of_a_long_track() -> None:
    """Each frame has its own answer, in whatever order the answers were sent."""
    frames = list(range(2000))
    actions = [answer("speed", frame / 4, range=[[frame, frame]]) for frame in reversed(frames)]
    found = dynamic(frames, *actions)
    assert {frame: [one["answers"] for one in answers] for frame, answers in found.items()} == {
        frame: [frame / 4] for frame in frames
    }


def test_answers_of_classifications_are_nested_the_same_way() -> None:
    """`answers` has the form of an object's `attributes`."""
    [record] = classifications(row("video", unit({}), classification_answers=placed(range=[[0, 0]])))
    assert record["answers"] == [
        {
            "name": "Weather",
            "value": "weather",
            "featureHash": "weather-is",
            "manualAnnotation": None,
            "answers": [option("sunny")],
        }
    ]


def test_the_same_answers_come_out_the_same_however_often_they_are_seen() -> None:
    """More distinct answers than the cache holds, twice over, from one extractor."""
    entries = {f"o{at}": {"classifications": [answer("plate", f"{at}" * (1 + at % 7))]} for at in range(5000)}
    labels = flat(*[label(name) for name in entries], *[label(name) for name in entries])
    found = objects(row("image", unit(labels), object_answers=entries))
    texts = [record["attributes"][0]["answers"] for record in found]
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
            one["answers"] for one in record["dynamic_attributes"]
        ]
        for record in objects(sent)
    }
    assert seen == {
        (name, spot): ["first" if spot[1] == "0" else "then", *([3] if spot[0] == "a" else [])]
        for name, spots in stands.items()
        for spot in spots.split()
    }
