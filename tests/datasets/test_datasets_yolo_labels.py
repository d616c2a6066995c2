"""Lines of YOLO labels: what each shape becomes for each task, and that no coordinate leaves the image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import supervision
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_masks
from shapely import Polygon, box

from harvester.datasets import yolo_labels
from harvester.datasets.figures import Figure, figure
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.ontology_classes import SkeletonJoint, SkeletonTemplate
from harvester.datasets.rle import draw_parts, read_coco
from harvester.datasets.sent_shapes import (
    SentBitmask,
    SentBox,
    SentCircle,
    SentCuboid2D,
    SentEllipse,
    SentGeometry,
    SentRotated,
    Vertex,
)
from harvester.datasets.yolo_labels import NoLabel, YoloShape, detect, line, obb, segment

WIDTH, HEIGHT = 200, 100


def _figure(shape: str, **sent: Any) -> Figure:
    return figure(shape, SentGeometry(**sent), WIDTH, HEIGHT)


def _box(x: float, y: float, w: float, h: float) -> Figure:
    return _figure("bounding_box", bounding_box=SentBox(x, y, w, h))


def _pose(shape: Figure, template: SkeletonTemplate | None = None, joints: int = 3) -> YoloShape:
    return yolo_labels.pose(shape, WIDTH, HEIGHT, template=template, joints=joints)


def _mask(pixels: np.ndarray, left: int = 0, top: int = 0) -> Figure:
    counts = coco_masks.encode(np.asfortranarray(pixels.T.astype(np.uint8)))["counts"].decode()
    sent = SentBitmask(pixels.shape[1], pixels.shape[0], counts, top=top, left=left)
    return _figure("bitmask", bitmask=sent)


def test_a_line_has_the_class_and_shares_of_six_digits() -> None:
    """Without zeros that say nothing."""
    assert line(3, YoloShape([0.5, 1.0, 0.0, 1 / 3], False)) == "3 0.5 1 0 0.333333"


def test_detect_has_centre_and_size_of_the_extent() -> None:
    """Of boxes, and of whatever has an extent."""
    assert detect(_box(0.1, 0.2, 0.4, 0.2), WIDTH, HEIGHT).shares == pytest.approx([0.3, 0.3, 0.4, 0.2])
    triangle = _figure("polygon", polygons=[[[0.1, 0.1, 0.5, 0.1, 0.1, 0.7]]])
    assert detect(triangle, WIDTH, HEIGHT).shares == pytest.approx([0.3, 0.4, 0.4, 0.6])
    pixels = np.zeros((10, 20), bool)
    pixels[2:4, 5:10] = True
    assert detect(_mask(pixels, 10, 20), WIDTH, HEIGHT).shares == pytest.approx([0.0875, 0.23, 0.025, 0.02])


def test_segment_has_the_vertices_of_the_outline() -> None:
    """As they were drawn; of boxes where they are asked for."""
    shape = segment(_figure("polygon", polygons=[[[0.1, 0.1, 0.5, 0.1, 0.1, 0.7]]]), WIDTH, HEIGHT)
    assert shape.shares == pytest.approx([0.1, 0.1, 0.5, 0.1, 0.1, 0.7])
    assert (shape.clipped, shape.joined) == (False, 1)
    with pytest.raises(NoLabel, match="other_shape"):
        segment(_box(0.1, 0.2, 0.4, 0.2), WIDTH, HEIGHT)
    drawn = segment(_box(0.1, 0.2, 0.4, 0.2), WIDTH, HEIGHT, boxes=True)
    assert drawn.shares == pytest.approx([0.1, 0.2, 0.5, 0.2, 0.5, 0.4, 0.1, 0.4])


def _filled(shape: YoloShape, width: int, height: int) -> np.ndarray:
    """The pixels that trainers make of the line, by the fill of OpenCV."""
    read = np.array(line(0, shape).split()[1:], np.float32).reshape(-1, 2) * (width, height)
    return supervision.polygon_to_mask(read, (width, height)).astype(bool)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_mask_becomes_the_outline_of_its_pixels() -> None:
    """Also in the middle of an image, rounded down or to the nearest pixel."""
    shape = segment(_mask(np.ones((10, 20), bool), 20, 30), WIDTH, HEIGHT)
    corners = {tuple(pair) for pair in (np.array(shape.shares).reshape(-1, 2) * (WIDTH, HEIGHT)).tolist()}
    assert corners == {(20.25, 30.25), (39.25, 30.25), (39.25, 39.25), (20.25, 39.25)}
    ring = np.ones((10, 20), bool)
    ring[4:6, 8:12] = False
    assert segment(_mask(ring), WIDTH, HEIGHT).joined == 2


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_a_mask_is_filled_as_it_was(seed: int) -> None:
    """Its holes, too. Between parts that touch nowhere there is a line of one pixel."""
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.random((6, 9)) < 0.8, np.ones((12, 12), bool))
    pixels[:, 50:54] = True
    assert (
        _overlap(
            _filled(segment(_mask(pixels, 7, 3), WIDTH, HEIGHT), WIDTH, HEIGHT),
            np.pad(pixels, ((3, HEIGHT - 75), (7, WIDTH - 115))),
        )
        > 0.99
    )


def _blob(rng: np.random.Generator, x: float, y: float, radius: float) -> list[float]:
    """A ring around a point, in shares."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 20))))
    radii = radius * rng.uniform(0.7, 1, len(angles))
    ring = np.column_stack((x + radii * np.cos(angles), y + radii * np.sin(angles)))
    return (ring / (1000, 800)).ravel().tolist()  # type: ignore[no-any-return]


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_holes_and_parts_are_filled_as_they_are(seed: int) -> None:
    """Parts that overlap, holes that overlap or reach beyond their part, and what is cut by the image."""
    rng = np.random.default_rng(seed)
    outer = _blob(rng, rng.uniform(0, 1000), 400, 300)
    holes = [_blob(rng, rng.uniform(0, 1000), rng.uniform(200, 600), 80) for _ in range(3)]
    other = _blob(rng, outer[0] * 1000, outer[1] * 800, 150)  # around a vertex of the first part
    for parts in ([[outer, *holes]], [[outer], [other]], [[outer, *holes], [other]]):
        shape = figure("polygon", SentGeometry(polygons=parts), 1000, 800)
        truth = read_coco(draw_parts(shape.parts, 1000, 800)).pixels().astype(bool)
        if truth.sum() > 20_000:
            assert _overlap(_filled(segment(shape, 1000, 800), 1000, 800), truth) > 0.99


