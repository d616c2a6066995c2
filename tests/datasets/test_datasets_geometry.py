"""The geometry of every shape in pixels, held to shapely, and to what the SDK says of coordinates."""

import json
from math import cos, hypot, isfinite, pi, radians, sin
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely import Polygon, affinity, box
from shapely.geometry import MultiPolygon

from harvester.datasets import geometry
from harvester.datasets.figures import CURVE_POINTS, Figure, figure, read_geometry
from harvester.datasets.geometry import NoGeometry, Reason
from harvester.datasets.sent_shapes import SentGeometry

WIDTH, HEIGHT = 640, 360
SHARES = st.floats(0, 1)
SIZES = st.floats(0.01, 1)
ANGLES = st.floats(-720, 720)
POINTS = st.lists(st.tuples(SHARES, SHARES), min_size=3, max_size=12)
PIXELS = st.tuples(st.floats(-100, 740), st.floats(-100, 460))


def _figure(
    shape: str, sent: dict[str, Any], width: int | None = WIDTH, height: int | None = HEIGHT
) -> Figure:
    return figure(shape, read_geometry(msgspec.json.encode(sent)), width, height)


def _reason(shape: str, sent: str, width: int | None = WIDTH, height: int | None = HEIGHT) -> Reason:
    with pytest.raises(NoGeometry) as caught:
        figure(shape, read_geometry(sent.encode()), width, height)
    return caught.value.reason


def _pairs(ring: list[float]) -> list[tuple[float, float]]:
    return list(zip(ring[::2], ring[1::2], strict=True))


def _bounds(extent: geometry.Box) -> tuple[float, ...]:
    return extent[0], extent[1], extent[0] + extent[2], extent[1] + extent[3]


def _near(one: object, other: object) -> bool:
    return bool(one == pytest.approx(other, abs=1e-6))


@given(SHARES, SHARES, SIZES, SIZES)
def test_a_box_is_its_shares_of_the_image(x: float, y: float, w: float, h: float) -> None:
    """Its extent and corners are those that shapely computes."""
    found = _figure("bounding_box", {"boundingBox": {"x": x, "y": y, "w": w, "h": h}})
    right = box(x * WIDTH, y * HEIGHT, (x + w) * WIDTH, (y + h) * HEIGHT)
    assert found.form == "box"
    assert _near(_bounds(found.extent), right.bounds)
    assert _near(_bounds(geometry.extent_of_rings(found.parts[0])), right.bounds)
    assert _near(geometry.area_of(found.parts), right.area)


@given(SHARES, SHARES, SIZES, SIZES, ANGLES)
def test_a_rotated_box_turns_clockwise_around_its_centre(
    x: float, y: float, w: float, h: float, theta: float
) -> None:
    """In pixels, after its shares were scaled; y grows downwards, so that a positive angle is clockwise."""
    sent = {"rotatableBoundingBox": {"x": x, "y": y, "w": w, "h": h, "theta": theta}}
    found = _figure("rotatable_bounding_box", sent)
    before = Polygon(
        [((x + dx * w) * WIDTH, (y + dy * h) * HEIGHT) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]
    )
    right = affinity.rotate(before, theta, origin="center")
    assert _near(found.parts[0][0], [number for corner in right.exterior.coords[:-1] for number in corner])
    assert _near(_bounds(found.extent), right.bounds)
    assert found.rotated is not None
    assert _near(_bounds(found.rotated), before.bounds)
    assert found.theta == theta


def test_a_quarter_turn_takes_the_top_left_corner_to_the_top_right() -> None:
    """The square has its centre at 200, 100."""
    sent = {"x": 100 / WIDTH, "y": 0, "w": 200 / WIDTH, "h": 200 / HEIGHT, "theta": 90}
    found = _figure("rotatable_bounding_box", {"rotatableBoundingBox": sent})
    assert _near(found.parts[0][0], [300, 0, 300, 200, 100, 200, 100, 0])


@given(POINTS)
def test_each_form_of_a_polygon_gives_the_same(points: list[tuple[float, float]]) -> None:
    """Numbered vertices in any order, a list, flat rings; area and extent are those of shapely."""
    vertices = [{"x": x, "y": y} for x, y in points]
    numbered = {str(at): vertex for at, vertex in sorted(enumerate(vertices), key=lambda it: str(it[0]))}
    flat = [number for point in points for number in point]
    old = [_figure("polygon", {"polygon": numbered}), _figure("polygon", {"polygon": vertices})]
    new = _figure("polygon", {"polygon": [], "polygons": [[flat]]})
    right = Polygon([(x * WIDTH, y * HEIGHT) for x, y in points])
    assert old == [new, new]
    assert _near(new.parts[0][0], [number for x, y in points for number in (x * WIDTH, y * HEIGHT)])
    assert _near(_bounds(new.extent), right.bounds)
    assert _near(geometry.area_of(new.parts), right.area)


