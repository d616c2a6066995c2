"""Labels and answers whose place is named in an unusual way: none is lost, none counts twice."""

import json
from typing import Any

import pytest

from harvester.errors import SkipRow
from harvester.settings import Format
from tests.labels.rows import (
    Json,
    answer,
    classifications,
    copy,
    extract,
    flat,
    label,
    objects,
    placed,
    records,
    row,
    said,
    unit,
)

LEFT, RIGHT = "left/1.jpg", "left/2.jpg"


def image(event: int, frame: int, **labels: Any) -> Json:
    """The space of an image of a scene."""
    scene = {"stream_id": "left", "event_index": event, "start_frame": frame}
    return {"space_type": "scene_image", "scene_info": scene, "labels": flat(**labels)}


IMAGES = {LEFT: image(7, 40), RIGHT: image(8, 41)}


def actions(*answers: Json) -> Json:
    """The dynamic answers of an object."""
    return {"o1": {"objectHash": "o1", "actions": list(answers)}}


def plates(sent: Json) -> list[tuple[str | None, list[Any]]]:
    """Where each record stands, and what its dynamic answers say."""
    return [(one["space_id"], [said(item) for item in one["dynamic_attributes"]]) for one in objects(sent)]


@pytest.mark.parametrize(
    ("named", "holds_on"),
    [
        (LEFT, [LEFT]),
        ("left#40", [LEFT]),
        ("left#7", [LEFT]),
        ("nowhere", [LEFT, RIGHT]),  # no space of the row: as if it named none
        (None, [LEFT, RIGHT]),
    ],
)
def test_a_dynamic_answer_holds_on_the_space_that_it_names(named: str | None, holds_on: list[str]) -> None:
    """By any name of the space; and wherever the object is, where it names none that the row has."""
    sent = row(
        "scene",
        unit({"left#40": flat(label()), RIGHT: flat(label())}),
        spaces=IMAGES,
        object_actions=actions(answer("plate", "seen", range=[[0, 0]], spaceId=named)),
    )
    assert plates(sent) == [(space, ["seen"] if space in holds_on else []) for space in (LEFT, RIGHT)]


def test_answers_of_point_clouds_that_only_labels_name_stay_apart() -> None:
    """They are known by the keys of their labels."""
    sent = row(
        "scene",
        unit({"lidar@1": flat(label()), "lidar@2": flat(label())}),
        spaces={},
        object_actions=actions(
            answer("plate", "one", range=[[0, 0]], spaceId="lidar@1"),
            answer("plate", "two", range=[[0, 0]], spaceId="lidar@2"),
        ),
    )
    assert plates(sent) == [("lidar@1", ["one"]), ("lidar@2", ["two"])]


@pytest.mark.parametrize("spaces", [{}, {"root": {"space_type": "image", "labels": {}}}])
def test_a_dynamic_answer_on_the_root_layer_holds_on_the_row_itself(spaces: Json) -> None:
    """Whether the row lists the root layer or not."""
    sent = row(
        "image",
        unit(flat(label())),
        spaces=spaces,
        object_actions=actions(answer("plate", "seen", range=[[0, 0]], spaceId="root")),
    )
    assert plates(sent) == [(None, ["seen"])]


@pytest.mark.parametrize("more", [{}, {"range": None}])
@pytest.mark.parametrize("continuous", [False, True])
def test_a_dynamic_answer_without_ranges_holds_at_any_time(more: Json, continuous: bool) -> None:
    """The SDK refuses such a row; the answer is not lost here."""
    sent = row(
        "scene",
        unit({"0": flat(label()), "9": flat(label(event="upsert") if continuous else label())}),
        scene={"isContinuous": continuous},
        object_actions=actions(answer("plate", "seen", **more)),
    )
    assert plates(sent) == [(None, ["seen"]), (None, ["seen"])]


def test_an_object_of_an_image_counts_once_under_all_its_names() -> None:
    """Labels under two keys and in the space itself: what only one of them has is there, too."""
    own = IMAGES | {LEFT: IMAGES[LEFT] | {"labels": flat(label("o1"), label("own"))}}
    keys = {"left#40": flat(label("o1")), "left#7": flat(label("o1"), label("o2"))}
    found = objects(row("scene", unit(keys), spaces=own))
    assert sorted((one["space_id"], one["object_hash"]) for one in found) == [
        (LEFT, "o1"), (LEFT, "o2"), (LEFT, "own"),
    ]  # fmt: skip


def test_objects_of_a_space_stay_where_a_data_unit_holds_its_classifications_only() -> None:
    """Copies of classifications in the data unit are no reason to pass over the space's own objects."""
    own = IMAGES | {LEFT: IMAGES[LEFT] | {"labels": flat(label("own"))}}
    [found] = objects(row("scene", unit({"left#40": flat(classifications=[copy()])}), spaces=own))
    assert (found["space_id"], found["object_hash"]) == (LEFT, "own")


@pytest.mark.parametrize("labels", [flat(label()), {"0": flat(label())}])
def test_what_a_unit_says_beside_its_labels_is_no_space(labels: Json) -> None:
    """An object with a key of its own, but without labels, makes no unit."""
    sent = row("video", unit({**labels, "metadata": {"objectCount": 1}}))
    found = extract(sent, format=Format(emit=("objects", "units")))
    assert [one["space_id"] for one in records(found, "units")] == [None]


