"""Lines of YOLO label files: an object's class and its geometry, in shares of the image, by task.

| task | line |
|---|---|
| detect | class, centre x and y, width and height of the extent |
| segment | class, x and y of each vertex of the outline |
| obb | class, x and y of the four corners of a box, rotated or not |
| pose | class, the extent as for detect, then x, y and visibility of each joint |

Several parts and holes are joined to one outline by lines of no width, as Ultralytics' own converter does it:
see `harvester.datasets.outlines.joined`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harvester.datasets.coco_shapes import in_order
from harvester.datasets.figures import Figure, Joint
from harvester.datasets.geometry import Box, Ring, clip_box, clip_ring, extent_of, is_on_image
from harvester.datasets.ontology_classes import SkeletonTemplate
from harvester.datasets.outlines import Points, joined, outlines
from harvester.datasets.rle import Spans, draw_parts, is_cut, read_bitmask, read_coco

AREAS = ("polygon", "curve")  # forms of figures that are areas, beside bitmasks
BOXES = ("box", "rotated_box")

# How far from its upper left corner a pixel is named, in pixels: so rounded down, as Ultralytics does, and
# rounded, as supervision does, it stays that pixel, whatever the last decimal of a share has become.
_INTO_PIXEL = 0.25
_LEAST = 1e-6  # the smallest side of a rotated box, as a share
_DIGITS = 6  # decimals of a share: a hundredth of a pixel at 10,000 pixels


class YoloShape(NamedTuple):
    """What stands on a line after the class.

    `clipped`: a part of the object was beyond the image. `joined` is how many outlines were joined,
    `joints_left_out` how many joints its template does not have.
    """

    shares: list[float]
    clipped: bool
    joined: int = 1
    joints_left_out: int = 0


class NoLabel(Exception):
    """The task has no label for an object. `reason` is a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def line(position: int, shape: YoloShape) -> str:
    """Return the line of an object whose class has this position, from 0."""
    return " ".join((str(position), *map(_text, shape.shares)))


def _text(share: float) -> str:
    return f"{share:.{_DIGITS}f}".rstrip("0").rstrip(".") or "0"


def detect(figure: Figure, width: int, height: int) -> YoloShape:
    """Return the extent. Raises NoLabel if it has no area on the image, NoGeometry if the mask is broken."""
    if figure.bitmask is None:
        return YoloShape(_box(figure.extent, width, height), not is_on_image(figure.extent, width, height))
    extent = read_bitmask(figure.bitmask, width, height).extent
    if extent is None:
        raise NoLabel("no_area")
    return YoloShape(_box(extent, width, height), is_cut(figure.bitmask, width, height))


def segment(figure: Figure, width: int, height: int, *, boxes: bool = False) -> YoloShape:
    """Return the outline of an area; of boxes only if `boxes`. Raises as `detect` does."""
    clipped = not is_on_image(figure.extent, width, height)
    if figure.bitmask is not None:
        rings = _outlines_of(read_bitmask(figure.bitmask, width, height))
        clipped = is_cut(figure.bitmask, width, height)
    elif figure.form in AREAS or (boxes and figure.form in BOXES):
        rings = _rings_of(figure, width, height)
    else:
        raise NoLabel("other_shape")
    if not rings:
        raise NoLabel("no_area")
    shares = (joined(rings) / (width, height)).clip(0, 1)
    return YoloShape(shares.ravel().tolist(), clipped, len(rings))


def _rings_of(figure: Figure, width: int, height: int) -> list[Points]:
    """Return a single ring as it was drawn, and of several the outlines of their pixels.

    Trainers set the pixels on an outline, too, so that holes would become smaller; and by the even-odd rule
    what lies in two parts would be outside, and what lies in a hole but in no part inside.
    """
    rings = [ring for part in figure.parts for ring in part]
    if len(rings) > 1:
        return _outlines_of(read_coco(draw_parts(figure.parts, width, height)))
    ring = clip_ring(rings[0], width, height)
    return [np.array(ring).reshape(-1, 2)] if _has_area(ring, width, height) else []


