"""``data.yaml``: whatever classes are called, and which joints change places in a mirror."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from harvester.datasets.classed_objects import ImageClass
from harvester.datasets.ontology_classes import OntologyClass, SkeletonJoint, SkeletonTemplate
from harvester.datasets.yolo_yaml import data_yaml, flip_idx, most_joints

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5)


def _class(name: str, *joints: str) -> ImageClass:
    skeleton = SkeletonTemplate([SkeletonJoint(joint) for joint in joints], []) if joints else None
    return ImageClass(name, [OntologyClass(name, name, "skeleton", None, skeleton)])


@given(NAMES, st.booleans())
def test_names_are_read_as_they_are_written(names: list[str], pose: bool) -> None:
    """Quotes, colons, words that YAML takes for numbers or truths, characters of any script."""
    classes = [_class(name, name, "on") for name in names]
    read = yaml.safe_load(data_yaml(classes, ["train", "val", "no"], pose=pose))
    assert read["names"] == dict(enumerate(names))
    assert (read["train"], read["val"], read["no"]) == ("images/train", "images/val", "images/no")
    if pose:
        assert (read["kpt_names"] or {}) == {number: [name, "on"] for number, name in enumerate(names)}


def test_left_and_right_change_places_in_a_mirror() -> None:
    """However they are written. What has no other side stays, as does what two classes see differently."""
    body = _class("body", "nose", "left_eye", "right_eye", "Left hand", "Right hand", "LEFT", "left foot")
    assert flip_idx([body]) == [0, 2, 1, 4, 3, 5, 6]
    assert flip_idx([body, _class("face", "nose", "left_ear", "right_ear")]) == [0, 2, 1, 4, 3, 5, 6]
    assert flip_idx([body, _class("other", "left", "right")]) == [0, 1, 2, 4, 3, 5, 6]
    assert flip_idx([_class("one", "nose", "chin"), _class("other", "left", "right")]) == [0, 1]
    assert flip_idx([_class("car")]) == []
    assert most_joints([body, _class("face", "nose"), _class("car")]) == 7


@given(
    st.lists(
        st.lists(st.sampled_from(["left a", "right a", "left b", "right b", "c"]), unique=True), max_size=4
    )
)
def test_a_mirror_of_a_mirror_is_what_was_there(skeletons: list[list[str]]) -> None:
    """Whatever skeletons there are: it is a permutation, its own inverse."""
    found = flip_idx([_class(str(number), *joints) for number, joints in enumerate(skeletons)])
    assert [found[at] for at in found] == list(range(len(found)))
