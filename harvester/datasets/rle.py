"""Masks as run lengths: from the platform's row by row to COCO's column by column, without drawing them.

A mask is held as spans: the first and the last pixel of each run in each row. Both forms of run lengths
follow from the spans by arithmetic over all of them at once, so a mask of few spans takes little time
however large its image is.

pycocotools reads beyond its memory if runs do not add up to the size, and ends the process if numbers are
huge or not finite. So everything is checked before it is given to pycocotools.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from harvester.datasets.geometry import LONGEST_SIDE, Box, NoGeometry, Part, Ring, clip_ring
from harvester.datasets.sent_shapes import SentBitmask

Numbers = npt.NDArray[np.int64]

_ASCII_ZERO = 48  # the character of 0 in COCO's compressed text
_DIGIT_BITS = 5
_MOST_DIGITS = 8  # of a run: 40 bits, and pycocotools counts in 32


MANY_SPANS = 20_000  # from here on drawing is faster, measured on masks of 1920 x 1080


class CocoMask(msgspec.Struct, frozen=True):
    """A mask as COCO has it: `size` is height and width, `counts` are compressed, column by column."""

    size: tuple[int, int]
    counts: str

    @property
    def area(self) -> int:
        """The number of pixels. Runs must add up to the size, as they do in all masks that are made here."""
        from pycocotools import mask as coco_masks

        return int(coco_masks.area({"size": self.size, "counts": self.counts}))


class Spans(msgspec.Struct, frozen=True):
    """A mask of `width` and `height` pixels: from `starts` up to before `ends`, in `rows`.

    Spans are sorted and do not overlap.
    """

    width: int
    height: int
    rows: Numbers
    starts: Numbers
    ends: Numbers

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int((self.ends - self.starts).sum())

    @property
    def extent(self) -> Box | None:
        """The bounding box of the pixels, None if there are none."""
        if not len(self.rows):
            return None
        left, top = int(self.starts.min()), int(self.rows.min())
        return left, top, int(self.ends.max()) - left, int(self.rows.max()) + 1 - top

    def placed(self, left: int, top: int, width: int, height: int) -> "Spans":
        """Return the mask with its corner at `left` and `top` of an image; what is beyond it is cut off."""
        rows, starts, ends = self.rows + top, self.starts + left, self.ends + left
        starts, ends = starts.clip(0, width), ends.clip(0, width)
        kept = (rows >= 0) & (rows < height) & (starts < ends)
        return Spans(width, height, rows[kept], starts[kept], ends[kept])

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Draw the mask: 1 in it, 0 elsewhere, by row and column."""
        changes = np.zeros((self.height, self.width + 1), np.int8)
        np.add.at(changes, (self.rows, self.starts), 1)
        np.add.at(changes, (self.rows, self.ends), -1)
        return changes[:, :-1].cumsum(axis=1, dtype=np.int8).view(np.uint8)

    def to_coco(self) -> CocoMask:
        """Return the run lengths column by column.

        With many spans it is faster to draw the mask. With few, nothing is drawn: a pixel begins or ends a
        run where it differs from the one above, and there the spans of the two rows differ. The
        row above the first and the one below the last are empty.
        """
        if len(self.rows) > MANY_SPANS:
            return _encoded(self.pixels())
        across = self.width + 1
        ends_of_spans = np.concatenate((self.rows * across + self.starts, self.rows * across + self.ends))
        differs = _odd(np.concatenate((ends_of_spans, ends_of_spans + across)))
        rows, columns = np.divmod(differs, across)
        lengths = columns[1::2] - columns[::2]
        first, row = columns[::2], rows[::2]
        within = np.arange(int(lengths.sum())) - np.repeat(lengths.cumsum() - lengths, lengths)
        changes = (np.repeat(first, lengths) + within) * self.height + np.repeat(row, lengths)
        return CocoMask((self.height, self.width), _text_of(_odd(changes), self.width * self.height))


