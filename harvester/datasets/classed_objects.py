"""The objects of an image with their class in the data set and their geometry. What has none is counted."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harvester.datasets.class_file import KnownClass, class_list
from harvester.datasets.counts import Counts
from harvester.datasets.figures import Figure, figure
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.image_sets import leave_out
from harvester.datasets.ontology_classes import OntologyClass, SkeletonTemplate, ontology_classes
from harvester.datasets.pictures import Picture, PlacedObject


class ImageClass(NamedTuple):
    """A class of the data set, and the classes of the ontology that it is made of, at least one."""

    name: str
    made_of: list[OntologyClass]

    @property
    def color(self) -> str | None:
        """The colour of the first of them that has one."""
        return next((one.color for one in self.made_of if one.color), None)

    @property
    def skeleton(self) -> SkeletonTemplate | None:
        """The skeleton of the first of them that has one."""
        return next((one.skeleton for one in self.made_of if one.skeleton), None)


class ClassedObject(NamedTuple):
    """An object, the position of its class from 0, and its geometry in pixels."""

    sent: PlacedObject
    position: int
    figure: Figure


class ClassedObjects:
    """Knows the classes of a data set, in order."""

    def __init__(self, ontology: bytes | None, file: Path | None) -> None:
        """Read an ontology, and the classes file if there is one.

        Raises:
            BadInput: one of them is not usable.
        """
        known = {one.feature_hash: one for one in ontology_classes(ontology)}
        self._known = known.keys()
        self._list = class_list((KnownClass(one.feature_hash, one.name) for one in known.values()), file)
        self.classes = [
            ImageClass(one.name, [known[feature_hash] for feature_hash in one.feature_hashes])
            for one in self._list.classes
        ]

    def of(self, picture: Picture, counts: Counts) -> Iterator[ClassedObject]:
        """Yield the objects of an image that have a class and a geometry. The others are counted."""
        for one in picture.objects:
            position = self._list.position(one.feature_hash)
            if position is None:
                reason = "class" if one.feature_hash in self._known else "unknown_class"
                leave_out(counts, one.shape, reason)
                continue
            try:
                found = figure(one.shape, one.geometry(), picture.width, picture.height)
            except NoGeometry as error:
                leave_out(counts, one.shape, error.reason)
                continue
            if found.rings_left_out:
                counts.remark("ring_left_out", found.rings_left_out)
            yield ClassedObject(one, position, found)
