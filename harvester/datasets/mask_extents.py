"""The extents of bitmasks: boxes around their pixels, in shares of the image's width and height."""

import numpy as np
import pyarrow

from harvester.datasets.arrow_arrays import booleans, booleans_in, doubles, doubles_in, integers
from harvester.datasets.geometry import NoGeometry
from harvester.datasets.rle import read_bitmask
from harvester.datasets.sent_shapes import SentBitmask

_SIDES = ("x", "y", "w", "h")


def with_extents(batch: pyarrow.RecordBatch) -> tuple[pyarrow.Array, int]:
    """Return the column ``bbox`` of a batch of objects with the extents of bitmasks filled in.

    Also returns how many of them are not known: the runs do not add up, or the size of the image is not
    known. An empty mask has no extent.
    """
    boxes = batch.column("bbox")
    rows = np.flatnonzero(booleans_in(batch.column("rle").is_valid()))
    with_masks = batch.select(["width", "height", "rle"]).take(integers(rows)).to_pylist()
    sides = [doubles_in(boxes.field(side)) for side in _SIDES]
    absent, unknown = booleans_in(boxes.is_null()), 0
    for row, record in zip(rows.tolist(), with_masks, strict=True):
        mask, width, height = record["rle"], record["width"], record["height"]
        if mask["width"] is None and mask["height"] is None:
            continue  # the points of a point cloud
        try:
            extent = _extent(mask, width, height)
        except (NoGeometry, TypeError):
            unknown += 1
            continue
        if extent is not None:
            absent[row] = False
            for side, value, whole in zip(sides, extent, (width, height, width, height), strict=True):
                side[row] = value / whole
    columns = [doubles(side) for side in sides]
    return pyarrow.StructArray.from_arrays(columns, fields=list(boxes.type), mask=booleans(absent)), unknown


def _extent(
    mask: dict[str, object], width: int | None, height: int | None
) -> tuple[float, float, float, float] | None:
    """Raises NoGeometry or TypeError if it cannot be known."""
    if not width or not height:
        raise TypeError("the size of the image is not known")
    sent = SentBitmask(
        width=mask["width"],  # type: ignore[arg-type]  # None raises TypeError where it is compared
        height=mask["height"],  # type: ignore[arg-type]
        rle_string=mask["counts"],  # type: ignore[arg-type]
        top=mask["top"] or 0,  # type: ignore[arg-type]
        left=mask["left"] or 0,  # type: ignore[arg-type]
    )
    return read_bitmask(sent, width, height).extent