def _odd(numbers: Numbers) -> Numbers:
    """Return sorted those numbers that occur an odd number of times. Two changes at one place cancel out."""
    numbers.sort(kind="stable")  # they come as sorted pieces, which it merges: 10 times as fast
    starts = (
        np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1]))) if len(numbers) else numbers
    )
    odd: Numbers = numbers[starts[np.diff(starts, append=len(numbers)) % 2 == 1]]
    return odd


def _encoded(pixels: npt.NDArray[np.uint8]) -> CocoMask:
    from pycocotools import mask as coco_masks

    encoded = coco_masks.encode(np.asfortranarray(pixels))
    return CocoMask((pixels.shape[0], pixels.shape[1]), encoded["counts"].decode())


def read_bitmask(sent: SentBitmask, width: int, height: int) -> Spans:
    """Return a mask as the server sends it, placed on its image of `width` and `height` pixels.

    Raises NoGeometry if its runs do not add up to its size, or if numbers are out of range.
    """
    across, down = sent.width, sent.height
    if not (0 < across <= LONGEST_SIDE and 0 < down <= LONGEST_SIDE):
        raise NoGeometry("bad_mask")
    if not (abs(sent.left) <= LONGEST_SIDE and abs(sent.top) <= LONGEST_SIDE):
        raise NoGeometry("out_of_range")
    changes = _run_ends(sent.rle_string, across * down)
    spans = _by_row(changes, across, down)
    if (sent.left, sent.top, across, down) == (0, 0, width, height):
        return spans
    return spans.placed(sent.left, sent.top, width, height)


def is_cut(sent: SentBitmask, width: int, height: int) -> bool:
    """Return whether a mask has pixels beyond its image. Raises NoGeometry as `read_bitmask` does."""
    inside = sent.left >= 0 and sent.top >= 0 and sent.left + sent.width <= width
    if inside and sent.top + sent.height <= height:
        return False
    whole = msgspec.structs.replace(sent, left=0, top=0)
    return read_bitmask(whole, sent.width, sent.height).area != read_bitmask(sent, width, height).area


def read_coco(mask: CocoMask) -> Spans:
    """Return a mask from COCO's form. Raises NoGeometry as `read_bitmask` does."""
    height, width = mask.size
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
        raise NoGeometry("bad_mask")
    return transposed(_by_row(_run_ends(mask.counts, width * height), height, width))


def to_bitmask(spans: Spans) -> SentBitmask:
    """Return a mask in the form that the server sends."""
    changes = _odd(
        np.concatenate((spans.rows * spans.width + spans.starts, spans.rows * spans.width + spans.ends))
    )
    return SentBitmask(spans.width, spans.height, _text_of(changes, spans.width * spans.height))


def transposed(spans: Spans) -> Spans:
    """Return a mask with rows and columns swapped."""
    mask = spans.to_coco()  # column by column is row by row of the mask that is swapped
    return _by_row(_run_ends(mask.counts, spans.width * spans.height), spans.height, spans.width)


def _by_row(changes: Numbers, width: int, height: int) -> Spans:
    """Return the mask that changes between 0 and 1 at these pixels, counted row by row."""
    if len(changes) % 2:
        changes = np.append(changes, width * height)
    starts, ends = changes[::2], changes[1::2]
    kept = starts < ends
    starts, ends = starts[kept], ends[kept]
    first, last = starts // width, (ends - 1) // width
    rows_of_run = last - first + 1
    total = int(rows_of_run.sum())
    before = rows_of_run.cumsum() - rows_of_run
    rows = np.arange(total) - np.repeat(before - first, rows_of_run)
    begins, stops = np.zeros(total, np.int64), np.full(total, width)
    begins[before] = starts - first * width
    stops[before + rows_of_run - 1] = ends - last * width
    return Spans(width, height, rows, begins, stops)


