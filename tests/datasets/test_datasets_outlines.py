"""Outlines of masks and joined outlines have the area of what they are of, by the even-odd rule."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harvester.datasets.outlines import Points, joined, outlines

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def _inside(ring: Points, points: Points) -> np.ndarray:
    """For each point, whether a ray to the right crosses the ring an odd number of times."""
    x, y = points[:, None, 0], points[:, None, 1]
    x1, y1 = ring[:, 0], ring[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    rise = np.where(y1 == y2, 1, y2 - y1)
    crosses = ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / rise)
    return crosses.sum(axis=1) % 2 == 1


def _centres(shape: tuple[int, int]) -> Points:
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    return np.column_stack((xs.ravel() + 0.5, ys.ravel() + 0.5))


@given(MASKS)
def test_outlines_of_a_mask_are_around_its_pixels_and_no_others(mask: np.ndarray) -> None:
    """Areas, holes, and pixels that touch at a corner; all on whole numbers, level or upright."""
    rings = outlines(mask)
    inside = np.zeros(mask.size, int)
    for ring in rings:
        inside += _inside(ring, _centres(mask.shape))
        steps = np.abs(ring - np.roll(ring, -1, axis=0))
        assert (steps.min(axis=1) == 0).all()
        assert (steps.max(axis=1) > 0).all()
        assert (ring == ring.round()).all()
    assert (inside.reshape(mask.shape) % 2 == mask).all()


@given(MASKS)
def test_joined_outlines_of_a_mask_are_its_pixels(mask: np.ndarray) -> None:
    """One outline says what all said."""
    if rings := outlines(mask):
        assert (_inside(joined(rings), _centres(mask.shape)).reshape(mask.shape) == mask).all()


COORDINATE = st.integers(0, 1000).map(float)
RINGS = st.lists(
    st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9).map(np.array), min_size=1, max_size=5
)


@given(RINGS, st.integers(0, 2**32))
def test_joined_rings_are_what_the_rings_were(rings: list[Points], seed: int) -> None:
    """Wherever one looks, and with every vertex that was there."""
    points = np.random.default_rng(seed).uniform(-10, 1010, (50, 2))
    one = joined(rings)
    odd = sum(_inside(ring, points).astype(int) for ring in rings) % 2 == 1
    assert (_inside(one, points) == odd).all()
    assert {tuple(vertex) for ring in rings for vertex in ring} == {tuple(vertex) for vertex in one}


def test_a_ring_alone_stays_as_it_is() -> None:
    """Nothing is closed, turned or rolled."""
    ring = np.array([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0]])
    assert joined([ring]).tolist() == ring.tolist()


def test_an_outline_of_many_corners_is_joined_in_bounded_memory() -> None:
    """A chequered mask, of which each pixel is an outline of its own."""
    mask = np.indices((60, 60)).sum(axis=0) % 2 == 0
    one = joined(outlines(mask))
    assert (_inside(one, _centres(mask.shape)[:200]) == mask.ravel()[:200]).all()
