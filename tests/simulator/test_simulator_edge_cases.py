"""The edge cases of real label rows occur, and the truth counts them as it says."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from harvester.simulator.edge_cases import EDGE_CASES
from harvester.simulator.recipes import RECIPES
from harvester.simulator.world import World, WorldSpec
from tests.truth import truth_of

Row = dict[str, Any]
KINDS = [recipe.name for recipe in RECIPES if recipe.weight]


def rows(world: World) -> Iterator[tuple[bytes, Row]]:
    for item in world.listing({"include_uninitialised_labels": False}):
        raw = world.label_row(orjson.loads(item)["label_hash"]) or b""
        yield raw, orjson.loads(raw)


@pytest.fixture(scope="module")
def mixed() -> list[tuple[bytes, Row]]:
    return list(rows(World(WorldSpec(rows=1500, seed=5))))


def units(row: Row) -> Iterator[Row]:
    yield from row["data_units"].values()


def marks(row: Row) -> Iterator[tuple[str, Row]]:
    """Every place that holds objects and classifications, with the data unit or space that it is in."""
    places = [(key, unit.get("labels") or {}) for key, unit in row["data_units"].items()]
    places += [(key, space.get("labels") or {}) for key, space in (row.get("spaces") or {}).items()]
    for key, labels in places:
        if "objects" in labels:
            yield key, labels
        else:
            yield from ((key, frame) for frame in labels.values())


def objects(row: Row) -> Iterator[Row]:
    for _, place in marks(row):
        yield from place["objects"]


def copies(row: Row) -> set[tuple[str, str]]:
    """(hash, space or the row's root) of every frame-level copy of a classification."""
    spaces = row.get("spaces") or {}
    found = [(key if key in spaces else "", place.get("classifications", [])) for key, place in marks(row)]
    return {(copy["classificationHash"], place) for place, copies in found for copy in copies}


def unplaced(row: Row) -> set[str]:
    """Hashes of answers that name neither range nor space."""
    answers = row["classification_answers"].items()
    return {hash for hash, answer in answers if not answer.get("range") and not answer.get("spaces")}


def attributes(row: Row) -> Iterator[Row]:
    for answer in (*row["object_answers"].values(), *row["classification_answers"].values()):
        yield from answer["classifications"]


def hashes(row: Row) -> set[str]:
    return {found["objectHash"] for found in objects(row)}


def split(row: Row) -> bool:
    """Whether one object's answers hold several dictionaries of one checklist."""
    for answer in row["object_answers"].values():
        checklists = [a["featureHash"] for a in answer["classifications"] if a["name"] == "Colours"]
        if len(checklists) > 1:
            return True
    return False


def wide(row: Row) -> bool:
    """Whether dynamic answers hold on a frame where their object is not."""
    for unit in units(row):
        frames = unit.get("labels") or {}
        for hash, action in row["object_actions"].items():
            on = {int(frame) for frame, place in frames.items() if frame.isdigit() and any(
                found["objectHash"] == hash for found in place["objects"])}  # fmt: skip
            last = max((span[1] for found in action["actions"] for span in found["range"]), default=0)
            if on and last > max(on):
                return True
    return False


def entries(row: Row) -> list[Row]:
    return list(row["object_answers"].values())


def keys(row: Row, mark: str) -> bool:
    """Whether labels of a scene stand under a key with `mark`."""
    return row["data_type"] == "scene" and any(mark in key for unit in units(row) for key in unit["labels"])


def old_skeleton(found: Row) -> bool:
    return "skeleton" in found and "visibility" not in found["skeleton"]["0"]


def shapeless(row: Row) -> bool:
    """Whether a range object has no range, of any kind."""
    return row["data_type"] == "plain_text" and any(
        entry["range"] == [] and "range_html" not in entry for entry in entries(row)
    )


def answered(row: Row) -> set[str]:
    return set(row["classification_answers"])


def copied(row: Row) -> set[str]:
    return {hash for hash, _ in copies(row)}


SEEN: dict[str, Callable[[Row], object]] = {
    "old classifications": lambda r: copied(r) & unplaced(r),
    "copies beside ranges": lambda r: copied(r) & (answered(r) - unplaced(r)),
    "leftover copies": lambda r: copied(r) - answered(r),
    "an answer placed nowhere": lambda r: r["data_type"] == "image" and unplaced(r) - copied(r),
    "no feature hash": lambda r: any("featureHash" not in a for a in r["classification_answers"].values()),
    "a range of null": lambda r: any(a.get("range", 0) is None for a in r["classification_answers"].values()),
    "split checklists": split,
    "bare answers": lambda r: any("manualAnnotation" not in a for a in attributes(r)),
    "unanswered": lambda r: any(a["answers"] == [] for a in attributes(r)),
    "orphan answers": lambda r: r["data_type"] == "video" and set(r["object_answers"]) - hashes(r),
    "orphan actions": lambda r: set(r["object_actions"]) - hashes(r),
    "wide dynamic ranges": wide,
    "a sequence that is text": lambda r: any(isinstance(u["data_sequence"], str) for u in units(r)),
    "a sequence that is a number": lambda r: any(isinstance(u["data_sequence"], int) for u in units(r)),
    "twin units": lambda r: len({int(u["data_sequence"]) for u in units(r)}) < len(r["data_units"]),
    "a branch of null": lambda r: r["branch_name"] is None,
    "a medium without size": lambda r: r["data_type"] == "image" and any("width" not in u for u in units(r)),
    "a medium without link": lambda r: any("data_link" not in u for u in units(r)),
    "labels absent": lambda r: any("labels" not in u for u in units(r)),
    "labels empty": lambda r: r["data_type"] == "image" and any(u.get("labels") == {} for u in units(r)),
    "empty frames": lambda r: r["data_type"] == "dicom" and any(not p["objects"] for _, p in marks(r)),
    "frames without classifications": lambda r: any("classifications" not in p for _, p in marks(r)),
    "not deleted": lambda r: any(o.get("isDeleted") is False for o in objects(r)),
    "deleted": lambda r: any(o.get("isDeleted") for o in objects(r)),
    "no editor": lambda r: any("lastEditedAt" not in o for o in objects(r)),
    "no author": lambda r: any(o["createdBy"] is None for o in objects(r)),
    "hashes with + and /": lambda r: any("+" in h or "/" in h for h in hashes(r)),
    "spaces absent": lambda r: "spaces" not in r,
    "spaces empty": lambda r: r.get("spaces") == {} and "scene" not in r,
    "no optional keys": lambda r: "annotation_task_status" not in r,
    "polygons as lists": lambda r: any(isinstance(o.get("polygon"), list) for o in objects(r)),
    "polygons with holes": lambda r: any(len((o.get("polygons") or [[]])[0]) > 1 for o in objects(r)),
    "more than ten vertices": lambda r: any("11" in o.get("polygon", ()) for o in objects(r)),
    "old skeletons": lambda r: any(map(old_skeleton, objects(r))),
    "delete events": lambda r: any(o.get("event") == "delete" for o in objects(r)),
    "untagged events": lambda r: (
        "scene" in r and any("boundingBox" in o and "event" not in o for o in objects(r))
    ),
    "linear interpolation": lambda r: any(o.get("interpolate") == "linear" for o in objects(r)),
    "range objects without ranges": shapeless,
    "nodes of HTML": lambda r: any("range_html" in e for e in entries(r)),
    "nodes of HTML on a space": lambda r: any("'html'" in str(e.get("spaces")) for e in entries(r)),
    "an object on two audio spaces": lambda r: any(len(e.get("spaces", {})) > 1 for e in entries(r)),
    "a space called root": lambda r: r["data_type"] == "time_series" and "root" in r.get("spaces", {}),
    "an object on two images": lambda r: r["data_type"] == "image" and len(list(objects(r))) > len(hashes(r)),
    "labels of a camera": lambda r: keys(r, "#"),
    "labels of a lidar": lambda r: keys(r, "@"),
}


@pytest.mark.parametrize("name", SEEN)
def test_an_edge_case_is_met(mixed: list[tuple[bytes, Row]], name: str) -> None:
    """Some rows of a mixed project have it, and most have not."""
    met = sum(bool(SEEN[name](row)) for _, row in mixed)
    assert 0 < met < len(mixed) * 0.8


def test_numbers_and_text_that_must_pass_as_sent_are_met(mixed: list[tuple[bytes, Row]]) -> None:
    """Some objects have a field that nobody knows, written in ways that a parser would change."""
    met = sum(b'"score": 1.50, "id":123456789012345678901234567890, "tiny":1E-7' in raw for raw, _ in mixed)
    assert 0 < met < len(mixed) / 4


def test_dates_are_met_in_four_forms(mixed: list[tuple[bytes, Row]]) -> None:
    """HTTP's form, with a blank, with microseconds and an offset, and ISO's."""
    forms = {re.sub(r"[A-Z][a-z]{2}", "Mon", re.sub(r"\d", "0", row["created_at"])) for _, row in mixed}
    assert forms == {
        "Mon, 00 Mon 0000 00:00:00 UTC",
        "0000-00-00 00:00:00",
        "0000-00-00 00:00:00.000000+00:00",
        "0000-00-00T00:00:00+00:00",
    }


def test_an_objects_hash_is_unique_in_its_row(mixed: list[tuple[bytes, Row]]) -> None:
    """No frame, image or space holds an object twice."""
    for _, row in mixed:
        for _, place in marks(row):
            found = [(o["objectHash"], o.get("event")) for o in place["objects"]]
            assert len(found) == len(set(found))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_counted_once_a_placement(kind: str) -> None:
    """What the truth counts as placed by copies alone: an answer without place, once a row or space."""
    world = World(WorldSpec(rows=80, mix=(kind,), unlabelled=0))
    found = 0
    for _, row in rows(world):
        found += sum(hash in unplaced(row) for hash, _ in copies(row))
    assert found == truth_of(world).copied


@pytest.mark.parametrize("edge_case", EDGE_CASES)
def test_an_edge_case_has_a_period(edge_case: str) -> None:
    """The documented shares are whole parts of the variants."""
    period, phase = EDGE_CASES[edge_case]
    assert 64 % period == 0
    assert 0 <= phase < period


def test_odd_groups_count_one_an_object_and_space() -> None:
    """Rows that the SDK cannot load are counted as a reader of the JSON would."""
    world = World(WorldSpec(rows=40, mix=("odd_group", "odd_image", "dicom_study"), unlabelled=0))
    counted = 0
    for _, row in rows(world):
        counted += sum(len(o["spaces"]) for o in row["object_answers"].values() if "range" in o)
        for unit in row["data_units"].values():
            labels = unit.get("labels")
            counted += len(labels["objects"]) if isinstance(labels, dict) and "objects" in labels else 0
    truth = truth_of(world)
    assert truth.objects == counted
    assert truth.by_shape["hexagon"] > 0
    assert truth.by_data_type.keys() == {"image", "group", "dicom_study"}
