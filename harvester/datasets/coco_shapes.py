"""What COCO can say of each shape: box, area, segmentation, keypoints. Conventions: docs/datasets.md."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from harvester.datasets.figures import Figure, Joint
from harvester.datasets.geometry import Box, NoGeometry, Ring, extent_of, ring_area
from harvester.datasets.ontology_classes import SkeletonTemplate
from harvester.datasets.rle import CocoMask, draw_parts, read_bitmask


class Shown(msgspec.Struct, gc=False):
    """The geometry of an annotation as it stands in the file."""

    bbox: Box
    area: float
    segmentation: list[Ring] | CocoMask
    keypoints: list[float] | UnsetType = UNSET
    num_keypoints: int | UnsetType = UNSET


# What an object becomes, in a word for the counts, and its geometry.
Became = tuple[str, Shown]


def _box(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    return "box", Shown(found.extent, found.extent[2] * found.extent[3], found.parts[0])


def _rings(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    rings = [part[0] for part in found.parts]
    return found.form, Shown(found.extent, sum(map(ring_area, rings)), rings)


def _polygon(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    """Rings as they are. COCO knows no holes: with one, the polygon is drawn, in the box of its rings."""
    parts = found.parts
    if len(parts) == 1 and len(parts[0]) == 1:
        return "polygon", Shown(found.extent, ring_area(parts[0][0]), parts[0])
    if all(len(part) == 1 for part in parts):
        rings = [part[0] for part in parts]
        return "polygons", Shown(found.extent, sum(map(ring_area, rings)), rings)
    drawn = draw_parts(parts, width, height)
    return "mask_of_polygon", Shown(found.extent, float(drawn.area), drawn)


def _bitmask(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    assert found.bitmask is not None
    spans = read_bitmask(found.bitmask, width, height)
    extent = spans.extent
    if extent is None:
        raise NoGeometry("no_geometry")
    return "mask", Shown(extent, float(spans.area), spans.to_coco())


def _cuboid_2d(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    """Front and back as rings; the area is that of the box around both."""
    rings = [part[0] for part in found.parts]
    return "front_and_back", Shown(found.extent, found.extent[2] * found.extent[3], rings)


def _polyline(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    """There and back, which encloses nothing."""
    back = [number for x, y in zip(found.line[-2::-2], found.line[::-2], strict=True) for number in (x, y)]
    return "line", Shown(found.extent, 0.0, [[*found.line, *back]])


def _point(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    """As one keypoint, and as a polygon of three times the same point: two would mean a box."""
    [joint] = found.joints
    return "point", Shown(found.extent, 0.0, [[joint.x, joint.y] * 3], [joint.x, joint.y, 2], 1)


def _skeleton(found: Figure, width: int, height: int, template: SkeletonTemplate | None) -> Became:
    """In the order of the template. Segmentation and area are those of the box around the joints.

    The SDK's exporter writes an empty segmentation, on which `annToMask` of pycocotools fails.
    """
    joints = found.joints if template is None else in_order(found.joints, template)
    shown = [joint for joint in joints if joint.visibility]
    if not shown:
        raise NoGeometry("too_few_points")
    x, y, across, down = extent = extent_of([joint.x for joint in shown], [joint.y for joint in shown])
    keypoints = [number for joint in joints for number in (joint.x, joint.y, joint.visibility)]
    box = [[x, y, x + across, y, x + across, y + down, x, y + down]]
    return "keypoints", Shown(extent, across * down, box, keypoints, len(shown))


_MISSING = Joint(0.0, 0.0, 0, None, None)


def in_order(joints: Sequence[Joint], template: SkeletonTemplate) -> Sequence[Joint]:
    """Return joints in the order of the template. What it does not have is left out."""
    by_hash = {joint.feature_hash: joint for joint in joints if joint.feature_hash is not None}
    by_name = {joint.name: joint for joint in joints if joint.name is not None}
    return [
        by_hash.get(one.feature_hash or "") or by_name.get(one.name) or _MISSING for one in template.joints
    ]


# What COCO can say of each form of figure, on an image of a width and height in pixels. The template is of a
# skeleton's class. They raise NoGeometry if COCO can say nothing.
BY_FORM: dict[str, Callable[[Figure, int, int, SkeletonTemplate | None], Became]] = {
    "box": _box,
    "rotated_box": _rings,
    "polygon": _polygon,
    "curve": _rings,
    "cuboid_2d": _cuboid_2d,
    "polyline": _polyline,
    "point": _point,
    "skeleton": _skeleton,
    "bitmask": _bitmask,
}