@given(st.lists(st.tuples(SHARES, SHARES, st.floats(0.02, 0.2)), min_size=1, max_size=4))
def test_parts_and_holes_are_kept(squares: list[tuple[float, float, float]]) -> None:
    """Each part is a square with a hole of half its side; the area is the sum."""

    def ring(x: float, y: float, side: float) -> list[float]:
        return [x, y, x + side, y, x + side, y + side, x, y + side]

    parts = [[ring(x, y, side), ring(x + side / 4, y + side / 4, side / 2)] for x, y, side in squares]
    found = _figure("polygon", {"polygons": parts})
    shapes = [
        affinity.scale(Polygon(_pairs(outline), [_pairs(hole)]), WIDTH, HEIGHT, origin=(0, 0))
        for outline, hole in parts
    ]
    assert [len(part) for part in found.parts] == [2] * len(squares)
    assert _near(geometry.area_of(found.parts), sum(shape.area for shape in shapes))
    assert _near(_bounds(found.extent), MultiPolygon(shapes).bounds)


@given(SHARES, SHARES, SIZES, st.floats(0.2, 3), ANGLES)
def test_a_circle_becomes_a_polygon(x: float, y: float, r: float, stretch: float, theta: float) -> None:
    """Each vertex lies on the ellipse that the SDK describes; the extent is that of the curve."""
    sent = {"circle": {"x": x, "y": y, "r": r, "stretch": stretch, "theta": theta}}
    _is_ellipse(_figure("circle", sent), (x, y), (r * WIDTH, r * WIDTH * stretch), theta)


@given(SHARES, SHARES, SIZES, SIZES, ANGLES)
def test_an_ellipse_becomes_a_polygon(x: float, y: float, rx: float, ry: float, theta: float) -> None:
    """Its radii are shares of the width and of the height."""
    sent = {"ellipse": {"x": x, "y": y, "rx": rx, "ry": ry, "theta": theta}}
    _is_ellipse(_figure("ellipse", sent), (x, y), (rx * WIDTH, ry * HEIGHT), theta)


def _is_ellipse(found: Figure, centre: tuple[float, float], radii: tuple[float, float], theta: float) -> None:
    vertices = _pairs(found.parts[0][0])
    back, (x, y) = radians(-theta), (centre[0] * WIDTH, centre[1] * HEIGHT)
    for vertex in vertices:
        dx, dy = vertex[0] - x, vertex[1] - y
        across, down = dx * cos(back) - dy * sin(back), dx * sin(back) + dy * cos(back)
        assert hypot(across / radii[0], down / radii[1]) == pytest.approx(1)
    assert len(vertices) == CURVE_POINTS
    area = pi * radii[0] * radii[1]
    assert geometry.area_of(found.parts) == pytest.approx(area, rel=0.002)
    fine = geometry.curve((x, y), radii, theta, 3600)
    extent = geometry.extent_of_rings([fine])
    assert found.extent == pytest.approx(extent, abs=1e-3 * max(radii))


@given(st.lists(st.tuples(SHARES, SHARES), min_size=4, max_size=4), SHARES, SHARES, st.floats(0.1, 2))
def test_a_cuboid_has_a_front_and_a_back(
    front: list[tuple[float, float]], x: float, y: float, ratio: float
) -> None:
    """By perspective the back is scaled towards the vanishing point, else it is shifted."""
    flat = [number for point in front for number in point]
    scaled = {"front": flat, "vanishingPoint": {"x": x, "y": y}, "scaleRatio": ratio}
    shifted = {"front": flat, "offset": {"x": x, "y": y}}
    for sent, back in (
        (scaled, [(x + (px - x) * ratio, y + (py - y) * ratio) for px, py in front]),
        (shifted, [(px + x, py + y) for px, py in front]),
    ):
        found = _figure("cuboid_2d", {"cuboid_2d": sent})
        rings = [[c for px, py in ring for c in (px * WIDTH, py * HEIGHT)] for ring in (front, back)]
        assert _near(found.parts[0][0], rings[0])
        assert _near(found.parts[1][0], rings[1])
        assert _near(found.extent, geometry.extent_of_rings(rings))


