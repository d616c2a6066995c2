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


def _pixels(shape: tuple[int, ...]) -> Points:
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    return np.column_stack((xs.ravel(), ys.ravel())).astype(float)


def _on_outlines(rings: list[Points], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels that lie on an outline, whose pieces are level or upright."""
    found = np.zeros(shape, bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring.astype(int), np.roll(ring.astype(int), -1, axis=0), strict=True):
            assert x1 == x2 or y1 == y2
            found[min(y1, y2) : max(y1, y2) + 1, min(x1, x2) : max(x1, x2) + 1] = True
    return found


@given(MASKS)
def test_outlines_of_a_mask_hold_its_pixels_and_no_others(mask: np.ndarray) -> None:
    """Areas, holes, lines of one pixel, and pixels that touch at a corner: on an outline, or inside."""
    rings = outlines(mask)
    inside = sum((_inside(ring, _pixels(mask.shape)).astype(int) for ring in rings), np.zeros(mask.size, int))
    on_one = _on_outlines(rings, mask.shape)
    assert not (on_one & ~mask).any()
    assert ((inside.reshape(mask.shape) % 2 == 1) | on_one).tolist() == mask.tolist()


@given(MASKS)
def test_joined_outlines_of_a_mask_are_its_pixels(mask: np.ndarray) -> None:
    """One outline says of all pixels that are on none what all said."""
    if rings := outlines(mask):
        found = _inside(joined(rings), _pixels(mask.shape)).reshape(mask.shape)
        assert ((found == mask) | _on_outlines(rings, mask.shape)).all()


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
    assert {(x, y) for x, y in one.tolist()} == {(x, y) for y, x in np.argwhere(mask).tolist()}
