"""The report's numbers, from exports that are made up."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import BadInput, Unsound
from harvester.output.target import LocalTarget
from harvester.report import tally
from harvester.report.measure import measure
from harvester.report.numbers import Missing, Reviews, Share
from tests.report.made import classification_record, made, object_record, row


def test_rows_are_counted_by_what_the_listing_says(tmp_path: Path) -> None:
    """Task status, label status, stage, data type and dataset; each row with what became of it."""
    rows = [
        row(0, task_status="COMPLETED", stage="Complete", data_type="VIDEO"),
        row(1, task_status="COMPLETED", stage="Complete", data_type="VIDEO"),
        row(2, task_status="QUEUED", label_hash=None, outcome="unlabelled", dataset_title="Nights"),
        row(3, task_status="COMPLETED", outcome="filtered", label_status="REVIEWED"),
    ]
    numbers = measure(made(tmp_path / "out", rows, failed=["label-1"]))
    by_task = {found.name: found for found in numbers.rows_by["task_status"]}
    completed = by_task["COMPLETED"]
    assert (completed.listed, completed.harvested, completed.failed, completed.filtered) == (3, 1, 1, 1)
    assert by_task["QUEUED"].unlabelled == 1
    named = {
        field: {found.name: found.listed for found in values} for field, values in numbers.rows_by.items()
    }
    assert named["stage"] == {"Complete": 2, "(none)": 2}
    assert named["data_type"] == {"video": 2, "(none)": 2}
    assert named["label_status"] == {"(none)": 3, "REVIEWED": 1}
    assert named["dataset"] == {"dataset": 3, "Nights": 1}
    assert numbers.failures.by_error == {"gone": 1}
    assert numbers.failures.first[0].message == "it is gone"


def test_an_object_on_many_frames_counts_once_as_different(tmp_path: Path) -> None:
    """In its own row: the same hash in another row is another object."""
    records = [object_record(0, frame, objectHash="a", name="Car", shape="point") for frame in range(5)]
    records += [object_record(1, 0, objectHash="a", name="Car", shape="point", manualAnnotation=False)]
    records += [object_record(1, 0, objectHash="b", name="Dog", shape="bitmask", createdBy="ann@example.com")]
    objects = measure(made(tmp_path / "out", [row(0), row(1)], objects=records)).objects
    assert objects is not None
    assert objects.by_shape is not None
    assert (objects.records, objects.distinct, objects.by_hand, objects.automated) == (7, 3, 2, 1)
    assert objects.by_name.top == [Share("Car", 6, 2), Share("Dog", 1, 1)]
    assert objects.by_shape.top == [Share("point", 6, 2), Share("bitmask", 1, 1)]
    assert objects.by_author.top == [Share("(none)", 6, 2), Share("ann@example.com", 1, 1)]


def test_boxes_are_counted_where_they_are_and_as_large_as_they_are(tmp_path: Path) -> None:
    """A rotatable box is one; what reaches over the edge and what has no area is counted too."""
    records = [
        object_record(objectHash="a", boundingBox={"x": 0.9, "y": 0.0, "w": 0.1, "h": 0.1}),
        object_record(
            objectHash="b", rotatableBoundingBox={"x": 0.9, "y": 0.0, "w": 0.1, "h": 0.1, "theta": 9}
        ),
        object_record(objectHash="c", boundingBox={"x": -0.5, "y": 0.5, "w": 1, "h": 0.001}),
        object_record(objectHash="d", boundingBox={"x": 0.2, "y": 0.2, "w": 0, "h": 0.1}),
    ]
    objects = measure(made(tmp_path / "out", [row()], objects=records)).objects
    assert objects is not None
    assert objects.boxes is not None
    boxes = objects.boxes
    assert (boxes.boxes, boxes.outside, boxes.empty) == (4, 1, 1)
    assert boxes.positions[1][22] == 2
    assert boxes.sizes[16][16] == 2
    assert boxes.sizes[0][23] == 1
    assert sum(map(sum, boxes.positions)) == 4
    assert sum(map(sum, boxes.sizes)) == 3


def test_frames_are_counted_by_their_objects(tmp_path: Path) -> None:
    """Those that have any; what stands on ranges stands on no frame."""
    records = [object_record(0, frame, objectHash=f"o{i}") for frame in range(3) for i in range(frame + 1)]
    records += [object_record(0, None, objectHash="s", shape="audio")]
    objects = measure(made(tmp_path / "out", [row()], objects=records)).objects
    assert objects is not None
    assert objects.per_frame is not None
    frames = objects.per_frame
    assert (frames.frames, frames.mean, frames.median, frames.most) == (3, 2.0, 2, 3)
    assert [(one.low, one.high, one.frames) for one in frames.histogram] == [(1, 1, 1), (2, 2, 1), (3, 3, 1)]


def test_the_last_review_decides(tmp_path: Path) -> None:
    """By its decision, or by its status where it has none."""
    sent: list[list[dict[str, Any]]] = [
        [{"approved": False}, {"approved": True}],
        [{"approved": True}, {"status": "REJECTED"}],
        [{"status": "PENDING"}],
        [],
    ]
    records = [object_record(objectHash=f"o{i}", reviews=reviews) for i, reviews in enumerate(sent)]
    objects = measure(made(tmp_path / "out", [row()], objects=records)).objects
    assert objects is not None
    assert objects.reviews == Reviews(approved=1, rejected=1, undecided=1, unreviewed=1)


def test_missing_answers_are_those_that_others_of_the_class_give(tmp_path: Path) -> None:
    """An empty answer is none; a class that nobody answers anything of is asked nothing."""
    plate, empty = {"name": "Plate", "text": "AB 1"}, {"name": "Plate", "options": []}
    given = [("Car", [plate]), ("Car", [empty]), ("Car", []), ("Dog", [])]
    records = [
        object_record(objectHash=f"o{i}", name=name, attributes=attributes)
        for i, (name, attributes) in enumerate(given)
    ]
    objects = measure(made(tmp_path / "out", [row()], objects=records)).objects
    assert objects is not None
    missing = objects.missing
    assert missing.top == [Missing("Car", "Plate", 3, 2)]
    assert (missing.asked, missing.unanswered, missing.silent) == (3, 2, 2)


def test_a_classification_without_answers_is_called_as_its_like(tmp_path: Path) -> None:
    """Its own entry has a feature hash, and no name."""
    weather = [{"name": "Weather", "options": ["rain"]}]
    records = [
        classification_record(classificationHash="a", featureHash="w"),
        classification_record(answers=weather, classificationHash="b", featureHash="w"),
    ]
    found = measure(made(tmp_path / "out", [row()], classifications=records)).classifications
    assert found is not None
    assert found.by_name.top == [Share("Weather", 2, 2)]
    assert found.missing.top == [Missing("Weather", "Weather", 2, 1)]


def test_odd_records_are_read_or_counted(tmp_path: Path) -> None:
    """Lone surrogates are legal JSON; a box of words is no box that we know."""
    odd = b'{"label_hash":"label-0","object":{"objectHash":"%b","name":"\\ud800x","boundingBox":%b}}'
    records = [odd % (b"a", b"null"), odd % (b"b", b'{"x":"left"}'), odd % (b"c", b"null")]
    objects = measure(made(tmp_path / "out", [row()], objects=records)).objects
    assert objects is not None
    assert (objects.records, objects.distinct, objects.unread) == (3, 2, 1)
    assert objects.by_name.top == [Share("?x", 2, 2)]


def test_memory_is_flat_however_many_values_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values beyond those that are told apart are counted together, and no frame or object is remembered."""
    monkeypatch.setattr(tally, "MOST_KEYS", 50)
    monkeypatch.setattr(tally, "TOP", 10)

    def peak(frames: int) -> int:
        answers = [{"name": "Plate", "number": 0}]
        records = (
            object_record(number, frame, objectHash="o", name=f"class {number} {frame}", attributes=answers)
            for number in range(500)
            for frame in range(frames)
        )
        target = made(tmp_path / str(frames), map(row, range(500)), objects=records)
        tracemalloc.start()
        objects = measure(target).objects
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert objects is not None
        by_name = objects.by_name
        assert by_name.folded
        assert sum(share.records for share in by_name.top) + by_name.other_records == 500 * frames
        assert len(by_name.top) == 10
        return most

    few = peak(12)  # more than is read at once
    assert peak(48) < few + 300_000