def test_parts_and_holes_are_joined_and_counted() -> None:
    """The area is that of the outline less the hole, plus the other part, and a line between them."""
    square = [0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5]
    hole = [0.2, 0.2, 0.4, 0.2, 0.4, 0.4, 0.2, 0.4]
    other = [0.7, 0.7, 0.9, 0.7, 0.9, 0.9, 0.7, 0.9]
    shape = segment(_figure("polygon", polygons=[[square, hole], [other]]), WIDTH, HEIGHT)
    assert shape.joined == 3
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:50, 20:100] = expected[70:90, 140:180] = True
    expected[20:40, 40:80] = False
    found = _filled(shape, WIDTH, HEIGHT)
    assert (found >= expected).all()
    line_between = found & ~expected
    assert 0 < line_between.sum() <= 50
    assert not line_between[:50, :100].any()


def test_obb_has_four_corners_that_are_turned_in_pixels() -> None:
    """Not in shares, which would shear the box on an image that is wider than high."""
    assert obb(_box(0.1, 0.2, 0.4, 0.2), WIDTH, HEIGHT).shares == pytest.approx(
        [0.1, 0.2, 0.5, 0.2, 0.5, 0.4, 0.1, 0.4]
    )
    upright = _figure("rotatable_bounding_box", rotatable_bounding_box=SentRotated(0.4, 0.4, 0.2, 0.2, 90))
    corners = np.array(obb(upright, WIDTH, HEIGHT).shares).reshape(4, 2)
    assert corners.tolist() == [
        pytest.approx(pair) for pair in [(0.55, 0.3), (0.55, 0.7), (0.45, 0.7), (0.45, 0.3)]
    ]
    with pytest.raises(NoLabel, match="other_shape"):
        obb(_figure("polygon", polygons=[[[0.1, 0.1, 0.5, 0.1, 0.1, 0.7]]]), WIDTH, HEIGHT)


