"""Masks: what is painted is what pycocotools decodes, pixel by pixel."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_masks

from harvester.datasets.figures import Figure, figure
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.painting import Painting, pixels_of
from harvester.datasets.rle import to_bitmask
from harvester.datasets.sent_shapes import SentBitmask, SentBox, SentCircle, SentGeometry, SentRotated, Vertex

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

WIDTH, HEIGHT = 40, 30
SHARE = st.floats(0, 1, allow_subnormal=False)
RING = st.lists(st.tuples(SHARE, SHARE), min_size=3, max_size=7).map(
    lambda at: [n for pair in at for n in pair]
)
POLYGONS = st.lists(st.lists(RING, min_size=1, max_size=3), min_size=1, max_size=3)


def _painted(shape: Figure, boxes: bool = False) -> np.ndarray:
    painting = Painting(WIDTH, HEIGHT, 7)
    spans = pixels_of(shape, WIDTH, HEIGHT, boxes=boxes)
    assert spans is not None
    painting.paint(spans, 7)
    ids = np.array(Image.open(io.BytesIO(painting.png())))
    assert ids.shape == (HEIGHT, WIDTH)
    assert set(np.unique(ids)) <= {0, 7}
    return ids == 7


def _decoded(ring: list[float]) -> np.ndarray:
    pixels = [number * (WIDTH, HEIGHT)[at % 2] for at, number in enumerate(ring)]
    return coco_masks.decode(coco_masks.frPyObjects([pixels], HEIGHT, WIDTH))[:, :, 0].astype(bool)


@given(POLYGONS)
def test_polygons_with_holes_are_the_pixels_that_pycocotools_decodes(parts: list[list[list[float]]]) -> None:
    """A part is what its outline holds and none of its holes; several parts are their union."""
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for part in parts:
        expected |= _decoded(part[0]) & ~np.any([_decoded(hole) for hole in part[1:]], axis=0)
    assert (_painted(figure("polygon", SentGeometry(polygons=parts), WIDTH, HEIGHT)) == expected).all()


@given(arrays(bool, (HEIGHT, WIDTH), elements=st.booleans()))
def test_bitmasks_are_the_pixels_that_were_sent(mask: np.ndarray) -> None:
    """The server's run lengths are those of pycocotools, row by row: of the transposed mask."""
    counts = coco_masks.encode(np.asfortranarray(mask.T.astype(np.uint8)))["counts"].decode()
    sent = SentGeometry(bitmask=SentBitmask(WIDTH, HEIGHT, counts))
    assert (_painted(figure("bitmask", sent, WIDTH, HEIGHT)) == mask).all()


@given(arrays(bool, (6, 8), elements=st.booleans()), st.integers(-5, WIDTH), st.integers(-5, HEIGHT))
def test_a_bitmask_stands_where_it_was_sent_to(mask: np.ndarray, left: int, top: int) -> None:
    """What is beyond the image is cut off."""
    counts = coco_masks.encode(np.asfortranarray(mask.T.astype(np.uint8)))["counts"].decode()
    sent = SentGeometry(bitmask=SentBitmask(8, 6, counts, top=top, left=left))
    whole = np.zeros((HEIGHT + 20, WIDTH + 20), bool)
    whole[top + 10 : top + 16, left + 10 : left + 18] = mask
    expected = whole[10 : 10 + HEIGHT, 10 : 10 + WIDTH]
    assert (_painted(figure("bitmask", sent, WIDTH, HEIGHT)) == expected).all()


def test_boxes_are_painted_where_they_are_asked_for() -> None:
    """Rotated or not. What is a line or a point is no area."""
    box = figure("bounding_box", SentGeometry(bounding_box=SentBox(0.25, 0.5, 0.5, 0.2)), WIDTH, HEIGHT)
    assert pixels_of(box, WIDTH, HEIGHT, boxes=False) is None
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[15:21, 10:30] = True
    assert (_painted(box, boxes=True) == expected).all()
    sent = SentGeometry(rotatable_bounding_box=SentRotated(0.25, 0.3, 0.5, 0.4, 45))
    rotated = figure("rotatable_bounding_box", sent, WIDTH, HEIGHT)
    assert pixels_of(rotated, WIDTH, HEIGHT, boxes=False) is None
    assert abs(_painted(rotated, boxes=True).sum() - 20 * 12) < 15
    circle = figure("circle", SentGeometry(circle=SentCircle(0.5, 0.5, 0.25)), WIDTH, HEIGHT)
    assert abs(_painted(circle).sum() - np.pi * 100) < 10
    line = figure("polyline", SentGeometry(polyline=[Vertex(0, 0), Vertex(1, 1)]), WIDTH, HEIGHT)
    assert pixels_of(line, WIDTH, HEIGHT, boxes=True) is None


def test_a_broken_mask_is_refused() -> None:
    """Its runs do not add up."""
    broken = figure("bitmask", SentGeometry(bitmask=SentBitmask(8, 6, "11")), WIDTH, HEIGHT)
    with pytest.raises(NoGeometry, match="bad_mask"):
        pixels_of(broken, WIDTH, HEIGHT, boxes=False)


@given(st.lists(arrays(bool, (5, 6), elements=st.booleans()), max_size=4))
def test_later_objects_are_painted_over_earlier_ones_and_counted(masks: list[np.ndarray]) -> None:
    """In record order; each pixel that had an id counts."""
    painting, expected = Painting(6, 5, 4), np.zeros((5, 6), int)
    for number, mask in enumerate(masks, 1):
        counts = coco_masks.encode(np.asfortranarray(mask.T.astype(np.uint8)))["counts"].decode()
        shape = figure("bitmask", SentGeometry(bitmask=SentBitmask(6, 5, counts)), 6, 5)
        spans = pixels_of(shape, 6, 5, boxes=False)
        assert spans is not None
        assert to_bitmask(spans) == SentBitmask(6, 5, counts)
        assert painting.paint(spans, number) == ((expected > 0) & mask).sum()
        expected[mask] = number
    assert (np.array(Image.open(io.BytesIO(painting.png()))) == expected).all()


@pytest.mark.parametrize(("largest", "mode"), [(255, "L"), (256, "I;16"), (65_535, "I;16")])
def test_ids_have_8_bits_or_16_as_they_need(largest: int, mode: str) -> None:
    """And are read as they were painted."""
    painting = Painting(3, 2, largest)
    shape = figure("bounding_box", SentGeometry(bounding_box=SentBox(0, 0, 1, 1)), 3, 2)
    spans = pixels_of(shape, 3, 2, boxes=True)
    assert spans is not None
    painting.paint(spans, largest)
    image = Image.open(io.BytesIO(painting.png()))
    assert image.mode == mode
    assert (np.array(image) == largest).all()
    assert painting.png() == painting.png()