def _outlines_of(spans: Spans) -> list[Points]:
    """Return the outlines of a mask. Only the piece of it that is set is drawn."""
    if spans.extent is None:
        return []
    left, top, width, height = map(int, spans.extent)
    piece = spans.placed(-left, -top, width, height).pixels()
    place = np.array((left, top)) + _INTO_PIXEL
    return [ring + place for ring in outlines(piece.astype(bool))]


def _has_area(ring: Ring, width: int, height: int) -> bool:
    """Return whether a line would tell a ring from a level or an upright line."""
    if len(ring) < 6:
        return False
    _, _, across, down = extent_of(ring[::2], ring[1::2])
    return round(min(across / width, down / height), _DIGITS) > 0


def obb(figure: Figure, width: int, height: int) -> YoloShape:
    """Return the corners of a box, rotated or not. Raises NoLabel for other shapes, and as `detect` does.

    Of one that reaches beyond the image, those of the smallest box of the same rotation around the piece that
    is on the image. Where such a corner is still beyond, it is moved to the edge.
    """
    if figure.form not in BOXES:
        raise NoLabel("other_shape")
    ring = figure.parts[0][0]
    piece = clip_ring(ring, width, height)
    corners = np.array(ring).reshape(4, 2)
    sides = corners[[1, 3]] - corners[0]
    if not _has_area(piece, width, height) or not np.hypot(*sides.T).min() / max(width, height) >= _LEAST:
        raise NoLabel("no_area")
    clipped = not is_on_image(figure.extent, width, height)
    if clipped:
        along = (np.array(piece).reshape(-1, 2) - corners[0]) @ (sides / (sides**2).sum(axis=1)[:, None]).T
        (first, top), (last, bottom) = along.min(axis=0), along.max(axis=0)
        corners = corners[0] + np.array([[first, top], [last, top], [last, bottom], [first, bottom]]) @ sides
    shares = (corners / (width, height)).clip(0, 1)
    return YoloShape(shares.ravel().tolist(), clipped)


def pose(
    figure: Figure, width: int, height: int, *, template: SkeletonTemplate | None, joints: int
) -> YoloShape:
    """Return the extent and the joints of a skeleton.

    Args:
        figure: of an object.
        width, height: of the image, in pixels.
        template: the skeleton of its class. Without one, joints stand in their own order.
        joints: how many joints a line has: those that the skeleton lacks are not labelled.

    Raises:
        NoLabel: it is no skeleton; or as `detect` does.
    """
    if figure.form != "skeleton":
        raise NoLabel("other_shape")
    shares = _box(figure.extent, width, height)
    clipped = not is_on_image(figure.extent, width, height)
    ordered = _in_order(figure.joints, template)
    left_out = sum(joint not in ordered for joint in figure.joints)
    if len(ordered) > joints:
        raise NoLabel("too_many_joints")
    for joint in (*ordered, *[None] * (joints - len(ordered))):
        if joint is None or not joint.visibility:
            shares += (0.0, 0.0, 0.0)
        else:
            shares += (_within(joint.x, width), _within(joint.y, height), float(joint.visibility))
    return YoloShape(shares, clipped, joints_left_out=left_out)


def _in_order(found: Sequence[Joint], template: SkeletonTemplate | None) -> Sequence[Joint]:
    """Order joints as the template has them. If it knows none of them, they stay as they come."""
    ordered = [] if template is None else in_order(found, template)
    return ordered if any(joint in found for joint in ordered) else found


def _box(extent: Box, width: int, height: int) -> list[float]:
    """Return centre and size of the piece of `extent` that is on the image, in shares. Raises NoLabel."""
    piece = clip_box(extent, width, height)
    if piece is None:
        raise NoLabel("no_area")
    x, y, across, down = piece
    shares = [(x + across / 2) / width, (y + down / 2) / height, across / width, down / height]
    if round(min(shares[2:]), _DIGITS) <= 0:
        raise NoLabel("no_area")
    return [min(share, 1.0) for share in shares]


def _within(number: float, size: int) -> float:
    """Return pixels as a share of `size`, on the image."""
    return min(max(number / size, 0.0), 1.0)
