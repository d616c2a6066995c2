"""Geometry on an image, in pixels: boxes and rings, their extent, area, rotation and clipping.

A ring is a flat list of numbers: x and y of each vertex. A part is a list of rings: its outline, then its
holes. A box is x, y, width and height. Angles are in degrees, clockwise as seen on the screen.
"""

from collections.abc import Iterable, Sequence
from math import cos, pi, radians, sin
from operator import mul
from typing import Literal

Box = tuple[float, float, float, float]
Ring = list[float]
Part = list[Ring]

# The longest side of an image in pixels. pycocotools counts the pixels of an image in 32 bits.
LONGEST_SIDE = 32_768

# Why an object has no geometry on its image.
Reason = Literal[
    "no_size",  # the width or height of the image is not known
    "no_image",  # the shape stands on point clouds, in audio, text or time
    "unknown_shape",
    "no_geometry",  # there is none, or an empty one
    "malformed",
    "out_of_range",
    "too_few_points",
    "bad_mask",  # the run lengths of a bitmask do not add up to its size
]


class NoGeometry(Exception):
    """An object has no geometry that can be used; `reason` is one of Reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def extent_of(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """Return the bounding box of points."""
    left, top = min(xs), min(ys)
    return left, top, max(xs) - left, max(ys) - top


def extent_of_rings(rings: Iterable[Ring]) -> Box:
    """Return the bounding box of rings."""
    xs = [x for ring in rings for x in ring[::2]]
    return extent_of(xs, [y for ring in rings for y in ring[1::2]])


def ring_area(ring: Ring) -> float:
    """Return the area that a ring encloses, by the shoelace formula."""
    xs, ys = ring[::2], ring[1::2]
    twice: float = abs(sum(map(mul, xs, ys[1:] + ys[:1])) - sum(map(mul, ys, xs[1:] + xs[:1])))
    return twice / 2


def area_of(parts: Iterable[Part]) -> float:
    """Return the area of parts: of each its outline less its holes, never below 0."""
    return sum(max(0.0, ring_area(part[0]) - sum(map(ring_area, part[1:]))) for part in parts)


def corners(box: Box, theta: float) -> Ring:
    """Return the corners of a box that is turned clockwise by `theta` degrees, the top left one first."""
    x, y, width, height = box
    centre_x, centre_y, half_x, half_y = x + width / 2, y + height / 2, width / 2, height / 2
    across, down = cos(radians(theta)), sin(radians(theta))
    ring: Ring = []
    for dx, dy in ((-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)):
        ring += (centre_x + dx * across - dy * down, centre_y + dx * down + dy * across)
    return ring


def curve(centre: tuple[float, float], radii: tuple[float, float], theta: float, count: int) -> Ring:
    """Return `count` vertices on an ellipse in pixels; `theta` turns it, in degrees, clockwise."""
    across, down = cos(radians(theta)), sin(radians(theta))
    ring: Ring = []
    for step in range(count):
        dx, dy = radii[0] * cos(2 * pi * step / count), radii[1] * sin(2 * pi * step / count)
        ring += (centre[0] + dx * across - dy * down, centre[1] + dx * down + dy * across)
    return ring


def clip_box(box: Box, width: int, height: int) -> Box | None:
    """Return the piece of a box that lies on the image, None if none does."""
    x, y, across, down = box
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + across, width), min(y + down, height)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def clip_ring(ring: Ring, width: int, height: int) -> Ring:
    """Return the piece of a ring that lies on the image, by Sutherland and Hodgman; empty if none does.

    The pieces of a ring that is cut in several are joined by lines on the image's edge, which add no area.
    """
    vertices = list(zip(ring[::2], ring[1::2], strict=True))
    for axis, edge, sign in ((0, 0.0, 1), (0, float(width), -1), (1, 0.0, 1), (1, float(height), -1)):
        vertices = _clipped(vertices, axis, edge, sign)
    return [number for vertex in vertices for number in vertex]


def is_on_image(box: Box, width: int, height: int) -> bool:
    """Return whether all of a box lies on the image. A millionth of a pixel beyond is rounding."""
    x, y, across, down = box
    return x >= -1e-6 and y >= -1e-6 and x + across <= width + 1e-6 and y + down <= height + 1e-6


def _clipped(
    vertices: list[tuple[float, float]], axis: int, edge: float, sign: int
) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for before, vertex in zip(vertices[-1:] + vertices[:-1], vertices, strict=True):
        ahead, here = (before[axis] - edge) * sign, (vertex[axis] - edge) * sign
        if (ahead < 0) != (here < 0):
            share = ahead / (ahead - here)
            crossing = [a + (b - a) * share for a, b in zip(before, vertex, strict=True)]
            crossing[axis] = edge
            kept.append((crossing[0], crossing[1]))
        if here >= 0:
            kept.append(vertex)
    return kept
