"""The columns of objects' geometry: `bbox`, `rotation`, `polygons`, `points`, `rle` and `cuboid`.

Coordinates are as sent, in shares of the image's width and height. The extents of most shapes are computed
for all objects of a batch at once.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow

from harvester.datasets.arrow_arrays import Doubles, Truths, array_of, fixed, lists, structs
from harvester.datasets.columns import GEOMETRY, MADE
from harvester.datasets.figures import vertices_in_order
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.rle import read_bitmask
from harvester.datasets.sent_labels import SentObject
from harvester.datasets.sent_shapes import SentBitmask, SentCuboid2D, Vertex, visibility_of

_SHAPES = [name for name in SentObject.__struct_fields__ if name not in MADE]
_shapes_of = attrgetter(*_SHAPES)
_Column = Sequence[Any]

# Computed numbers are rounded, so that 0.7594 - 0.4078 gives 0.3516, and every machine's sine the same bytes.
_DECIMALS = 12
_LARGEST_ROUNDED = 1000.0  # beyond it, doubles have hardly more decimals than that


class _Mask(msgspec.Struct):
    """A value of the column `rle`."""

    counts: str
    left: int | None = None
    top: int | None = None
    width: int | None = None
    height: int | None = None


class GeometryColumns:
    """Makes the columns of one batch of objects.

    `unknown` are the objects that have a shape whose extent cannot be known.
    """

    def __init__(
        self, objects: Sequence[SentObject], width: Doubles, height: Doubles, unreadable: Sequence[int] = ()
    ) -> None:
        """`width` and `height` are those of each object's image in pixels, NaN where they are not known.

        `unreadable` objects had a shape that could not be decoded.
        """
        self._number, self._width, self._height = len(objects), width, height
        self._aspect: Doubles = height / np.where(width == 0, np.nan, width)
        self._sides: Doubles = np.full((4, self._number), np.nan)
        self._theta: Doubles = np.full(self._number, np.nan)
        self.unknown: Truths = np.zeros(self._number, bool)
        self.unknown[list(unreadable)] = True
        sent = dict(zip(_SHAPES, zip(*map(_shapes_of, objects), strict=True), strict=True))
        with np.errstate(all="ignore"):  # what is not finite is unknown
            self.columns = self._made(sent)

    def _made(self, sent: Mapping[str, _Column]) -> dict[str, pyarrow.Array]:
        """Return the columns. Of an object with several shapes, the last one here sets the extent."""
        self._put_curves(sent["ellipse"], "rx", "ry")
        self._put_curves(sent["circle"], "r", "stretch")
        self._put_cuboids(sent["cuboid_2d"])
        points = self._points(sent["polyline"], sent["point"], sent["skeleton"])
        polygons = self._polygons(sent["polygons"], sent["polygon"])
        self._put_rotated(sent["rotatable_bounding_box"])
        if rows := _rows(sent["bounding_box"]):
            self._put(rows, *_numbers([sent["bounding_box"][row] for row in rows], "x", "y", "w", "h"))
        masks = self._masks(sent["bitmask"], sent["segmentation"])
        known: Truths = np.asarray(np.isfinite(self._sides).all(axis=0))
        self.unknown &= ~known
        return {
            "bbox": structs(GEOMETRY["bbox"], [fixed(side) for side in self._sides], known),
            "rotation": fixed(self._theta, ~np.isnan(self._theta)),
            "polygons": polygons,
            "points": points,
            "rle": array_of(GEOMETRY["rle"], masks),
            "cuboid": array_of(GEOMETRY["cuboid"], sent["cuboid"]),
        }

    def _put(self, rows: Any, *sides: Doubles) -> None:
        """Set the extents of rows: left, top, width and height. What is not finite stays unknown."""
        self._sides[:, rows] = sides
        self.unknown[rows] = True

    def _put_around(self, rows: list[int], counts: list[int], x: Doubles, y: Doubles) -> None:
        """Set the extents of rows of points. `counts` is the number of points of each row."""
        numbers = np.array(counts)
        there = numbers > 0
        if there.any():
            firsts = (numbers.cumsum() - numbers)[there]
            left, right = np.minimum.reduceat(x, firsts), np.maximum.reduceat(x, firsts)
            top, bottom = np.minimum.reduceat(y, firsts), np.maximum.reduceat(y, firsts)
            self._put(np.array(rows)[there], left, top, _rounded(right - left), _rounded(bottom - top))

    def _put_rotated(self, boxes: _Column) -> None:
        if rows := _rows(boxes):
            x, y, w, h, theta = _numbers([boxes[row] for row in rows], "x", "y", "w", "h", "theta")
            self._put_theta(rows, theta)
            turned = np.radians(np.nan_to_num(theta))
            across, down = np.abs(np.cos(turned)), np.abs(np.sin(turned))
            aspect = self._aspect[rows]
            width, height = w * across + h * down * aspect, w * down / aspect + h * across
            computed = (x + (w - width) / 2, y + (h - height) / 2, width, height)
            self._put_turned(rows, turned != 0, computed, (x, y, w, h))

    def _put_curves(self, curves: _Column, radius: str, other: str) -> None:
        if rows := _rows(curves):
            x, y, across, down, theta = _numbers(
                [curves[row] for row in rows], "x", "y", radius, other, "theta"
            )
            aspect = self._aspect[rows]
            if other == "stretch":  # of a circle: times the radius in pixels
                down = across * np.where(np.isnan(down), 1.0, down) / aspect
            self._put_theta(rows, theta)
            turned = np.radians(np.nan_to_num(theta))
            cos, sin = np.cos(turned), np.sin(turned)
            half = np.hypot(across * cos, down * sin * aspect), np.hypot(across * sin / aspect, down * cos)
            computed = (x - half[0], y - half[1], 2 * half[0], 2 * half[1])
            upright = (x - across, y - down, 2 * across, 2 * down)
            self._put_turned(rows, turned != 0, computed, upright)

    def _put_turned(
        self, rows: list[int], is_turned: Truths, turned: Sequence[Doubles], upright: Sequence[Doubles]
    ) -> None:
        """Set the extents of shapes that may be turned. Those of upright ones need no size of the image."""
        pairs = zip(turned, upright, strict=True)
        self._put(rows, *(np.where(is_turned, _rounded(one), other) for one, other in pairs))

    def _put_theta(self, rows: list[int], theta: Doubles) -> None:
        self._theta[rows] = np.where(np.isnan(theta), self._theta[rows], theta)

    def _put_cuboids(self, cuboids: _Column) -> None:
        if rows := _rows(cuboids):
            corners = [_corners(cuboids[row]) for row in rows]
            flat = np.array([number for some in corners for number in some], np.float64)
            self._put_around(rows, [len(some) // 2 for some in corners], flat[::2], flat[1::2])

    def _points(self, polylines: _Column, points: _Column, skeletons: _Column) -> pyarrow.Array:
        """Return the column `points`, and set extents. Points and joints of skeletons have names."""
        sent = {row: polylines[row] for row in _rows(polylines)}
        for some in (points, skeletons):
            for row in _rows(some):
                sent.setdefault(row, some[row])
        type, sizes, has_points = GEOMETRY["points"], [0] * self._number, np.zeros(self._number, bool)
        if not sent:
            return pyarrow.nulls(self._number, type)
        rows, vertices = sorted(sent), list[Any]()
        for row in rows:
            found = self._vertices(row, sent[row])
            sizes[row] = len(found)
            vertices += found
        has_points[rows] = True
        x, y = _numbers(vertices, "x", "y")
        self._put_around(rows, [sizes[row] for row in rows], x, y)
        named = [vertex if isinstance(vertex, Vertex) else None for vertex in vertices]
        columns = [
            fixed(x),
            fixed(y),
            array_of(pyarrow.float64(), [vertex.z for vertex in vertices]),
            array_of(pyarrow.string(), [one and one.name for one in named]),
            array_of(pyarrow.string(), [one and visibility_of(one) for one in named]),
        ]
        return lists(type, sizes, structs(type.value_type, columns), has_points)

    def _vertices(self, row: int, sent: Any) -> Sequence[Any]:
        try:
            return vertices_in_order(sent) or ()
        except NoGeometry:
            self.unknown[row] = True
            return ()

    def _polygons(self, polygons: _Column, older: _Column) -> pyarrow.Array:
        """Return the column `polygons`, and set extents."""
        rows = sorted({*_rows(polygons), *_rows(older)})
        type = GEOMETRY["polygons"]
        if not rows:
            return pyarrow.nulls(self._number, type)
        parts, rings, vertices, counts = [0] * self._number, list[int](), list[int](), list[int]()
        xs, ys = list[float](), list[float]()
        has_polygons = np.zeros(self._number, bool)
        for row in rows:
            before = len(ys)
            if polygons[row]:
                for part in polygons[row]:
                    rings.append(len(part))
                    for ring in part:
                        ys += ring[1::2]
                        xs += ring[: len(ring) // 2 * 2 : 2]
                        vertices.append(len(ring) // 2)
                parts[row] = len(polygons[row])
            elif older[row] is not None:
                corners = self._vertices(row, older[row])
                xs += [corner.x for corner in corners]
                ys += [corner.y for corner in corners]
                vertices.append(len(corners))
                rings.append(1)
                parts[row] = 1
            has_polygons[row] = parts[row] > 0
            counts.append(len(ys) - before)
        x, y = np.array(xs, np.float64), np.array(ys, np.float64)
        self._put_around(rows, counts, x, y)
        of_parts = type.value_type
        of_rings = of_parts.value_type
        made = lists(of_rings, vertices, structs(of_rings.value_type, [fixed(x), fixed(y)]))
        return lists(type, parts, lists(of_parts, rings, made), has_polygons)

    def _masks(self, bitmasks: _Column, segmentations: _Column) -> list[_Mask | None]:
        """Return the column `rle`, and set extents."""
        found: list[_Mask | None] = [text and _Mask(text) for text in segmentations]
        for row in _rows(bitmasks):
            sent: SentBitmask = bitmasks[row]
            found[row] = _Mask(sent.rle_string, sent.left, sent.top, sent.width, sent.height)
            self._put_mask(row, sent)
        return found

    def _put_mask(self, row: int, sent: SentBitmask) -> None:
        """Set the extent of the pixels of a mask. An empty mask has none, which is not unknown."""
        width, height = self._width[row], self._height[row]
        self._sides[:, row], self.unknown[row] = np.nan, True
        if width > 0 and height > 0:
            try:
                extent = read_bitmask(sent, int(width), int(height)).extent
            except NoGeometry:
                return
            self.unknown[row] = extent is not None
            if extent is not None:
                self._sides[:, row] = np.array(extent) / (width, height, width, height)


def _rows(column: _Column) -> list[int]:
    """Return the rows that have a value."""
    if column.count(None) == len(column):
        return []
    return [row for row, value in enumerate(column) if value is not None]


def _numbers(found: Sequence[Any], *names: str) -> npt.NDArray[np.float64]:
    """Return an array for each of these attributes, with its values. None becomes NaN."""
    return np.array(list(map(attrgetter(*names), found)), np.float64).reshape(-1, len(names)).T.copy()


def _corners(cuboid: SentCuboid2D) -> list[float]:
    """Return the corners of the front, and those of the back if they are known."""
    front = cuboid.front[: len(cuboid.front) // 2 * 2]
    if cuboid.offset is not None:
        shift = (cuboid.offset.x, cuboid.offset.y)
        return front + [share + shift[at % 2] for at, share in enumerate(front)]
    if cuboid.vanishing_point is not None and cuboid.scale_ratio is not None:
        goal, ratio = (cuboid.vanishing_point.x, cuboid.vanishing_point.y), cuboid.scale_ratio
        return front + [goal[at % 2] + (share - goal[at % 2]) * ratio for at, share in enumerate(front)]
    return front


def _rounded(values: Doubles) -> Doubles:
    return np.where(np.abs(values) < _LARGEST_ROUNDED, np.round(values, _DECIMALS), values)
