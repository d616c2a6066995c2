"""The categories of a COCO file: the classes of an ontology, or those of a classes file."""

from pathlib import Path
from typing import Any

import msgspec

from harvester.datasets.class_file import KnownClass, class_list
from harvester.datasets.ontology_classes import OntologyClass, SkeletonTemplate


class Category(msgspec.Struct, frozen=True, omit_defaults=True):
    """A category as it stands in the file; of skeletons and points, with `keypoints` and `skeleton`.

    `skeleton` are the edges, as pairs of positions in `keypoints`, from 1.
    """

    id: int
    name: str
    supercategory: str
    keypoints: list[str] | None = None
    skeleton: list[tuple[int, int]] | None = None


class CategoryOfClass(msgspec.Struct, frozen=True):
    """The category of a class, and the template of its skeletons."""

    id: int
    skeleton: SkeletonTemplate | None


class Categories:
    """The categories of a data set, in order, with ids from 1, whether they are used or not.

    `known` are the feature hashes of the ontology's classes, `by_feature` the categories of some of them.
    """

    def __init__(self, classes: list[OntologyClass], file: Path | None) -> None:
        """Make categories of the classes of an ontology, as the classes `file` has them.

        Raises:
            BadInput: the file cannot be read, or names classes that the ontology does not have.
        """
        by_hash = {one.feature_hash: one for one in classes}
        self.known = frozenset(by_hash)
        self.categories: list[Category] = []
        self.by_feature: dict[str | None, CategoryOfClass] = {}
        known = (KnownClass(one.feature_hash, one.name) for one in classes)
        for number, made in enumerate(class_list(known, file).classes, 1):
            merged = [by_hash[feature_hash] for feature_hash in made.feature_hashes]
            shapes = {one.shape for one in merged}
            skeleton = next((one.skeleton for one in merged if one.skeleton is not None), None)
            self.categories.append(
                Category(
                    number,
                    made.name,
                    shapes.pop() if len(shapes) == 1 else "mixed",
                    **_keypoints(merged, skeleton),
                )
            )
            for one in merged:
                self.by_feature[one.feature_hash] = CategoryOfClass(number, skeleton)


def _keypoints(merged: list[OntologyClass], skeleton: SkeletonTemplate | None) -> dict[str, Any]:
    if skeleton is not None:
        return {
            "keypoints": [joint.name for joint in skeleton.joints],
            "skeleton": [(start + 1, end + 1) for start, end in skeleton.edges],
        }
    if any(one.shape == "point" for one in merged):
        return {"keypoints": ["point"], "skeleton": []}
    return {"keypoints": [], "skeleton": []} if any(one.shape == "skeleton" for one in merged) else {}
