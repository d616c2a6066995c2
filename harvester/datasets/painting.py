"""Paints objects into an image of ids, and encodes it as PNG."""

import io

import numpy as np
from numpy.typing import NDArray

from harvester.datasets.figures import Figure
from harvester.datasets.rle import Spans, draw_parts, read_bitmask, read_coco
from harvester.datasets.yolo_labels import AREAS, BOXES

MOST_IDS = 2**16 - 1  # in a PNG of 16 bits; 0 is the background


def pixels_of(figure: Figure, width: int, height: int, *, boxes: bool) -> Spans | None:
    """Return the pixels of an area on its image; of boxes only if `boxes`. None: it is no area.

    Which pixels a ring holds is pycocotools' own rule. Raises NoGeometry if a mask is broken.
    """
    if figure.bitmask is not None:
        return read_bitmask(figure.bitmask, width, height)
    if figure.form in AREAS or (boxes and figure.form in BOXES):
        return read_coco(draw_parts(figure.parts, width, height))
    return None


class Painting:
    """An image of ids, 8 or 16 bits each, as the largest id needs. 0 is the background."""

    def __init__(self, width: int, height: int, largest: int) -> None:
        """Make an empty one. `largest` is the largest id that will be painted."""
        self._ids: NDArray[np.uint8 | np.uint16] = np.zeros(
            (height, width), np.uint8 if largest < 2**8 else np.uint16
        )

    def paint(self, spans: Spans, number: int) -> int:
        """Paint the pixels of `spans` over what is there. Return how many had an id already."""
        if spans.extent is None:
            return 0
        left, top, width, height = map(int, spans.extent)
        piece = self._ids[top : top + height, left : left + width]
        inside = spans.placed(-left, -top, width, height).pixels().view(bool)
        painted_over = int(np.count_nonzero(piece[inside]))
        piece[inside] = number
        return painted_over

    def png(self) -> bytes:
        """Encode it. The same ids give the same bytes, with the same version of Pillow."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self._ids).save(file, "PNG")
        return file.getvalue()