@given(st.integers(0, 2**32))
@settings(max_examples=50)
def test_a_rotated_box_beyond_the_image_becomes_the_box_of_the_piece_on_it(seed: int) -> None:
    """Not one whose corners were each moved to the edge, which may be a line."""
    rng = np.random.default_rng(seed)
    x, y, w, h = rng.uniform(-0.5, 0.9), rng.uniform(-0.5, 0.9), *rng.uniform(0.05, 1, 2)
    shape = _figure(
        "rotatable_bounding_box", rotatable_bounding_box=SentRotated(x, y, w, h, rng.uniform(0, 360))
    )
    seen = Polygon(np.reshape(shape.parts[0][0], (4, 2))) & box(0, 0, WIDTH, HEIGHT)
    if seen.area > 50:
        found = Polygon(np.reshape(obb(shape, WIDTH, HEIGHT).shares, (4, 2)) * (WIDTH, HEIGHT))
        assert (found & seen).area / (found | seen).area > 0.4


@pytest.mark.parametrize("size", [(0.0, 0.4), (0.4, 0.0), (1e-9, 0.4), (0.0, 0.0)])
def test_what_would_be_written_as_a_line_has_no_area(size: tuple[float, float]) -> None:
    """Boxes, turned or not, and curves of less than a millionth of the image."""
    for shape, task in (
        (_figure("rotatable_bounding_box", rotatable_bounding_box=SentRotated(0.4, 0.4, *size, 45)), obb),
        (_box(0.4, 0.4, *size), obb),
        (_box(0.4, 0.4, *size), detect),
        (_figure("ellipse", ellipse=SentEllipse(0.4, 0.4, *size)), segment),
    ):
        with pytest.raises(NoLabel, match="no_area"):
            task(shape, WIDTH, HEIGHT)


def _joint(x: float, y: float, **known: Any) -> Vertex:
    return Vertex(x, y, **known)


def test_pose_has_the_extent_and_each_joint_in_the_order_of_the_template() -> None:
    """Those that are missing or not labelled are 0 0 0; hidden ones have visibility 1."""
    template = SkeletonTemplate(
        [SkeletonJoint("head", "h"), SkeletonJoint("hand", "a"), SkeletonJoint("foot", "f")], []
    )
    found = [
        _joint(0.2, 0.8, name="foot", feature_hash="f", visibility="occluded"),
        _joint(0.6, 0.4, name="head", feature_hash="h", visibility="visible"),
    ]
    expected = [0.4, 0.6, 0.4, 0.4, 0.6, 0.4, 2, 0, 0, 0, 0.2, 0.8, 1]
    assert _pose(_figure("skeleton", skeleton=found), template).shares == pytest.approx(expected)
    named = [_joint(one.x, one.y, name=one.name, visibility=one.visibility) for one in found]
    assert _pose(_figure("skeleton", skeleton=named), template).shares == pytest.approx(expected)
    odd = [*found, _joint(0.3, 0.5, name="tail", feature_hash="t")]
    with_odd = _pose(_figure("skeleton", skeleton=odd), template)
    assert with_odd.shares == pytest.approx(expected)
    assert (with_odd.joints_left_out, _pose(_figure("skeleton", skeleton=found)).joints_left_out) == (1, 0)
    unnamed = [_joint(0.2, 0.8), _joint(0.6, 0.4)]
    in_order = [0.4, 0.6, 0.4, 0.4, 0.2, 0.8, 2, 0.6, 0.4, 2, 0, 0, 0]
    for ordered in (template, None):
        assert _pose(_figure("skeleton", skeleton=unnamed), ordered).shares == pytest.approx(in_order)
    hidden = [_joint(0.2, 0.8, invisible=True), _joint(0.6, 0.4), _joint(0.5, 0.5)]
    assert _pose(_figure("skeleton", skeleton=hidden)).shares[4:7] == [0, 0, 0]


