"""Rows that the SDK wrote at random: each public property that it has of them is found in our records."""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from harvester.labels.extract import Extractor
from harvester.schema import LISTING_KEYS
from harvester.settings import Format, Selection
from tests.labels.random_alterations import alter
from tests.labels.random_rows import KINDS, Written, loaded, planned, seeded, write
from tests.labels.rows import records
from tests.labels.sdk_checks import METADATA, Difference
from tests.labels.sdk_comparison import Comparison
from tests.labels.sdk_properties import classes, properties
from tests.labels.sdk_rows import Ontology

SEEDS = (1, 2, 3)
ROWS_OF_A_KIND = 7
FORMAT = Format(emit=("objects", "classifications", "units"))
SELECTION = Selection(signed_urls=True, include_reviews=True)

DOCS = Path(__file__).parents[2].joinpath("docs", "records.md").read_text(encoding="utf-8")
_, _, WALKED = DOCS.partition("\n## Where the SDK's properties are\n")
NOT_HELD = "–"


def held_by() -> dict[tuple[str, str], str]:
    """What the documentation's table says: the key that holds a property of a class."""
    found: dict[tuple[str, str], str] = {}
    for section in re.split(r"\n### ", WALKED)[1:]:
        title, _, text = section.partition("\n")
        for names, key in re.findall(r"^\| (`.+?`) \| (.+?) \|", text, re.M):
            for model in re.findall(r"`([\w.]+)`", title):
                for name in re.findall(r"`(\w+)`", names):
                    assert (model, name) not in found, f"{model}.{name} stands there twice"
                    found[model, name] = key
    return found


def documented_deviations() -> list[str]:
    return re.findall(r"^- \*\*(.+?)\*\*:", WALKED, re.M)


# Where the SDK says something else, by the name in the documentation: whether a difference is of that kind.
DEVIATIONS: dict[str, Callable[[Difference, Written], bool]] = {
    "Defaults": lambda found, _: found.where in METADATA and found.ours is None,
    "Answers by hand": lambda found, _: (
        found.name.endswith("Answer.is_manual_annotation") and (found.sdk, found.ours) == (True, False)
    ),
    "Old classifications": lambda found, written: (
        "old copies" in written.marks
        and "get_classification_instances" in found.name
        and found.sdk < found.ours
    ),
    "Reviews on copies": lambda found, written: (
        "copies" in written.marks
        and found.name == "ClassificationInstance.Annotation.reviews"
        and found.sdk is None
    ),
    "Split checklists": lambda found, _: (
        found.where == "ClassificationInstance"
        and found.name.startswith(("ChecklistAnswer.", "ClassificationInstance.get_answer"))
        and (found.sdk < found.ours or (found.sdk, found.ours) == (False, True))
    ),
    "Answers of one space": lambda found, written: (
        found.name.endswith((".get_dynamic_answer", "AnswerForFrames.answer"))
        and names_spaces(written, found.where[0])
        and not found.ours
    ),
    "Root layer": lambda found, written: (
        written.kind == "layers"
        and (
            (found.name == "ImageSpace.get_classification_instances" and found.where == "root")
            or (found.name == "ClassificationInstance.get_annotations" and found.where[1] == "root")
        )
    ),
    "Point clouds": lambda found, _: (
        found.name == "PointCloudFileSpace.get_classification_instances" and found.sdk == set()
    ),
    "File names": lambda found, written: (
        found.name.endswith(("Metadata.file_name", "Space.metadata", "SceneMetadata.uri"))
        and (written.kind == "channels" or found.ours.endswith(f"/{found.sdk}"))
    ),
    "Links": lambda found, _: found.name == "LabelRowV2.data_link" and found.sdk is None,
    "No frames": lambda found, _: (
        found.name == "LabelRowV2.number_of_frames" and (found.sdk, found.ours) == (0, None)
    ),
}


