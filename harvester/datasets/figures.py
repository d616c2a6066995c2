"""The geometry of an object as the server sends it, in pixels of its image.

On the wire coordinates are shares of the image's width and height, see docs/wire-format.md. Angles turn
pixels, not shares, around the centre: the SDK says so of ellipses and circles
(`encord.objects.coordinates`), which follow the rotatable bounding box.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from math import cos, hypot, radians, sin
from operator import mul
from typing import Any, Literal, TypeVar

import msgspec

from harvester.datasets.geometry import (
    LONGEST_SIDE,
    Box,
    NoGeometry,
    Part,
    Ring,
    corners,
    curve,
    extent_of,
    extent_of_rings,
)
from harvester.datasets.sent_shapes import (
    SentBitmask,
    SentGeometry,
    SentRotated,
    Vertex,
    Vertices,
    visibility_of,
)

T = TypeVar("T")
V = TypeVar("V")

_NUMBERS = list(map(str, range(1000)))

# Vertices of the polygon that stands for a circle or an ellipse. Its area is 0.2 % below that of the curve.
CURVE_POINTS = 64

# The furthest that a coordinate may lie from the image, in widths or heights of it. Further out it is an
# error in the label, and pycocotools would need memory in proportion to draw it. Chosen.
FURTHEST = 10.0

# Shapes that stand on no image.
ON_NO_IMAGE = frozenset(("cuboid", "segmentation", "audio", "time_range", "text"))


class Joint(msgspec.Struct, frozen=True, gc=False):
    """A point in pixels, and its visibility as COCO counts it: 0 not labelled, 1 not visible, 2 visible."""

    x: float
    y: float
    visibility: int
    name: str | None
    feature_hash: str | None


Form = Literal[
    "box", "rotated_box", "polygon", "curve", "cuboid_2d", "polyline", "point", "skeleton", "bitmask"
]


class Figure(msgspec.Struct, frozen=True, gc=False):
    """An object's geometry in pixels.

    `extent` is its bounding box. `parts` are its areas: the corners of a box, the polygons, the front and the
    back of a cuboid. `line` are the vertices of a polyline, `joints` the points of a skeleton, or the point
    itself. `bitmask` is the mask as sent: see `rle.read_bitmask`, which computes its extent.
    `rotated` is a rotated box before its rotation, in pixels, and `theta` its angle in degrees.
    `rings_left_out` counts rings of fewer than three vertices.
    """

    form: Form
    extent: Box
    parts: Sequence[Part] = ()
    line: Sequence[float] = ()
    joints: Sequence[Joint] = ()
    bitmask: SentBitmask | None = None
    rotated: Box | None = None
    theta: float | None = None
    rings_left_out: int = 0


def figure(shape: str | None, sent: SentGeometry, width: int | None, height: int | None) -> Figure:
    """Return the geometry of an object of `shape` on an image of `width` and `height` pixels.

    Where the object has no geometry of its shape, it is taken by the key that it has.

    Raises NoGeometry if there is none, or none that can be used.
    """
    if not width or not height:
        raise NoGeometry("no_size")
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
        raise NoGeometry("out_of_range")
    read = _READERS.get(shape or "")
    if read is not None and (found := read(sent, width, height)) is not None:
        return found
    for read in _READERS.values():
        if (found := read(sent, width, height)) is not None:
            return found
    if shape in _READERS:
        raise NoGeometry("no_geometry")
    raise NoGeometry("no_image" if shape in ON_NO_IMAGE else "unknown_shape")


def _check(*shares: float) -> None:
    """Raise NoGeometry unless all numbers are finite and near the image."""
    for share in shares:
        if not -FURTHEST <= share <= FURTHEST + 1:  # false for NaN, too
            raise NoGeometry("out_of_range")


def _box(sent: SentGeometry, width: int, height: int) -> Figure | None:
    if (box := sent.bounding_box) is None:
        return None
    x, y, across, down = box.x, box.y, box.w, box.h
    # FURTHEST, written out: boxes are what most data sets consist of.
    if not (-10 <= x <= 11 and -10 <= y <= 11 and 0 <= across <= 11 and 0 <= down <= 11):
        _check_size(across, down)
        _check(x, y, across, down)
    x, y, across, down = x * width, y * height, across * width, down * height
    right, bottom = x + across, y + down
    return Figure("box", (x, y, across, down), [[[x, y, right, y, right, bottom, x, bottom]]])


def _check_size(*sizes: float) -> None:
    if any(size < 0 for size in sizes):
        raise NoGeometry("malformed")


def _rotated_box(sent: SentGeometry, width: int, height: int) -> Figure | None:
    if (box := sent.rotatable_bounding_box) is None:
        return None
    rotated, theta = unrotated(box, width, height), _angle(box.theta)
    ring = corners(rotated, theta)
    return Figure("rotated_box", extent_of(ring[::2], ring[1::2]), [[ring]], rotated=rotated, theta=theta)


def unrotated(box: SentRotated, width: int, height: int) -> Box:
    """Return a rotated box before its rotation, in pixels. Raises NoGeometry."""
    _check_size(box.w, box.h)
    _check(box.x, box.y, box.w, box.h)
    return box.x * width, box.y * height, box.w * width, box.h * height


def _angle(theta: float | None) -> float:
    if theta is not None and not -1e6 <= theta <= 1e6:
        raise NoGeometry("out_of_range")
    return theta or 0.0


def _polygon(sent: SentGeometry, width: int, height: int) -> Figure | None:
    """`polygons` counts where both forms are there."""
    if sent.polygons:
        rings_of_parts = sent.polygons
    elif (vertices := vertices_in_order(decoded(_decode_vertices, sent.polygon))) is not None:
        rings_of_parts = [[[number for vertex in vertices for number in (vertex.x, vertex.y)]]]
    else:
        return None
    parts: list[Part] = []
    extents: list[Box] = []
    left_out = found = 0
    for rings in rings_of_parts:
        part = []
        for place, ring in enumerate(rings):
            found += 1
            if len(ring) >= 6:
                scaled, extent = ring_in_pixels(ring, width, height)
                part.append(scaled)
                if place == 0:
                    extents.append(extent)
                continue
            left_out += 1
            if place == 0:  # holes of no outline are holes of nothing
                left_out += len(rings) - 1
                break
        if part:
            parts.append(part)
    if not parts:
        raise NoGeometry("too_few_points" if found else "no_geometry")
    extent = extents[0] if len(parts) == 1 else extent_of_rings([part[0] for part in parts])
    return Figure("polygon", extent, parts, rings_left_out=left_out)


def ring_in_pixels(ring: list[float], width: int, height: int) -> tuple[Ring, Box]:
    """Return a ring of finite numbers in pixels, and its extent. Raises NoGeometry."""
    if len(ring) % 2:
        raise NoGeometry("malformed")
    scaled = list(map(mul, ring, cycle((width, height))))
    xs, ys = scaled[::2], scaled[1::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    if not (
        left >= -FURTHEST * width
        and top >= -FURTHEST * height
        and right <= (FURTHEST + 1) * width
        and bottom <= (FURTHEST + 1) * height
    ):
        raise NoGeometry("out_of_range")
    return scaled, (left, top, right - left, bottom - top)


def _scaled(ring: Sequence[float], width: int, height: int) -> Ring:
    """Return a ring in pixels. Raises NoGeometry."""
    if len(ring) % 2:
        raise NoGeometry("malformed")
    if not (min(ring) >= -FURTHEST and max(ring) <= FURTHEST + 1):
        raise NoGeometry("out_of_range")
    return list(map(mul, ring, cycle((width, height))))


def vertices_in_order(sent: Mapping[str, V] | Sequence[V] | None) -> Sequence[V] | None:
    """Return vertices in their order, which is that of their numbers as numbers. Raises NoGeometry."""
    if isinstance(sent, Mapping):
        keys = list(sent)
        if keys == _NUMBERS[: len(keys)]:  # as they come
            return list(sent.values())
        try:
            return [sent[key] for key in sorted(keys, key=int)]
        except ValueError:
            raise NoGeometry("malformed") from None
    return sent


def _flat(vertices: Sequence[Vertex], width: int, height: int) -> Ring:
    if any(vertex.z is not None for vertex in vertices):
        raise NoGeometry("no_image")  # in the coordinates of a scene
    return _scaled([number for vertex in vertices for number in (vertex.x, vertex.y)], width, height)


def _polyline(sent: SentGeometry, width: int, height: int) -> Figure | None:
    if (vertices := vertices_in_order(sent.polyline)) is None:
        return None
    if len(vertices) < 2:
        raise NoGeometry("too_few_points" if vertices else "no_geometry")
    line = _flat(vertices, width, height)
    return Figure("polyline", extent_of(line[::2], line[1::2]), line=line)


def _point(sent: SentGeometry, width: int, height: int) -> Figure | None:
    if (vertices := vertices_in_order(sent.point)) is None:
        return None
    if not vertices:
        raise NoGeometry("no_geometry")
    x, y = _flat(vertices[:1], width, height)
    return Figure("point", (x, y, 0.0, 0.0), joints=[Joint(x, y, 2, None, None)])


def _skeleton(sent: SentGeometry, width: int, height: int) -> Figure | None:
    """The extent is that of the joints that are on the image."""
    if (vertices := vertices_in_order(sent.skeleton)) is None:
        return None
    joints = []
    for vertex in vertices:
        visibility = _visibility(vertex)
        if visibility:
            _check(vertex.x, vertex.y)
            joints.append(
                Joint(vertex.x * width, vertex.y * height, visibility, vertex.name, vertex.feature_hash)
            )
        else:
            joints.append(Joint(0.0, 0.0, 0, vertex.name, vertex.feature_hash))
    shown = [joint for joint in joints if joint.visibility]
    if not shown:
        raise NoGeometry("too_few_points" if joints else "no_geometry")
    extent = extent_of([joint.x for joint in shown], [joint.y for joint in shown])
    return Figure("skeleton", extent, joints=joints)


def _visibility(vertex: Vertex) -> int:
    """Return COCO's visibility: 0 is not in the picture, 1 hidden, 2 visible."""
    said = visibility_of(vertex)
    if said == "invisible":
        return 0
    is_hidden = said in ("occluded", "selfOccluded", "self_occluded")
    return 1 if is_hidden or (said is None and vertex.visible is False) else 2


