"""Reads COCO's boxes and simple polygons by a shorter way, because most objects are such.

The result is the same as that of `figures` and `coco_shapes` (a test compares them), with fewer steps.
"""

from collections.abc import Callable

from harvester.datasets.coco_shapes import Became, Shown
from harvester.datasets.figures import ring_in_pixels
from harvester.datasets.geometry import NoGeometry, ring_area
from harvester.datasets.sent_shapes import SentGeometry


def _box(sent: SentGeometry, width: int, height: int) -> Became | None:
    if (box := sent.bounding_box) is None:
        return None
    x, y, across, down = box.x, box.y, box.w, box.h
    if not (-10 <= x <= 11 and -10 <= y <= 11 and 0 <= across <= 11 and 0 <= down <= 11):
        return None
    x, y, across, down = x * width, y * height, across * width, down * height
    right, bottom = x + across, y + down
    ring = [x, y, right, y, right, bottom, x, bottom]
    return "box", Shown((x, y, across, down), across * down, [ring])


def _polygon(sent: SentGeometry, width: int, height: int) -> Became | None:
    if not sent.polygons or len(sent.polygons) > 1 or len(sent.polygons[0]) != 1:
        return None
    ring = sent.polygons[0][0]
    if len(ring) < 6:
        return None
    try:
        scaled, extent = ring_in_pixels(ring, width, height)
    except NoGeometry:
        return None
    return "polygon", Shown(extent, ring_area(scaled), [scaled])


# What an object of a shape becomes on an image of a width and height in pixels. None if it is no polygon of
# one ring, or if something about it is odd: then the longer way knows what it is.
QUICK: dict[str | None, Callable[[SentGeometry, int, int], Became | None]] = {
    "bounding_box": _box,
    "polygon": _polygon,
}