@pytest.mark.parametrize("number", ["9223372036854775808", "9999999999999999999", "1e300", "-1e300"])
def test_no_number_of_a_frame_is_beyond_64_bits(number: str) -> None:
    """Readers would refuse the file. As a key it is the name of a space, so that the label stays."""
    sent = json.dumps(row("img_group", unit(flat(label()), data_sequence=777))).replace("777", number)
    [found] = objects(sent.encode())
    assert found["frame"] is None
    [found] = objects(row("video", unit({"9999999999999999999": flat(label())})))
    assert (found["frame"], found["space_id"]) == (None, "9999999999999999999")
    [found] = objects(row("video", unit({"9223372036854775807": flat(label())})))
    assert found["frame"] == 2**63 - 1


@pytest.mark.parametrize(
    ("sent", "number"), [('"7"', 7), ("7.0", 7), ("7.5", None), ('"x"', None), ('""', None)]
)
def test_the_number_of_an_object_is_an_integer_in_any_spelling(sent: str, number: int | None) -> None:
    """Anything else is none."""
    made = row("video", unit({"0": flat(label())}), object_answers={"o1": {"objectNumber": 777}})
    [found] = objects(json.dumps(made).replace("777", sent).encode())
    assert found["object_number"] == number


def test_a_classification_on_one_image_by_two_names_counts_once() -> None:
    """The key in `spaces`, and the stream with its frame."""
    spaces = {name: {"type": "frame", "range": [[0, 0]]} for name in (LEFT, "left#40")}
    [found] = classifications(
        row("scene", unit({}), spaces=IMAGES, classification_answers=placed(spaces=spaces))
    )
    assert (found["space_id"], found["ranges"]) == (LEFT, [[0, 0]])


def test_a_classification_with_ranges_on_the_root_layer_alone_is_not_lost() -> None:
    """The SDK passes over them."""
    entry = placed(range=[], spaces={"root": {"type": "frame", "range": [[0, 3]]}})
    [found] = classifications(row("video", unit({}), classification_answers=entry))
    assert (found["unit_hash"], found["space_id"], found["ranges"]) == ("unit-1", None, [[0, 3]])


@pytest.mark.parametrize("odd", ["x", True, [5], [0, "1"], [0, 1, 2], {"start": 0}, None])
@pytest.mark.parametrize("on_space", [False, True])
def test_ranges_of_a_classification_that_are_no_pairs_are_null_and_noted(odd: Any, on_space: bool) -> None:
    """Readers would take no such file; what the server sent stands in `classification`."""
    ranges = [[0, 1], odd]
    where = {"spaces": {LEFT: {"type": "frame", "range": ranges}}} if on_space else {"range": ranges}
    found = extract(row("video", unit({}), classification_answers=placed(**where)))
    [record] = records(found, "classifications")
    assert record["ranges"] is None
    assert [note.note for note in found.notes] == ["placement_unknown"]


def spoken(**where: Any) -> Json:
    """An entry of `object_answers` that is the object itself, `where` it stands."""
    return {"w1": {"objectHash": "w1", "featureHash": "word", "classifications": [], **where}}


def on(*names: str, **where: Any) -> Json:
    return {"spaces": {name: {"type": "frame", "range": [[1, 2]]} for name in names}} | where


SOUND = {"space_type": "audio", "labels": {}}


@pytest.mark.parametrize(
    ("data_type", "spaces", "entry", "expected"),
    [
        ("group", {"x": SOUND | {"space_type": "of tomorrow"}}, on("x"), [("x", [[1, 2]])]),
        ("group", {"x": SOUND | {"space_type": "video"}}, on("x"), [("x", [[1, 2]])]),
        ("group", {"x": SOUND, "y": SOUND}, on("x", "y"), [("x", [[1, 2]]), ("y", [[1, 2]])]),
        ("scene", IMAGES, on(LEFT, "left#40"), [(LEFT, [[1, 2]])]),
        # An object of a class and shape that nobody knows, on no ranges of a space: that of the row counts.
        (
            "audio", {}, {"featureHash": "gone", "spaces": {"x": {"range": []}}, "range": [[3, 4]]},
            [(None, [[3, 4]])],
        ),
    ],
)  # fmt: skip
def test_an_object_on_ranges_is_kept_on_any_kind_of_space(
    data_type: str, spaces: Json, entry: Json, expected: list[Any]
) -> None:
    """Also where the space has a type that we do not know, or one whose objects stand on frames."""
    found = objects(row(data_type, unit({}), spaces=spaces, object_answers=spoken(**entry)))
    assert [(one["space_id"], one["ranges"]) for one in found] == expected


@pytest.mark.parametrize("labels", [[label()], {"0": [label()], "1": flat()}])
def test_labels_in_a_list_fail_the_row_and_are_not_passed_over(labels: Any) -> None:
    """Nobody can tell what they are; empty lists are met, and mean that there are none."""
    with pytest.raises(SkipRow, match="Expected `object`, got `array` - at `labels"):
        extract(row("video", unit(labels)))
    assert objects(row("video", unit({"0": [], "1": flat(label())})))