def _bitmask(sent: SentGeometry, width: int, height: int) -> Figure | None:
    """The extent is that of the mask's frame; that of its pixels is known once they are read."""
    if (mask := sent.bitmask) is None:
        return None
    return Figure("bitmask", (mask.left, mask.top, mask.width, mask.height), bitmask=mask)


def _cuboid_2d(sent: SentGeometry, width: int, height: int) -> Figure | None:
    if (cuboid := sent.cuboid_2d) is None:
        return None
    shares = cuboid.front
    if len(shares) < 6:
        raise NoGeometry("too_few_points" if shares else "no_geometry")
    if cuboid.vanishing_point is not None and cuboid.scale_ratio is not None:
        point, ratio = cuboid.vanishing_point, cuboid.scale_ratio
        goals = (point.x, point.y)
        behind = [goals[at % 2] + (share - goals[at % 2]) * ratio for at, share in enumerate(shares)]
    elif cuboid.offset is not None:
        offset = (cuboid.offset.x, cuboid.offset.y)
        behind = [share + offset[at % 2] for at, share in enumerate(shares)]
    else:
        raise NoGeometry("malformed")
    front, back = _scaled(shares, width, height), _scaled(behind, width, height)
    return Figure("cuboid_2d", extent_of_rings([front, back]), [[front], [back]])