@given(POINTS)
def test_polylines_and_points_are_scaled(points: list[tuple[float, float]]) -> None:
    """In both forms of vertices."""
    vertices = [{"x": x, "y": y} for x, y in points]
    pixels = [number for x, y in points for number in (x * WIDTH, y * HEIGHT)]
    numbered = {str(at): vertex for at, vertex in enumerate(vertices)}
    line = _figure("polyline", {"polyline": numbered})
    assert line == _figure("polyline", {"polyline": vertices})
    assert _near(line.line, pixels)
    assert _near(line.extent, geometry.extent_of_rings([pixels]))
    point = _figure("point", {"point": {"0": vertices[0]}})
    assert _near(point.extent, (*pixels[:2], 0, 0))
    assert _near((point.joints[0].x, point.joints[0].y, point.joints[0].visibility), (*pixels[:2], 2))


@pytest.mark.parametrize(
    ("said", "visibility"),
    [
        ({"visibility": "visible"}, 2),
        ({"visibility": "occluded"}, 1),
        ({"visibility": "selfOccluded"}, 1),
        ({"visibility": "invisible"}, 0),
        ({"visible": True}, 2),
        ({"visible": False}, 1),
        ({"occluded": True}, 1),
        ({"selfOccluded": True}, 1),
        ({"invisible": True}, 0),
        ({"invisible": False, "occluded": False}, 2),
        ({"visibility": "visible", "invisible": True}, 2),
        ({}, 2),
    ],
)
def test_joints_have_the_visibility_of_either_form(said: dict[str, Any], visibility: int) -> None:
    """What is not labelled stands at 0, 0, as COCO asks, and does not count for the extent."""
    joints = {
        "0": {"x": 0.5, "y": 0.25, "name": "Head", "featureHash": "abc"},
        "1": {"x": 0.25, "y": 0.75, "name": "Hand"} | said,
    }
    found = _figure("skeleton", {"skeleton": joints})
    assert [joint.name for joint in found.joints] == ["Head", "Hand"]
    assert found.joints[0].feature_hash == "abc"
    assert found.joints[1].visibility == visibility
    hand = (0.25 * WIDTH, 0.75 * HEIGHT) if visibility else (0, 0)
    assert (found.joints[1].x, found.joints[1].y) == hand
    right = (160, 90, 160, 180) if visibility else (320, 90, 0, 0)
    assert _near(found.extent, right)


@pytest.mark.parametrize(
    ("shape", "sent", "reason"),
    [
        ("polygon", '{"polygon": {"0": {"x": 0, "y": 0}, "1": {"x": 1, "y": 1}}}', "too_few_points"),
        ("polygon", '{"polygons": [[[0, 0, 1, 1]]]}', "too_few_points"),
        ("polygon", '{"polygons": [[[0, 0, 1, 1, 0.5, 0.7, 0.3]]]}', "malformed"),
        ("polygon", '{"polygons": [[]], "polygon": {}}', "no_geometry"),
        ("polygon", '{"polygons": [], "polygon": {}}', "too_few_points"),
        ("polygon", '{"polygons": null, "polygon": null}', "no_geometry"),
        ("polygon", '{"polygon": {"a": {"x": 0, "y": 0}}}', "malformed"),
        ("polygon", '{"polygons": [[[0, 0, 1e300, 1, 0.5, 0.7]]]}', "out_of_range"),
        ("polyline", '{"polyline": [{"x": 0, "y": 0}]}', "too_few_points"),
        ("polyline", '{"polyline": {}}', "no_geometry"),
        ("polyline", '{"polyline": [{"x": 0, "y": 0, "z": 1}, {"x": 0, "y": 0, "z": 1}]}', "no_image"),
        ("point", '{"point": {}}', "no_geometry"),
        ("point", '{"point": {"0": {"x": 3, "y": 4, "z": 5}}}', "no_image"),
        ("skeleton", '{"skeleton": {}}', "no_geometry"),
        ("skeleton", '{"skeleton": {"0": {"x": 0, "y": 0, "visibility": "invisible"}}}', "too_few_points"),
        ("bounding_box", '{"boundingBox": {"x": 0, "y": 0, "w": -0.1, "h": 1}}', "malformed"),
        ("bounding_box", '{"boundingBox": {"x": 1e400, "y": 0, "w": 1, "h": 1}}', "out_of_range"),
        ("bounding_box", '{"boundingBox": {"x": 1e9, "y": 0, "w": 1, "h": 1}}', "out_of_range"),
        ("bounding_box", '{"boundingBox": {"x": NaN, "y": 0, "w": 1, "h": 1}}', "malformed"),
        ("bounding_box", '{"boundingBox": {"x": "1", "y": 0, "w": 1, "h": 1}}', "malformed"),
        ("bounding_box", '{"boundingBox": null}', "no_geometry"),
        ("bounding_box", "[]", "malformed"),
        (
            "rotatable_bounding_box",
            '{"rotatableBoundingBox": {"x": 0, "y": 0, "w": 1, "h": -1}}',
            "malformed",
        ),
        ("circle", '{"circle": {"x": 0, "y": 0, "r": 1, "theta": 1e30}}', "out_of_range"),
        ("ellipse", '{"ellipse": {"x": 0, "y": 0, "rx": 1e30, "ry": 1}}', "out_of_range"),
        ("cuboid_2d", '{"cuboid_2d": {"front": [0, 0, 1, 1, 0, 1]}}', "malformed"),
        ("cuboid_2d", '{"cuboid_2d": {"front": []}}', "no_geometry"),
        ("cuboid", '{"cuboid": {"position": [1, 2, 3]}}', "no_image"),
        ("segmentation", '{"segmentation": "12"}', "no_image"),
        ("hexagon", '{"hexagon": {}}', "unknown_shape"),
    ],
)
def test_what_has_no_geometry_says_why(shape: str, sent: str, reason: str) -> None:
    """In one word, for the counts of a conversion."""
    assert _reason(shape, sent) == reason


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (None, 10, "no_size"),
        (10, None, "no_size"),
        (0, 10, "no_size"),
        (10, 10**9, "out_of_range"),
        (-1, 2, "out_of_range"),
    ],
)
def test_an_image_needs_a_size(width: int | None, height: int | None, reason: str) -> None:
    """A page or a scene has none."""
    assert (
        _reason("bounding_box", '{"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}}', width, height) == reason
    )


