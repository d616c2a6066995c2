"""Lines of YOLO labels: what each shape becomes for each task, and that no coordinate leaves the image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from harvester.datasets import yolo_labels
from harvester.datasets.figures import Figure, figure
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.ontology_classes import SkeletonJoint, SkeletonTemplate
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


def test_a_mask_becomes_the_outline_of_its_pixels() -> None:
    """Also in the middle of an image."""
    shape = segment(_mask(np.ones((10, 20), bool), 20, 30), WIDTH, HEIGHT)
    corners = {tuple(pair) for pair in np.array(shape.shares).reshape(-1, 2).round(6).tolist()}
    assert corners == {(0.1, 0.3), (0.2, 0.3), (0.2, 0.4), (0.1, 0.4)}
    ring = np.ones((10, 20), bool)
    ring[4:6, 8:12] = False
    assert segment(_mask(ring), WIDTH, HEIGHT).joined == 2


def test_parts_and_holes_are_joined_and_counted() -> None:
    """The area is that of the outline less the hole, plus the other part."""
    square = [0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5]
    hole = [0.2, 0.2, 0.4, 0.2, 0.4, 0.4, 0.2, 0.4]
    other = [0.7, 0.7, 0.9, 0.7, 0.9, 0.9, 0.7, 0.9]
    shape = segment(_figure("polygon", polygons=[[square, hole], [other]]), WIDTH, HEIGHT)
    assert shape.joined == 3
    points = np.random.default_rng(1).uniform(0, 1, (300, 2))
    expected = ((np.abs(points - 0.3) < 0.2).all(axis=1) & ~(np.abs(points - 0.3) < 0.1).all(axis=1)) | (
        np.abs(points - 0.8) < 0.1
    ).all(axis=1)
    assert (_inside(np.array(shape.shares).reshape(-1, 2), points) == expected).all()


def _inside(ring: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = points[:, None, 0], points[:, None, 1]
    x1, y1 = ring[:, 0], ring[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    rise = np.where(y1 == y2, 1, y2 - y1)
    return (((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / rise)).sum(axis=1) % 2 == 1


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
