"""Classifications: where they stand, in both eras, and never twice."""

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from harvester.labels.expansion import MOST_FRAMES
from harvester.labels.extract import Extracted
from harvester.settings import Format, Selection
from tests.labels.rows import (
    EVERYTHING,
    ONTOLOGY,
    PLANNED,
    Json,
    classifications,
    copy,
    extract,
    flat,
    label,
    placed,
    records,
    row,
    said,
    spots,
    unit,
)  # fmt: skip

PER_FRAME = msgspec.structs.replace(EVERYTHING, per_frame=True)
COPIED = {
    "2": flat(classifications=[copy()]),
    "3": flat(classifications=[copy()]),
    "5": flat(classifications=[copy()]),
}
GLOBAL = placed(featureHash="quality")
SPACES = {
    "a": {"space_type": "video", "labels": {}},
    "b": {"space_type": "image", "labels": {"0": flat(classifications=[copy()])}},
}
FRAMED = {"type": "frame", "range": [[0, 1]]}
ROOT = {"root": {"space_type": "image", "labels": {}}, "d": {"space_type": "image", "labels": {}}}

# A row, and the space and ranges of each record that it gives.
CASES: dict[str, tuple[Json, list[tuple[str | None, Any]]]] = {
    "today: on ranges": (
        row("video", unit({}), classification_answers=placed(range=[[0, 4], [9, 9]])),
        [(None, [[0, 4], [9, 9]])],
    ),
    "today: on spaces, the root range ignored": (
        row("group", unit({}), spaces=SPACES, classification_answers=placed(
            range=[[7, 7]], spaces={"root": FRAMED, "a": FRAMED, "b": {"type": "html", "range": [[0, 0]]}})),
        [("a", [[0, 1]]), ("b", [])],
    ),
    "today: on a space that the row does not list": (
        row("group", unit({}), spaces=SPACES, classification_answers=placed(spaces={"x": {"range": None}})),
        [("x", [])],
    ),
    "today: only a root among the spaces": (
        row("video", unit({}), classification_answers=placed(range=[[1, 1]], spaces={"root": FRAMED})),
        [(None, [[1, 1]])],
    ),
    "today: a root space": (
        row("image", unit(flat()), spaces=ROOT, classification_answers=placed(range=[[0, 0]])),
        [("root", [[0, 0]])],
    ),
    "today: a root space and another": (
        row("image", unit(flat()), spaces=ROOT, classification_answers=placed(
            range=[[0, 0]], spaces={"d": FRAMED})),
        [("root", [[0, 0]]), ("d", [[0, 1]])],
    ),
    "today: a root space, whole": (
        row("image", unit(flat()), spaces=ROOT, classification_answers=placed(range=[])),
        [("root", [])],
    ),
    "today: on another space only, the root not copied onto": (
        row("image", unit(flat()), spaces=ROOT, classification_answers=placed(
            range=[], spaces={"d": {"range": []}})),
        [("d", [])],
    ),
    "today: frame copies beside ranges": (
        row("video", unit(COPIED), classification_answers=placed(range=[[0, 9]])),
        [(None, [[0, 9]])],
    ),
    "today: frame copies in spaces beside ranges on spaces": (
        row("group", unit({}), spaces=SPACES, classification_answers=placed(spaces={"b": FRAMED})),
        [("b", [[0, 1]])],
    ),
    "today: unanswered": (
        row("video", unit({}), classification_answers=placed(range=[[0, 0]], classifications=[])),
        [(None, [[0, 0]])],
    ),
    "today: global, whole row": (row("video", unit({}), classification_answers=GLOBAL), [(None, [])]),
    "today: taken off its last frame": (
        row("video", unit({}), classification_answers=placed(range=[])),
        [],
    ),
    "today: no range, in audio": (row("audio", unit({}), classification_answers=placed()), [(None, [])]),
    "today: null range, in text": (
        row("plain_text", unit({}), classification_answers=placed(range=None)),
        [(None, [])],
    ),
    "today: no range, in an event-based scene": (
        row("scene", unit({}), scene={"isContinuous": True}, classification_answers=placed()),
        [(None, [])],
    ),
    "today: no range, in a frame-grid scene": (row("scene", unit({}), classification_answers=placed()), []),
    "an answer that is nowhere": (
        row("video", unit({}), classification_answers=placed(featureHash=None)),
        [],
    ),
    "a null answer": (row("video", unit(COPIED), classification_answers={"c1": None}), []),
    "older: copies on frames, run together": (
        row("video", unit(COPIED), classification_answers=placed(featureHash=None, spaces={})),
        [(None, [[2, 3], [5, 5]])],
    ),
    "older: copies on images": (
        row(
            "img_group",
            {
                **unit(flat(classifications=[copy()]), "a", data_sequence="1"),
                **unit(flat(classifications=[copy()]), "b", data_sequence="0"),
            },
            classification_answers=placed(featureHash=None),
        ),
        [(None, [[0, 1]])],
    ),
    "older: copies on spaces": (
        row("group", unit({}), spaces=SPACES, classification_answers=placed(featureHash=None, range=None)),
        [("b", [[0, 0]])],
    ),
    "older: copies in a scene's image": (
        row("scene", unit({"cam#3": flat(classifications=[copy()])}), classification_answers=placed()),
        [("cam#3", [])],
    ),
    "older: copies of a classification that was deleted": (row("video", unit(COPIED)), []),
    "both eras in one row": (
        row(
            "video",
            unit(COPIED),
            classification_answers={**placed(featureHash=None), **placed("c2", range=[[7, 8]])},
        ),
        [(None, [[2, 3], [5, 5]]), (None, [[7, 8]])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_placement_counts_once(case: str) -> None:
    """One record for each placement, on the row or on a space, whatever else repeats it."""
    sent, expected = CASES[case]
    assert [(record["space_id"], record["ranges"]) for record in classifications(sent)] == expected


def test_an_older_classification_is_its_copy_as_sent() -> None:
    """The entry holds the answers, the copy the rest."""
    first = copy(createdBy="a@b", reviews=[{"approved": True}], isDeleted=False)
    labels = {"4": flat(classifications=[copy(createdBy="z")]), "2": flat(classifications=[first])}
    [record] = classifications(row("video", unit(labels), classification_answers=placed(featureHash=None)))
    assert record["classification"] == first
    assert said(record["answers"][0]) == ["Sunny"]


def test_without_an_ontology_no_classification_is_dropped() -> None:
    """Whether it is global is not known then, so it is kept."""
    sent = row("video", unit({}), classification_answers=placed(range=[]))
    assert [record["ranges"] for record in classifications(sent, ontology=None)] == [[]]


@pytest.mark.parametrize("feature", ["removed", "weather", "quality"])
def test_a_classification_without_a_range_that_the_ontology_does_not_know_is_kept_and_noted(
    feature: str,
) -> None:
    """Only one that is known, and not global, has been taken off its last frame."""
    harvest = extract(
        row("video", unit({}), classification_answers=placed(range=[], spaces={}, featureHash=feature))
    )
    found = [(one["feature_hash"], one["ranges"]) for one in records(harvest, "classifications")]
    assert found == ([] if feature == "weather" else [(feature, [])])
    assert [(note.note, note.detail) for note in harvest.notes] == (
        [("placement_unknown", "classification c1")] if feature == "removed" else []
    )


def test_per_frame_gives_a_line_a_frame() -> None:
    """Ranges are spelt out in order, once a frame; copies are each their own line."""
    today = row("video", unit({}), classification_answers=placed(range=[[8, 9], [0, 2], [2, 3]]))
    found = classifications(today, format=PER_FRAME)
    assert spots(found) == [("unit-1", None, frame) for frame in (0, 1, 2, 3, 8, 9)]
    assert {record["ranges"] for record in found} == {None}
    older = row("video", unit(COPIED), classification_answers=placed(featureHash=None))
    assert [record["frame"] for record in classifications(older, format=PER_FRAME)] == [2, 3, 5]


def test_per_frame_names_the_image_of_a_group() -> None:
    """A frame of an image group is a data unit of its own."""
    units = {**unit(flat(), "b", data_sequence="1"), **unit(flat(), "a", data_sequence=0)}
    sent = row("img_group", units, classification_answers=placed(range=[[0, 2]]))
    harvest = extract(sent, format=PER_FRAME)
    assert spots(records(harvest, "classifications")) == [("a", None, 0), ("b", None, 1)]
    assert [note.note for note in harvest.notes] == ["ranges_not_expanded"]  # there is no image 2
    assert spots(classifications(sent)) == [(None, None, None)]


@pytest.mark.parametrize("positions", [(0, 2, 5), (3,)])
def test_per_frame_reaches_each_image_of_a_group_with_gaps(positions: tuple[int, ...]) -> None:
    """Images may be gone: the positions of the others reach beyond their number."""
    units = {}
    for at in positions:
        units |= unit(flat(label()), f"u{at}", data_sequence=at)
    sent = row("img_group", units, classification_answers=placed(range=[[0, 5]]))
    planned = replace(PLANNED, number_of_frames=len(positions))
    format = Format(emit=("objects", "classifications", "units"), per_frame=True)
    harvest = extract(sent, format=format, planned=planned)
    assert spots(records(harvest, "classifications")) == [(f"u{at}", None, at) for at in positions]
    assert [one["classifications"] for one in records(harvest, "units")] == [1] * len(positions)


@pytest.mark.parametrize(
    "sent",
    [
        row("deleted", unit({}), classification_answers=placed(range=[[0, 4]])),
        row(
            "group", unit({}), spaces={"s": {"space_type": "of tomorrow", "labels": {}}},
            classification_answers=placed(spaces={"s": {"type": "frame", "range": [[0, 4]]}}),
        ),
    ],
)  # fmt: skip
def test_per_frame_leaves_ranges_of_unknown_data_and_notes_it(sent: Json) -> None:
    """They may be nanoseconds, and millions of lines."""
    harvest = extract(sent, format=PER_FRAME)
    assert [(one["frame"], one["ranges"]) for one in records(harvest, "classifications")] == [
        (None, [[0, 4]])
    ]
    assert [note.note for note in harvest.notes] == ["ranges_not_expanded"]


@pytest.mark.parametrize(
    "sent",
    [
        row("audio", unit({}), classification_answers=placed(range=[[0, 5000]])),
        row("video", unit({}), classification_answers=placed(range=[[0.5, 2]])),
        row("video", unit({}), classification_answers=GLOBAL),
        row("video", unit({}), classification_answers=placed(featureHash="quality", range=[[0, 3]])),
        row("scene", unit({}), scene={"isContinuous": True}, classification_answers=placed(range=[[0, 9]])),
    ],
)  # fmt: skip
def test_per_frame_leaves_ranges_that_are_no_frames(sent: Json) -> None:
    """Milliseconds, nanoseconds, a whole row, and what is no frame number stay one line."""
    [record] = classifications(sent, format=PER_FRAME)
    [entry] = sent["classification_answers"].values()
    assert record["frame"] is None
    assert record["ranges"] == (entry.get("range") or [])


def expand(ranges: Any, frames: int | None, **how: Any) -> Extracted:
    """What `--per-frame` makes of `ranges` on a video of so many frames; None: nobody says how many."""
    sent = row("video", unit({}), classification_answers=placed(range=ranges))
    return extract(sent, format=PER_FRAME, planned=replace(PLANNED, number_of_frames=frames), **how)


def test_per_frame_reaches_to_the_end_of_the_data_and_notes_what_is_cut() -> None:
    """What lies beyond the last frame is nonsense; the user is told."""
    harvest = expand([[95, 2**62]], 100)
    found = records(harvest, "classifications")
    assert [record["frame"] for record in found] == [95, 96, 97, 98, 99]
    assert [(note.note, note.detail) for note in harvest.notes] == [
        ("ranges_not_expanded", "classification c1")
    ]
    assert not expand([[95, 99]], 100).notes


def test_per_frame_keeps_a_placement_of_which_nothing_is_in_the_data() -> None:
    """Its ranges stay, on one line, and it is noted."""
    harvest = expand([[200, 300]], 100)
    assert [(one["frame"], one["ranges"]) for one in records(harvest, "classifications")] == [
        (None, [[200, 300]])
    ]
    assert [note.note for note in harvest.notes] == ["ranges_not_expanded"]


@pytest.mark.parametrize(("last", "cut"), [(MOST_FRAMES - 1, 0), (MOST_FRAMES, 1), (2**62, 1)])
def test_per_frame_has_an_end_where_nobody_says_how_long_the_data_is(last: int, cut: int) -> None:
    """Its lines are not made before they are taken: they would fill the memory."""
    harvest = expand([[0, last]], None)
    lines = harvest.lines["classifications"]
    assert harvest.written == {"objects": 0, "classifications": MOST_FRAMES}
    assert lines.held == 0
    first = next(iter(lines.chunks))
    assert json.loads(first[: first.index(b"\n")])["frame"] == 0
    assert lines.size > MOST_FRAMES * 500
    assert len(harvest.notes) == cut


def test_lines_made_as_they_are_taken_have_the_size_that_was_said() -> None:
    """All digits of all frames are counted; a percent sign in a title is none of the format's."""
    sent = row("video", unit({}, data_title="100%d"), classification_answers=placed(range=[[7, 12_345]]))
    lines = extract(sent, format=PER_FRAME).lines["classifications"]
    made = bytes(lines)
    assert len(made) == lines.size
    found = [json.loads(line) for line in made.splitlines()]
    assert [record["frame"] for record in found] == list(range(7, 12_346))
    assert {record["file_name"] for record in found} == {"100%d"}


def test_per_frame_lines_pass_the_filters_one_by_one() -> None:
    """An expression over the frame keeps some of a placement's lines; all are counted."""
    harvest = expand([[0, 2999]], 3000, selection=Selection(where="frame >= 1990 && frame % 10 == 0"))
    lines = bytes(harvest.lines["classifications"])
    found = [json.loads(line) for line in lines.splitlines()]
    assert [record["frame"] for record in found] == list(range(1990, 3000, 10))
    assert len(lines) == harvest.lines["classifications"].size
    assert harvest.seen["classifications"] == 3000
    assert harvest.written["classifications"] == len(found)
    assert harvest.dropped["classifications"] == {"where": 3000 - len(found)}


def test_reviews_of_a_classification_are_found_on_its_copies() -> None:
    """An entry that places itself may have its reviews on frame-level copies alone."""
    reviewed = copy(reviews=[{"approved": False}, {"approved": True}])
    sent = row(
        "video",
        unit({"0": flat(label(), classifications=[reviewed])}),
        classification_answers={**placed(range=[[0, 0]]), **placed("c2", range=[[0, 0]])},
    )
    harvest = extract(sent, selection=Selection(approved=True), format=Format(emit=("classifications",)))
    assert [
        record["classification"]["classificationHash"] for record in records(harvest, "classifications")
    ] == ["c1"]
    assert harvest.dropped == {"classifications": {"approved": 1}}


@pytest.mark.parametrize("where", [{"range": [[0, 0]]}, {}])
def test_reviews_of_a_classification_on_the_root_layer_are_found_in_the_data_unit(where: Json) -> None:
    """A row that lists its root layer has its copies in the data unit all the same."""
    reviewed = copy(reviews=[{"id": 1, "approved": True}])
    sent = row(
        "image",
        unit(flat(classifications=[reviewed])),
        spaces={"root": {"space_type": "image", "labels": {}}},
        classification_answers=placed(**where),
    )
    [found] = classifications(sent, selection=Selection(include_reviews=True))
    assert (found["space_id"], found["reviews"]) == ("root", reviewed["reviews"])


@pytest.mark.parametrize("name", ["Car", "Weather"])
def test_nothing_is_noted_of_a_classification_that_a_filter_drops(name: str) -> None:
    """A note speaks of what is in the export."""
    sent = row("video", unit({}), classification_answers=placed(range=[[0, "x"]]))
    harvest = extract(sent, selection=Selection(names=(name,)), format=PER_FRAME)
    assert [note.note for note in harvest.notes] == (
        ["ranges_not_expanded", "placement_unknown"] if name == "Weather" else []
    )


def test_the_global_classification_is_the_ontologys() -> None:
    """The level stands in the ontology, not in the row."""
    assert [thing.get("level") for thing in ONTOLOGY["classifications"]] == [None, "global"]