def _circle(sent: SentGeometry, width: int, height: int) -> Figure | None:
    """The radius is a share of the width; `stretch` times it is the other radius."""
    if (circle := sent.circle) is None:
        return None
    stretch = 1.0 if circle.stretch is None else circle.stretch
    _check_size(circle.r, stretch)
    _check(circle.x, circle.y, circle.r, stretch)
    radius = circle.r * width
    return _curve((circle.x * width, circle.y * height), (radius, radius * stretch), _angle(circle.theta))


def _ellipse(sent: SentGeometry, width: int, height: int) -> Figure | None:
    if (ellipse := sent.ellipse) is None:
        return None
    _check_size(ellipse.rx, ellipse.ry)
    _check(ellipse.x, ellipse.y, ellipse.rx, ellipse.ry)
    centre, radii = (ellipse.x * width, ellipse.y * height), (ellipse.rx * width, ellipse.ry * height)
    return _curve(centre, radii, _angle(ellipse.theta))


def _curve(centre: tuple[float, float], radii: tuple[float, float], theta: float) -> Figure:
    """The extent is that of the curve itself, not of the polygon in it."""
    across, down = cos(radians(theta)), sin(radians(theta))
    half_x, half_y = hypot(radii[0] * across, radii[1] * down), hypot(radii[0] * down, radii[1] * across)
    extent = (centre[0] - half_x, centre[1] - half_y, 2 * half_x, 2 * half_y)
    return Figure("curve", extent, [[curve(centre, radii, theta, CURVE_POINTS)]])


_Reader = Callable[[SentGeometry, int, int], Figure | None]

_READERS: dict[str, _Reader] = {
    "bounding_box": _box,
    "rotatable_bounding_box": _rotated_box,
    "polygon": _polygon,
    "bitmask": _bitmask,
    "skeleton": _skeleton,
    "polyline": _polyline,
    "point": _point,
    "cuboid_2d": _cuboid_2d,
    "circle": _circle,
    "ellipse": _ellipse,
}


def read_geometry(sent: bytes | msgspec.Raw) -> SentGeometry:
    """Decode the geometry of an object as sent. Raises NoGeometry if it has a form that none has."""
    return decoded(_decode, sent)


def decoded(decode: Callable[[Any], T], sent: bytes | msgspec.Raw) -> T:
    """Decode an object as sent. Raises NoGeometry instead of what `decode` raises."""
    try:
        return decode(sent)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoGeometry("out_of_range" if "out of range" in str(error) else "malformed") from None


_decode_vertices: Callable[[Any], Vertices] = msgspec.json.Decoder(Vertices).decode
_decode: Callable[[Any], SentGeometry] = msgspec.json.Decoder(SentGeometry).decode
