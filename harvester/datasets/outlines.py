"""From pixels to outlines, and from several outlines to a single one, as YOLO's segments need it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Vertices: a row each, with x and y."""


def outlines(mask: NDArray[np.bool_]) -> list[Points]:
    """Return the outlines of the pixels that are set in `mask`, of areas and of holes alike.

    They run through the outermost pixels that are set, as those of OpenCV's `findContours` do, and have the
    numbers of these pixels as coordinates. `fillPoly` sets a pixel that lies on an outline, or inside an odd
    number of them: so it sets those of the mask, and no others.

    A corner is a point between pixels where one or three of the four around it are set. Where two are set
    that touch in this point only, it is two corners, one for each pixel. Along a row of corners, a piece of
    outline joins the first to the second, the third to the fourth, and so on; likewise along a column. So
    sorting gives each corner its neighbour in its row and in its column. It stands for the pixel that is set
    there, or, where three are, for the one in their middle.
    """
    padded = np.pad(mask, 1)
    left_above, above = padded[:-1, :-1], padded[:-1, 1:]
    left, here = padded[1:, :-1], padded[1:, 1:]
    touching = (left_above == here) & (above == left) & (left_above != above)
    ys, xs = np.nonzero((left_above ^ above ^ left ^ here) | touching)
    twice = 1 + touching[ys, xs]
    ys, xs = np.repeat(ys, twice), np.repeat(xs, twice)
    numbers = np.arange(len(xs))
    # Of two corners in one point, the first has the pixel on the left, and its neighbour in the row there.
    # In the column, it comes first if that pixel is above.
    is_pair = touching[ys, xs]
    is_first = is_pair & np.append(is_pair[1:] & (ys[1:] == ys[:-1]) & (xs[1:] == xs[:-1]), False)
    rises = is_pair & left[ys, xs]
    by_column = np.lexsort((np.where(rises, -numbers, numbers), ys, xs))
    in_column = np.empty_like(by_column)
    in_column[by_column[::2]], in_column[by_column[1::2]] = by_column[1::2], by_column[::2]
    on_left = np.where(is_pair, is_first, (left_above & left)[ys, xs] | ~(above | here)[ys, xs])
    is_above = np.where(is_pair, is_first ^ rises, (left_above & above)[ys, xs] | ~(left | here)[ys, xs])
    partners = in_column.tolist()
    corners = np.column_stack((xs - on_left, ys - is_above)).astype(np.float64)
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
