"""The classes of an ontology as data sets need them."""

import json
from typing import Any

import pytest

from harvester.datasets.ontology_classes import (
    OntologyClass,
    SkeletonJoint,
    SkeletonTemplate,
    ontology_classes,
)
from harvester.errors import BadInput


def _read(**structure: Any) -> list[OntologyClass]:
    return ontology_classes(json.dumps(structure).encode())


def _object(feature_hash: str, **known: Any) -> dict[str, Any]:
    return {"featureNodeHash": feature_hash, "name": feature_hash.upper(), "shape": "polygon"} | known


def test_classes_are_in_the_order_of_the_ontology_with_their_colours() -> None:
    """Archived ones too, so that no position changes; but not what is heard or read."""
    found = _read(
        objects=[
            _object("b", color="#FE9200"),
            _object("x", shape="audio"),
            _object("y", shape="text"),
            _object("a", archived=True, color="url(javascript:0)"),
            _object("c", color=7, attributes=[{"unknown": 1}]),
        ]
    )
    assert [(one.name, one.color) for one in found] == [("B", "#FE9200"), ("A", None), ("C", None)]


def test_skeletons_have_their_joints_in_the_order_of_their_numbers() -> None:
    """10 after 9; edges by position; a template belongs to a class by hash, or else by name."""
    joints = {
        str(number): {"name": f"joint {number}", "featureHash": f"f{number}", "x": 0.1}
        for number in range(11)
    }
    template = {
        "name": "Body",
        "skeleton": dict(sorted(joints.items())),
        "skeletonEdges": {"10": {"0": {}, "9": {}, "77": {}}},
    }
    by_hash, by_name, none = _read(
        objects=[
            _object("h", shape="skeleton"),
            _object("i", shape="skeleton", name="Body"),
            _object("j", name="Body"),
        ],
        skeleton_templates=[{"template": template | {"feature_node_hash": "h"}}],
    )
    assert by_hash.skeleton == SkeletonTemplate(
        [SkeletonJoint(f"joint {number}", f"f{number}") for number in range(11)], [(10, 0), (10, 9)]
    )
    assert by_name.skeleton == by_hash.skeleton
    assert none.skeleton is None


def test_no_ontology_has_no_classes_and_a_broken_one_is_named() -> None:
    """In one line."""
    assert ontology_classes(None) == _read() == []
    with pytest.raises(BadInput, match="ontology cannot be read"):
        ontology_classes(b"{")


@pytest.mark.parametrize(
    "broken",
    [
        {"template": {"name": "S", "skeleton": {"x": {}}}},
        {"template": {"name": "S", "skeleton": {"0": {"name": 5}}}},
        {"name": "S"},
        5,
    ],
)
def test_a_skeleton_that_cannot_be_read_stops_no_conversion(broken: object) -> None:
    """Its class has none, and the others have theirs, also without edges."""
    whole = {"template": {"name": "T", "skeleton": {"0": {"name": "nose"}}, "skeletonEdges": None}}
    classes = [{"name": name, "shape": "skeleton", "featureNodeHash": name.lower()} for name in ("S", "T")]
    one, other = _read(objects=classes, skeleton_templates=[broken, whole])
    assert one.skeleton is None
    assert other.skeleton is not None
    assert [joint.name for joint in other.skeleton.joints] == ["nose"]
    assert other.skeleton.edges == []
