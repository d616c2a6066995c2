"""Masks as run lengths, held to pycocotools and to the SDK's own reading of a bitmask."""

from time import process_time
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
import pytest
from encord.common.bitmask_operations import deserialise_bitmask, encord_rle_to_coco_rle, serialise_bitmask
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_masks

from harvester.datasets import rle
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.rle import CocoMask, Spans, read_bitmask, read_coco, to_bitmask
from harvester.datasets.sent_shapes import SentBitmask

Pixels = npt.NDArray[np.bool_]

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS = arrays(np.bool_, SHAPES)


def _sent(mask: Pixels) -> SentBitmask:
    height, width = mask.shape
    return SentBitmask(width, height, serialise_bitmask(mask.tobytes()))


def _read(mask: Pixels) -> Spans:
    return read_bitmask(_sent(mask), mask.shape[1], mask.shape[0])


@given(MASKS)
def test_a_bitmask_becomes_what_pycocotools_encodes(mask: Pixels) -> None:
    """Column by column, with the same text, area and extent; and the SDK's own conversion says the same."""
    height, width = mask.shape
    encoded = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    spans = _read(mask)
    assert spans.to_coco() == CocoMask((height, width), encoded["counts"].decode())
    assert spans.to_coco().counts == encord_rle_to_coco_rle(
        _sent(mask).rle_string, height=height, width=width
    )
    assert spans.area == mask.sum()
    assert (spans.extent or (0, 0, 0, 0)) == tuple(coco_masks.toBbox(encoded))


@given(MASKS)
def test_masks_go_there_and_back(mask: Pixels) -> None:
    """To pixels, to COCO's form and to the server's, and each back again."""
    spans = _read(mask)
    assert (spans.pixels() == mask).all()
    assert to_bitmask(spans) == _sent(mask)
    again = read_coco(spans.to_coco())
    assert spans.to_coco().area == mask.sum()
    assert (again.pixels() == mask).all()
    assert (rle.transposed(spans).pixels() == mask.T).all()


@given(MASKS, st.integers(-15, 15), st.integers(-15, 15), SHAPES)
def test_a_bitmask_is_placed_on_its_image(mask: Pixels, left: int, top: int, size: tuple[int, int]) -> None:
    """At its position, with the size of the image; what is beyond the image is cut off."""
    height, width = size
    sent = SentBitmask(mask.shape[1], mask.shape[0], _sent(mask).rle_string, top, left)
    placed = np.zeros((height, width), bool)
    for y, x in np.argwhere(mask):
        if 0 <= y + top < height and 0 <= x + left < width:
            placed[y + top, x + left] = True
    spans = read_bitmask(sent, width, height)
    assert (spans.pixels() == placed).all()
    assert read_coco(spans.to_coco()).area == placed.sum()


@given(MASKS, st.integers(-3, 3), st.text(alphabet="0123`aoPQ\x7f ", max_size=4))
def test_runs_that_do_not_add_up_are_refused(mask: Pixels, more: int, tail: str) -> None:
    """A short one would make pycocotools read memory that is not its own."""
    sent = _sent(mask)
    assume(more or tail)
    text = sent.rle_string[:more] if more < 0 else sent.rle_string + "1" * more
    damaged = SentBitmask(sent.width, sent.height, text + tail)
    try:
        spans = read_bitmask(damaged, sent.width, sent.height)
    except NoGeometry:
        return
    # Runs of no pixels may stand at the end.
    assert spans.pixels().tobytes() == deserialise_bitmask(damaged.rle_string, sent.width * sent.height)


@pytest.mark.parametrize(
    ("text", "width", "height"),
    [
        ("", 4, 4),
        ("4", 4, 4),  # four of sixteen pixels
        ("0o00", 4, 4),
        ("`", 4, 4),  # ends within a run
        ("@", 4, 4),  # below 0
        ("oooooooooooooooooooo0", 4, 4),  # beyond 64 bits
        ("é", 4, 4),
        (" ", 4, 4),
        ("0", 0, 4),
        ("0", -4, -4),
        ("0", 10**12, 10**12),
    ],
)
def test_masks_that_are_none_are_refused(text: str, width: int, height: int) -> None:
    """Before anything is computed with them."""
    with pytest.raises(NoGeometry) as caught:
        read_bitmask(SentBitmask(width, height, text), 4, 4)
    assert caught.value.reason == "bad_mask"


def test_a_position_far_out_is_refused() -> None:
    """It would leave the range of integers."""
    with pytest.raises(NoGeometry) as caught:
        read_bitmask(SentBitmask(1, 1, "01", top=10**18), 4, 4)
    assert caught.value.reason == "out_of_range"


RINGS = st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), min_size=3, max_size=7)


@given(RINGS)
def test_a_ring_on_the_image_is_drawn_as_pycocotools_draws_it(points: list[tuple[float, float]]) -> None:
    """The rule of which pixels belong to a ring is its own."""
    ring = [min(max(number, 0.0), 20.0) for point in points for number in point]
    right = coco_masks.frPyObjects([ring], 20, 20)[0]
    assert rle.draw_parts([[ring]], 20, 20).counts == right["counts"].decode()