def names_spaces(written: Written, object_hash: str) -> bool:
    actions = written.sent["object_actions"].get(object_hash, {"actions": []})["actions"]
    return any("spaceId" in action for action in actions)


@cache
def compared() -> tuple[int, Counter[str], list[tuple[Difference, Written]]]:
    """How many rows, how often each property was compared, and the differences."""
    rows, checked, differences = 0, Counter[str](), list[tuple[Difference, Written]]()
    for seed in SEEDS:
        with seeded(seed) as dice:
            ontology = Ontology()
            extractor = Extractor(SELECTION, FORMAT, json.dumps(ontology.structure.to_dict()).encode())
            for written in (write(kind, dice, ontology) for kind in KINDS for _ in range(ROWS_OF_A_KIND)):
                alter(written, dice)
                sent = json.dumps(written.sent)
                harvest = extractor.extract(sent.encode(), planned(written.item))
                assert not harvest.notes
                found = {kind: records(harvest, kind) for kind in FORMAT.emit}
                comparison = Comparison(written, loaded(written.item, json.loads(sent), ontology), found)
                comparison.run()
                rows += 1
                checked += comparison.checked
                differences += [(one, written) for one in comparison.differences]
    return rows, checked, differences


def test_nothing_differs_but_what_the_documentation_lists() -> None:
    """Over 300 rows of all kinds, shapes, attributes, spaces and events."""
    rows, checked, differences = compared()
    unknown = [
        (one, written.kind)
        for one, written in differences
        if not any(is_one(one, written) for is_one in DEVIATIONS.values())
    ]
    assert unknown == []
    assert rows >= 300
    assert checked.total() > 200_000


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_that_is_listed_occurs(name: str) -> None:
    """What the SDK no longer says otherwise has to leave the list."""
    assert any(DEVIATIONS[name](one, written) for one, written in compared()[2])


def test_the_deviations_are_those_of_the_documentation() -> None:
    """By name, in its order."""
    assert list(DEVIATIONS) == documented_deviations()


def test_the_documentation_names_every_property_of_every_class() -> None:
    """And none that the SDK does not have."""
    there = {(model, name) for model, made in classes().items() for name in properties(made)}
    named = set(held_by())
    assert there - named == set()
    # A table is of several classes, not all of which have all of its properties; one has each.
    models = {model for model, _ in named}
    assert models == set(classes())
    tables = [re.findall(r"`([\w.]+)`", title) for title in re.findall(r"^### (.+: `.+)$", WALKED, re.M)]
    for model, name in named - there:
        [table] = [table for table in tables if model in table]
        assert any((other, name) in there for other in table), f"no class has {name}: {table}"


# Properties that hold by a key of ours, but of which rows alone cannot tell: the listing's, which the SDK has
# from the listing too, and what it looks up.
ELSEWHERE = {f"LabelRowV2.{name}" for name in ("ontology_structure", "get_frames_metadata", "get_space")}
UNTOLD = {  # the SDK refuses to tell, or there is none by its own account
    "ObjectInstance.Annotation.space", "ObjectInstance.ResolvedAnnotation.space",
    "ClassificationInstance.Annotation.space", "LabelDeleteEvent.metadata",
    "ObjectInstance.ResolvedAnnotation.frame",
}  # fmt: skip


def test_every_property_that_a_key_holds_was_compared() -> None:
    """Many times, over the random rows."""
    there = {(model, name) for model, made in classes().items() for name in properties(made)}
    listed = {key for key in held_by().values() if key.endswith("of the listing")}
    assert {name for key in listed for name in re.findall(r"`(\w+)`", key)} <= set(LISTING_KEYS)
    checked = compared()[1]
    missing = {
        f"{model}.{name}"
        for (model, name), key in held_by().items()
        if (model, name) in there and key != NOT_HELD and key not in listed and not checked[f"{model}.{name}"]
    }
    assert missing - ELSEWHERE - UNTOLD == set()
