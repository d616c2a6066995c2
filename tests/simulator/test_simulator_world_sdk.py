"""Second opinion: the SDK's own object model loads the simulator's rows, and finds what the truth says."""

from typing import Any

import orjson
import pytest
from encord.objects import LabelRowV2, OntologyStructure
from encord.orm.label_row import LabelRowMetadata

from harvester.simulator.recipes import RECIPES
from harvester.simulator.world import World, WorldSpec
from tests.truth import Oracle, Truth

LOADED = [recipe.name for recipe in RECIPES if recipe.loads]
NOT_LOADED = [recipe.name for recipe in RECIPES if not recipe.loads]


class Ontology:
    """As much of an ontology as a label row needs."""

    def __init__(self, world: World) -> None:
        self.structure = OntologyStructure.from_dict(world.ontology())


def load(world: World, ontology: Ontology, item: dict[str, Any]) -> LabelRowV2:
    row: Any = LabelRowV2(LabelRowMetadata.from_dict(item), None, ontology)  # type: ignore[arg-type]
    row.from_labels_dict(orjson.loads(world.label_row(item["label_hash"], reviews=True) or b""))
    return row  # type: ignore[no-any-return]


def objects(row: LabelRowV2) -> int:
    """One an object and frame or space, one a range object; events that delete are none."""
    if row.is_event_based:
        found = sum(event.kind != "delete" for o in row.get_object_instances() for event in o.get_events())
    else:
        found = sum(len(instance.get_annotations()) for instance in row.get_object_instances())
    return found + sum(len(list(space.get_annotations("object"))) for space in row.get_spaces())


def classifications(row: LabelRowV2) -> int:
    """One a placement, on the root or on a space."""
    found = len(row.get_classification_instances())
    for space in row.get_spaces():
        found += len({found.classification_hash for found in space.get_annotations("classification")})
    return found


@pytest.mark.parametrize("kind", LOADED)
def test_the_sdk_finds_what_the_truth_says(kind: str) -> None:
    """Every row loads, with as many objects and placed classifications as the truth counted."""
    world = World(WorldSpec(rows=90, mix=(kind,), unlabelled=0, seed=3))
    ontology, oracle, found = Ontology(world), Oracle(world), Truth()
    query = {"include_all_label_branches": True}
    for item in map(orjson.loads, world.listing(query)):
        row = load(world, ontology, item)
        truth = oracle.expected({"label_hashes": [item["label_hash"]]})
        assert objects(row) == truth.objects, item
        # The SDK shows what lies on another layer of an image on its root layer too, and no old copies.
        if kind != "layers":
            assert classifications(row) == truth.classifications - truth.copied, item
        found.objects += truth.objects
        found.classifications += truth.classifications
    truth = oracle.expected(query)
    assert (found.objects, found.classifications) == (truth.objects, truth.classifications)
    assert found.objects > 100
    assert found.classifications > 40


@pytest.mark.parametrize("kind", NOT_LOADED)
def test_rows_said_to_be_beyond_the_sdk_are(kind: str) -> None:
    """A row of a kind that only a reader of the JSON can read fails in the SDK."""
    world = World(WorldSpec(rows=10, mix=(kind,), unlabelled=0))
    ontology = Ontology(world)
    for item in map(orjson.loads, world.listing()):
        with pytest.raises(Exception, match=r"\w"):
            load(world, ontology, item)


def test_the_ontology_has_every_shape_and_attribute_type() -> None:
    """All 15 shapes; attributes of all four types, static and dynamic; one global classification."""
    world = World(WorldSpec(rows=1))
    structure = OntologyStructure.from_dict(world.ontology())
    assert len({feature.shape for feature in structure.objects}) == 15
    dynamic = {type(a).__name__ for o in structure.objects for a in o.attributes if a.dynamic}
    static = {type(a).__name__ for o in structure.objects for a in o.attributes if not a.dynamic}
    assert len(dynamic) == len(static) == 4
    assert [c.level for c in structure.classifications].count(None) == len(structure.classifications) - 1
