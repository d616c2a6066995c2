"""From pixels to outlines, and from several outlines to a single one, as YOLO's segments need it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Vertices: a row each, with x and y."""


def outlines(mask: NDArray[np.bool_]) -> list[Points]:
    """Return the outlines of the pixels that are set in `mask`, of areas and of holes alike.

    They run along the edges of pixels, so their coordinates are whole numbers. A pixel is set if its centre
    is inside an odd number of outlines.

    A corner of an outline is a point where one or three of the four pixels around it are set. Where two are
    set that touch in this point only, it is two corners. Along a row of corners, a piece of outline joins the
    first to the second, the third to the fourth, and so on; likewise along a column. So sorting gives each
    corner its neighbour in its row and in its column.
    """
    padded = np.pad(mask, 1)
    left_above, above = padded[:-1, :-1], padded[:-1, 1:]
    left, here = padded[1:, :-1], padded[1:, 1:]
    touching = (left_above == here) & (above == left) & (left_above != above)
    ys, xs = np.nonzero((left_above ^ above ^ left ^ here) | touching)
    twice = 1 + touching[ys, xs]
    ys, xs = np.repeat(ys, twice), np.repeat(xs, twice)
    by_column = np.lexsort((np.arange(len(xs)), ys, xs))
    in_column = np.empty_like(by_column)
    in_column[by_column[::2]], in_column[by_column[1::2]] = by_column[1::2], by_column[::2]
    partners, corners = in_column.tolist(), np.column_stack((xs, ys)).astype(np.float64)
    seen = bytearray(len(partners))
    found = []
    for start in range(len(partners)):
        ring, at = [], start
        while not seen[at]:
            in_row = at ^ 1  # corners are sorted by row: 0 and 1 are partners, 2 and 3, ...
            seen[at] = seen[in_row] = 1
            ring += [at, in_row]
            at = partners[in_row]
        if ring:
            found.append(corners[ring])
    return found


def joined(rings: Sequence[Points]) -> Points:
    """Return a single outline of all `rings`, which goes from each to the next and back by the same line.

    Such a line has no area: filled by the even-odd rule, as trainers do, the outline has the parts and the
    holes that the rings have.
    """
    path = rings[0]
    for ring in rings[1:]:
        leave, enter = _nearest(path, ring)
        there_and_back = np.roll(ring, -enter, axis=0)
        path = np.concatenate([path[: leave + 1], there_and_back, there_and_back[:1], path[leave:]])
    return path


_MOST_DISTANCES = 4_000_000  # that are computed at once, of 8 bytes each


def _nearest(path: Points, ring: Points) -> tuple[int, int]:
    """Return the positions of the vertices of `path` and `ring` that are nearest to each other."""
    if len(path) * len(ring) > _MOST_DISTANCES:
        ring = ring[: max(1, _MOST_DISTANCES // len(path))]
    across = path[:, None, 0] - ring[None, :, 0]
    down = path[:, None, 1] - ring[None, :, 1]
    leave, enter = divmod(int(np.argmin(across * across + down * down)), len(ring))
    return leave, enter