@given(RINGS, RINGS, RINGS)
def test_holes_and_parts_are_drawn(
    one: list[tuple[float, float]], other: list[tuple[float, float]], third: list[tuple[float, float]]
) -> None:
    """Of a part those pixels count that are in its outline and in no hole; of several parts all."""
    rings = [[min(max(n, 0.0), 20.0) for point in points for n in point] for points in (one, other, third)]
    first, hole, second = (
        read_coco(CocoMask((20, 20), coco_masks.frPyObjects([ring], 20, 20)[0]["counts"].decode())).pixels()
        for ring in rings
    )
    drawn = read_coco(rle.draw_parts([[rings[0], rings[1]], [rings[2]]], 20, 20)).pixels()
    assert (drawn == ((first & ~hole) | second)).all()


def test_holes_never_add_pixels() -> None:
    """Not where they overlap, nor beyond their outline, nor where the outline is beyond the image."""
    square = [2.0, 2, 12, 2, 12, 12, 2, 12]
    holes = [[4.0, 4, 8, 4, 8, 8, 4, 8], [6.0, 6, 18, 6, 18, 10, 6, 10]]
    drawn = read_coco(rle.draw_parts([[square, *holes]], 20, 20))
    assert (drawn.area, drawn.extent) == (100 - 16 - 6 * 4 + 4, (2, 2, 10, 10))
    away = [number + 30 for number in square]
    assert read_coco(rle.draw_parts([[away, square]], 20, 20)).area == 0


@pytest.mark.parametrize(
    ("left", "top", "cut"), [(0, 0, False), (-2, -1, False), (13, 16, False), (-3, 0, True), (14, 0, True)]
)
def test_a_mask_is_cut_only_where_pixels_are_beyond_the_image(left: int, top: int, cut: bool) -> None:
    """Its frame may reach further than its pixels."""
    mask = np.zeros((6, 10), np.uint8)
    mask[1:4, 2:7] = 1
    counts = coco_masks.encode(np.asfortranarray(mask.T))["counts"].decode()
    assert rle.is_cut(SentBitmask(10, 6, counts, top, left), 20, 20) == cut


@given(st.lists(RINGS, min_size=1, max_size=5))
def test_a_part_may_have_many_holes(rings: list[list[tuple[float, float]]]) -> None:
    """Wherever they lie, and however they cross each other."""
    part = [[min(max(n, 0.0), 20.0) for point in points for n in point] for points in rings]
    alone = [coco_masks.frPyObjects([ring], 20, 20)[0]["counts"].decode() for ring in part]
    outline, *holes = (read_coco(CocoMask((20, 20), mask)).pixels() for mask in alone)
    for hole in holes:
        outline &= ~hole
    drawn = rle.draw_parts([part], 20, 20)
    assert (read_coco(drawn).pixels() == outline).all()
    assert drawn.area == outline.sum()


def test_a_hole_is_cut_out() -> None:
    """A square of 10 pixels with a hole of 4."""
    square, hole = [2.0, 2, 12, 2, 12, 12, 2, 12], [5.0, 5, 9, 5, 9, 9, 5, 9]
    drawn = read_coco(rle.draw_parts([[square, hole]], 20, 20))
    assert (drawn.area, drawn.extent) == (100 - 16, (2, 2, 10, 10))


def test_what_is_beyond_the_image_is_not_drawn() -> None:
    """Nor does it take memory: pycocotools would count the pixels of the whole line."""
    assert rle.draw_parts([[[-1e9, -1e9, -1e9, 10, 10, 10]]], 20, 20).size == (20, 20)
    nothing = rle.draw_parts([[[30.0, 30, 40, 30, 40, 40]]], 20, 20)
    assert read_coco(nothing).area == 0


def test_many_spans_are_drawn_instead() -> None:
    """The result is the same."""
    mask = np.random.default_rng(1).random((300, 400)) < 0.5
    spans = _read(mask)
    assert len(spans.rows) > rle.MANY_SPANS
    encoded = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert spans.to_coco().counts == encoded["counts"].decode()


def test_a_full_hd_bitmask_takes_less_than_decoding_it() -> None:
    """Two thirds of what pycocotools needs to decode, transpose and encode are far from its limit."""
    rows, columns = np.mgrid[:1080, :1920]
    mask = (columns - 900) ** 2 + (rows - 500) ** 2 < 400**2
    sent = _sent(mask)

    def ours() -> str:
        return read_bitmask(sent, 1920, 1080).to_coco().counts

    def peer() -> str:
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)  # pycocotools' own, with numpy 2
            pixels = coco_masks.decode({"counts": sent.rle_string, "size": [1920, 1080]})
        counts: bytes = coco_masks.encode(np.asfortranarray(pixels.T))["counts"]
        return counts.decode()

    assert ours() == peer()
    times = []
    for work in (ours, peer):
        began = process_time()
        for _ in range(5):
            work()
        times.append(process_time() - began)
    assert times[0] < times[1] * 2 / 3