def test_what_a_task_has_no_label_for_is_named() -> None:
    """A word for each reason."""
    point, line_ = (
        _figure("point", point=[Vertex(0.5, 0.5)]),
        _figure("polyline", polyline=[Vertex(0, 0.5), Vertex(1, 0.5)]),
    )
    outside = _box(1.5, 1.5, 0.1, 0.1)
    four = _figure("skeleton", skeleton=[_joint(0.1 * at, 0.2 * at) for at in range(1, 5)])
    for task, shape, reason in [
        (detect, point, "no_area"),
        (detect, line_, "no_area"),
        (detect, outside, "no_area"),
        (obb, outside, "no_area"),
        (segment, _mask(np.zeros((3, 3), bool)), "no_area"),
        (detect, _mask(np.zeros((3, 3), bool)), "no_area"),
        (segment, line_, "other_shape"),
    ]:
        with pytest.raises(NoLabel) as found:
            task(shape, WIDTH, HEIGHT)
        assert found.value.reason == reason
    for shape, reason in [(point, "other_shape"), (four, "too_many_joints")]:
        with pytest.raises(NoLabel, match=reason):
            _pose(shape)
    with pytest.raises(NoGeometry, match="bad_mask"):
        segment(_figure("bitmask", bitmask=SentBitmask(3, 3, "~")), WIDTH, HEIGHT)


WIDE = st.floats(-3, 4)
SIZE = st.floats(0, 4)
RING = st.lists(st.tuples(WIDE, WIDE), min_size=3, max_size=6).map(
    lambda at: [n for pair in at for n in pair]
)
SHAPES = st.one_of(
    st.builds(lambda *box: ("bounding_box", {"bounding_box": SentBox(*box)}), WIDE, WIDE, SIZE, SIZE),
    st.builds(
        lambda *box: ("rotatable_bounding_box", {"rotatable_bounding_box": SentRotated(*box)}),
        WIDE, WIDE, SIZE, SIZE, st.floats(-720, 720),
    ),
    st.lists(st.lists(RING, min_size=1, max_size=3), min_size=1, max_size=2).map(
        lambda parts: ("polygon", {"polygons": parts})
    ),
    st.builds(lambda *circle: ("circle", {"circle": SentCircle(*circle)}), WIDE, WIDE, SIZE),
    st.builds(lambda *ellipse: ("ellipse", {"ellipse": SentEllipse(*ellipse)}), WIDE, WIDE, SIZE, SIZE),
    st.tuples(
        st.sampled_from(["skeleton", "polyline"]),
        st.lists(st.builds(Vertex, WIDE, WIDE), min_size=2, max_size=5),
    ).map(lambda found: (found[0], {found[0]: found[1]})),
    RING.map(lambda front: ("cuboid_2d", {"cuboid_2d": SentCuboid2D(front, offset=Vertex(0.1, 0.1))})),
)  # fmt: skip
TASKS: list[Callable[[Figure, int, int], YoloShape]] = [
    detect,
    segment,
    lambda *given: segment(*given, boxes=True),
    obb,
    lambda *given: yolo_labels.pose(*given, template=None, joints=5),
]


@given(SHAPES, st.sampled_from(TASKS), st.integers(1, 5000), st.integers(1, 5000))
def test_every_coordinate_is_on_the_image_or_the_object_counts_as_clipped(
    sent: tuple[str, dict[str, Any]], task: Callable[[Figure, int, int], YoloShape], width: int, height: int
) -> None:
    """What is written is within 0 and 1. What was not on the image is known to be clipped."""
    shape = figure(sent[0], SentGeometry(**sent[1]), width, height)
    try:
        label = task(shape, width, height)
    except NoLabel:
        return
    numbers = [float(word) for word in line(0, label).split()[1:]]
    if len(numbers) == 19:  # a pose of 5 joints
        assert set(numbers[6::3]) <= {0, 1, 2}
        del numbers[6::3]
    assert all(0 <= number <= 1 for number in numbers)
    x, y, across, down = shape.extent
    if x < -0.01 or y < -0.01 or x + across > width + 0.01 or y + down > height + 0.01:
        assert label.clipped
    elif x >= 0 and y >= 0 and x + across <= width and y + down <= height:
        assert not label.clipped
