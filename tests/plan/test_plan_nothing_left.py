"""Where nothing is left, the predicate is named that left nothing."""

from collections.abc import Iterable
from typing import Any

import pytest

from harvester.filters import Chain
from harvester.nothing_left import RECORD_FILTERS, NothingLeft, nothing_left, shortest
from harvester.output.commit import KindCounts
from harvester.plan.status import RECORD_FIELDS, places
from harvester.settings import Format, Selection

OBJECTS = Format(emit=("objects",))
FILES = Format().for_files()


def counts(**rows: int) -> dict[str, int]:
    outcomes = dict.fromkeys(("harvested", "unlabelled", "filtered", "failed"), 0) | rows
    return {"listed": sum(outcomes.values()), **outcomes}


def dropped(written: int = 0, **by: int) -> KindCounts:
    return KindCounts(seen=written + sum(by.values()), written=written, dropped=dict(sorted(by.items())))


def left(
    selection: Selection,
    rows: dict[str, int],
    records: dict[str, KindCounts] | None = None,
    *,
    format: Format = OBJECTS,
    lacking: Iterable[str] = (),
    ruled_out: tuple[str, int] | None = None,
) -> list[NothingLeft]:
    return nothing_left(selection, format, rows, records or {}, lacking=lacking, ruled_out=lambda: ruled_out)


ROWS: dict[str, tuple[Selection, dict[str, int], Any, str, list[str]]] = {
    "no row at all": (Selection(), counts(), None, "the project lists no label row", []),
    "no row on any branch": (
        Selection(include_all_label_branches=True),
        counts(),
        None,
        "the project lists no label row",
        [],
    ),
    "asked of the server": (
        Selection(data_title_eq="no such.jpg", names=("Car",)),
        counts(),
        None,
        "no label row is listed with --data-title-eq 'no such.jpg'",
        ["--data-title-eq 'no such.jpg'"],
    ),
    "several asked of the server": (
        Selection(task_statuses=("QUEUED", "RETURNED"), edited_after="2030-01-01"),
        counts(),
        None,
        "no label row is listed with --task-status QUEUED,RETURNED --edited-after 2030-01-01; "
        "harvester plan --explain counts what each of them leaves",
        ["--task-status QUEUED,RETURNED", "--edited-after 2030-01-01"],
    ),
    "chosen from the listing": (
        Selection(data_types=("video",), datasets=("d",)),
        counts(filtered=9),
        ("datasets", 4),
        "no label row is left: --dataset d ruled out all 4",
        ["--dataset d"],
    ),
    "what a plan does not keep": (
        Selection(shadow_data_state="SHADOW_DATA"),
        counts(filtered=9),
        None,
        "no label row is left: --shadow-data-state SHADOW_DATA ruled out all 9",
        ["--shadow-data-state SHADOW_DATA"],
    ),
    "not labelled yet": (
        Selection(label_statuses=("NOT_LABELLED",)),
        counts(filtered=9, unlabelled=1200),
        None,
        "no label is left: none of the 1,200 rows with --label-status NOT_LABELLED has been labelled yet",
        ["--label-status NOT_LABELLED"],
    ),
}


@pytest.mark.parametrize(("selection", "rows", "ruled_out", "message", "flags"), ROWS.values(), ids=ROWS)
def test_what_left_no_row(
    selection: Selection, rows: dict[str, int], ruled_out: Any, message: str, flags: list[str]
) -> None:
    """A message for people, and the flags for machines."""
    assert left(selection, rows, ruled_out=ruled_out) == [NothingLeft(message=message, flags=flags)]