def test_labels_of_thousands_of_classes_are_counted_exactly(tmp_path: Path) -> None:
    """Two rows have a label of each class, the first one on two frames; one of the two lacks an answer."""
    classes = range(5000)
    given = [[{"name": "Plate", "number": 0}], [{"name": "Plate", "text": ""}]]
    records = [
        object_record(number, frame, objectHash=f"o{i}", name=f"class {i:04}", attributes=given[number])
        for number, frame in ((0, 0), (0, 1), (1, 0))
        for i in classes
    ]
    objects = measure(made(tmp_path / "out", [row(0), row(1)], objects=records)).objects
    assert objects is not None
    assert (objects.records, objects.distinct, objects.by_hand) == (15_000, 10_000, 10_000)
    assert objects.by_name.top == [Share(f"class {i:04}", 3, 2) for i in classes[: tally.TOP]]
    assert objects.by_name.other_records == 3 * (len(classes) - tally.TOP)
    assert objects.missing.top == [Missing(f"class {i:04}", "Plate", 2, 1) for i in classes[: tally.TOP]]
    assert objects.reviews == Reviews(unreviewed=10_000)


def test_what_is_no_finished_export_is_said_so(tmp_path: Path) -> None:
    """One line each: nothing there, not finished, damaged."""
    with pytest.raises(BadInput, match="holds no export"):
        measure(LocalTarget(tmp_path))
    target = made(tmp_path / "out", [row()], objects=[object_record(objectHash="a")])
    part = tmp_path / "out" / "objects-00000.ndjson"
    whole = part.read_bytes()
    part.write_bytes(b"x" * len(whole))
    with pytest.raises(Unsound, match=r"damaged: objects-00000\.ndjson holds a line that is no record"):
        measure(target)
    part.write_bytes(whole[:-5])
    with pytest.raises(Unsound, match=r"damaged: objects-00000\.ndjson is missing or cut off"):
        measure(target)
    part.write_bytes(whole)
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"Streets"', '"Strasse"'))
    with pytest.raises(Unsound, match=r"damaged: manifest\.json: its digest"):
        measure(target)
    manifest.unlink()
    with pytest.raises(Unsound, match="not finished"):
        measure(target)