def _run_ends(text: str, size: int) -> Numbers:
    """Return where each run ends but the last, from COCO's compressed text. Raises NoGeometry("bad_mask").

    A character holds five bits, the lowest first, and whether more follow. A run counts from the one two
    before it, from the fourth run on (`rleToString` of pycocotools).
    """
    try:
        digits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _ASCII_ZERO
    except UnicodeEncodeError:
        raise NoGeometry("bad_mask") from None
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 0x20:
        raise NoGeometry("bad_mask")
    last = np.flatnonzero(digits & 0x20 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    if (last - first).max() >= _MOST_DIGITS:
        raise NoGeometry("bad_mask")
    place = np.arange(len(digits)) - np.repeat(first, last - first + 1)
    runs = np.add.reduceat((digits & 0x1F) << (_DIGIT_BITS * place), first)
    negative = digits[last] & 0x10 != 0
    runs[negative] -= 1 << (_DIGIT_BITS * (last - first + 1)[negative])
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    ends = runs.cumsum()
    if runs.min() < 0 or runs.max() > size or ends[-1] != size:
        raise NoGeometry("bad_mask")
    return ends[:-1]


def _text_of(changes: Numbers, size: int) -> str:
    """Return COCO's compressed text of a mask of `size` pixels that changes at `changes`."""
    if len(changes) and changes[-1] == size:
        changes = changes[:-1]
    runs = np.diff(changes, prepend=0, append=size)
    rest = runs.copy()
    rest[3:] -= runs[1:-2]
    columns: list[npt.NDArray[np.uint8]] = []
    more = np.ones(len(rest), bool)
    while more.any():
        bits = (rest & 0x1F).astype(np.uint8)
        rest >>= _DIGIT_BITS
        still = more & (rest != np.where(bits & 0x10, -1, 0))
        columns.append(np.where(more, bits + (still * np.uint8(0x20)) + np.uint8(_ASCII_ZERO), 0))
        more = still
    digits = np.stack(columns, axis=1)
    text: bytes = digits[digits != 0].tobytes()
    return text.decode()


def draw_parts(parts: Iterable[Part], width: int, height: int) -> CocoMask:
    """Draw parts, holes and all, by pycocotools' own rule of which pixels a ring holds.

    Of a part the pixels of its outline that are in none of its holes; of several parts all.
    """
    from pycocotools import mask as coco_masks

    drawn = [_drawn_part(part, width, height) for part in parts]
    kept = [mask for mask in drawn if mask is not None]
    if not kept:
        return CocoMask((height, width), _text_of(np.zeros(0, np.int64), width * height))
    mask = kept[0] if len(kept) == 1 else coco_masks.merge(kept)
    return CocoMask((height, width), mask["counts"].decode())


def _drawn_part(part: Part, width: int, height: int) -> dict[str, Any] | None:
    """Return the mask of a part, None if no piece of it lies on the image.

    pycocotools has no difference of masks. But a ring that goes around the outline, to the hole, around it
    and back is drawn as the pixels that are in one of the two: a pixel counts if it is beyond an odd number
    of edges (`rleFrPoly`), and the line there and back counts twice. Of those, the outline keeps what is not
    in the hole.
    """
    from pycocotools import mask as coco_masks

    outline, *holes = [_on_image(ring, width, height) for ring in part]
    if len(outline) < 6:
        return None
    corner = outline[:2]
    in_one = [[*outline, *corner, *hole, *hole[:2]] for hole in holes if len(hole) >= 6]
    drawn: list[dict[str, Any]] = coco_masks.frPyObjects([outline, *in_one], height, width)
    return drawn[0] if len(drawn) == 1 else coco_masks.merge(drawn, intersect=True)


def _on_image(ring: Ring, width: int, height: int) -> Ring:
    xs, ys = ring[::2], ring[1::2]
    is_inside = min(xs) >= 0 and min(ys) >= 0 and max(xs) <= width and max(ys) <= height
    return ring if is_inside else clip_ring(ring, width, height)


def spans_of_rings(rings: Iterable[Ring], width: int, height: int) -> Spans:
    """Return the mask of rings without holes, as `draw_parts` draws them."""
    return read_coco(draw_parts(([ring] for ring in rings), width, height))