FEW = counts(harvested=7, unlabelled=1)
RECORDS: dict[str, tuple[Selection, Format, dict[str, KindCounts], list[str]]] = {
    "the last that dropped any": (
        Selection(shapes=("point",), names=("Car",), authors=("a@b",)),
        OBJECTS,
        {"objects": dropped(author=0, name=200, shape=1300)},
        ["no object is left: --name Car dropped all 200"],
    ),
    "switches": (
        Selection(manual=False, approved=True),
        OBJECTS,
        {"objects": dropped(approved=3, automated=2)},
        ["no object is left: --automated dropped all 2"],
    ),
    "a function": (
        Selection(filters=("a:f", "b:g"), min_confidence=0.5),
        OBJECTS,
        {"objects": KindCounts(5, 0, {"a:f": 1, "b:g": 3, "min_confidence": 1})},
        ["no object is left: --filter b:g dropped all 3"],
    ),
    "both kinds": (
        Selection(names=("Car",), min_confidence=1.0),
        FILES,
        {"objects": dropped(name=1, min_confidence=4), "classifications": dropped(name=3)},
        [
            "no object is left: --min-confidence 1.0 dropped all 4",
            "no classification is left: --name Car dropped all 3",
        ],
    ),
    "a kind that it is not about": (
        Selection(names=("Car",)),
        FILES,
        {"objects": dropped(written=1), "classifications": dropped(name=3)},
        [],
    ),
    "the kind that it is about": (
        Selection(shapes=("point",)),
        FILES,
        {"objects": dropped(shape=4), "classifications": dropped(written=3)},
        ["no object is left: --shape point dropped all 4"],
    ),
    "the kind that an expression is about": (
        Selection(where="object.confidence > 2.0"),
        FILES,
        {"objects": dropped(where=4), "classifications": dropped(written=3)},
        ["no object is left: --where 'object.confidence > 2.0' dropped all 4"],
    ),
    "left out by the server": (
        Selection(feature_hashes=("car",)),
        FILES,
        {"objects": dropped(), "classifications": dropped(), "units": dropped(written=7)},
        ["no label is left: none of 7 label rows has one of --feature-hash car"],
    ),
    "not in these rows": (
        Selection(data_types=("audio",), task_statuses=("COMPLETED",)),
        OBJECTS,
        {"objects": dropped()},
        [
            "no record: none of 7 label rows has any object"
            " (--task-status COMPLETED --data-type audio --emit objects)"
        ],
    ),
    "units are there": (Selection(), FILES, {"objects": dropped(), "units": dropped(written=7)}, []),
    "records are there": (Selection(names=("Car",)), OBJECTS, {"objects": dropped(written=1, name=3)}, []),
    "units alone": (Selection(), Format(emit=("units",)), {"units": dropped(written=7)}, []),
}


@pytest.mark.parametrize(("selection", "format", "records", "messages"), RECORDS.values(), ids=RECORDS)
def test_what_left_no_record(
    selection: Selection, format: Format, records: dict[str, KindCounts], messages: list[str]
) -> None:
    """Of the kinds that a predicate is about; of both, where none of either is left."""
    assert [each.message for each in left(selection, FEW, records, format=format)] == messages


def test_fields_that_no_record_had_are_named() -> None:
    """Where the expression left nothing, and not where another filter did."""
    selection = Selection(where="object.confidense > 0.8", filters=("a:f",))
    lacking = {"object.confidense", "object.confidense.x"}
    [found] = left(selection, FEW, {"objects": dropped(where=4)}, lacking=lacking)
    assert found.message.endswith("dropped all 4; no record has object.confidense")
    assert found.lacking == ["object.confidense"]
    [found] = left(selection, FEW, {"objects": KindCounts(4, 0, {"where": 1, "a:f": 3})}, lacking=lacking)
    assert found.message == "no object is left: --filter a:f dropped all 3"
    assert found.lacking == []


def test_rows_that_failed_are_no_fault_of_a_predicate() -> None:
    """There is a line for these already."""
    assert left(Selection(names=("Car",)), counts(failed=3, unlabelled=2)) == []


def test_filters_over_records_are_known_in_their_order() -> None:
    """All that a chain can have: the last one that dropped anything is the one that left nothing."""
    selection = Selection(
        shapes=("point",), names=("n",), feature_hashes=("f",), approved=True, min_confidence=0.5,
        authors=("a",), manual=True, where="object.confidence > 0.8", filters=("builtins:bool",),
    )  # fmt: skip
    assert places(selection).record.keys() == set(RECORD_FIELDS)  # a new filter belongs into this selection
    names = Chain("objects", selection, {}, {}).names
    assert list(names[:-1]) == [name for name in RECORD_FILTERS if name != "automated"]
    assert names[-1] == "builtins:bool"
    assert {*RECORD_FILTERS.values(), "filters"} == set(RECORD_FIELDS)


def test_of_a_field_and_its_fields_only_the_first_is_named() -> None:
    """Where an object is not there, nothing in it is."""
    assert shortest(["a.b", "a.b.c.d", "a.bc", "x"]) == ["a.b", "a.bc", "x"]


def test_a_long_predicate_is_cut() -> None:
    """Ten thousand hashes are named by the first few; an escape sequence is not shown."""
    [found] = left(Selection(label_hashes=tuple(f"hash-{n}\x1b[2J" for n in range(10_000))), counts())
    assert len(found.message) < 200
    assert "\x1b" not in found.message