def test_rings_without_area_are_left_out_and_counted() -> None:
    """A hole of two vertices is no hole, and a hole of an outline that is none goes with it."""
    square, line = [0, 0, 1, 0, 1, 1, 0, 1], [0.2, 0.2, 0.4, 0.4]
    found = _figure("polygon", {"polygons": [[square, line], [line, square, square]]})
    assert [[len(ring) for ring in part] for part in found.parts] == [[8]]
    assert found.rings_left_out == 4


def test_an_object_of_another_shape_than_its_class_is_read_by_its_keys() -> None:
    """The class may have been changed since."""
    sent = {"boundingBox": {"x": 0, "y": 0, "w": 1, "h": 1}}
    assert _figure("polygon", sent) == _figure("bounding_box", sent)
    assert _figure("hexagon", sent) == _figure("bounding_box", sent)


@given(st.floats(-200, 700), st.floats(-200, 700), st.floats(0.1, 900), st.floats(0.1, 900))
def test_a_box_is_clipped_as_shapely_clips_it(x: float, y: float, w: float, h: float) -> None:
    """None is what lies outside."""
    left = box(x, y, x + w, y + h).intersection(box(0, 0, WIDTH, HEIGHT))
    clipped = geometry.clip_box((x, y, w, h), WIDTH, HEIGHT)
    if clipped is None:
        assert left.area < 1e-6
    else:
        assert _near(_bounds(clipped), left.bounds)
    inside = x >= 0 and y >= 0 and x + w <= WIDTH and y + h <= HEIGHT
    assert geometry.is_on_image((x, y, w, h), WIDTH, HEIGHT) or not inside


@given(st.lists(PIXELS, min_size=3, max_size=8))
def test_a_ring_is_clipped_as_shapely_clips_it(points: list[tuple[float, float]]) -> None:
    """Its area is that of the intersection, and all of it is on the image."""
    shape = Polygon(points)
    assume(shape.is_valid)
    ring = geometry.clip_ring([number for point in points for number in point], WIDTH, HEIGHT)
    assert all(-1e-9 <= x <= WIDTH + 1e-9 and -1e-9 <= y <= HEIGHT + 1e-9 for x, y in _pairs(ring))
    area = shape.intersection(box(0, 0, WIDTH, HEIGHT)).area
    assert (geometry.ring_area(ring) if ring else 0) == pytest.approx(area, abs=1e-4)


_KEYS = ("0", "1", "x", "y", "w", "h", "r", "rx", "ry", "front", "width", "height", "rleString")
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner),
    max_leaves=12,
)
_SENT_KEYS = [field.encode_name for field in msgspec.structs.fields(SentGeometry)]


@given(st.sampled_from(_SENT_KEYS), _ANYTHING)
def test_nothing_but_its_own_error_leaves_it(key: str, value: object) -> None:
    """Whatever stands in the place of a geometry, it becomes finite numbers or a reason."""
    try:
        found = figure(None, read_geometry(json.dumps({key: value}).encode()), WIDTH, HEIGHT)
    except NoGeometry:
        return
    numbers = [
        *found.extent,
        *(number for part in found.parts for ring in part for number in ring),
        *found.line,
    ]
    assert all(isfinite(number) for number in numbers)
