"""Arrow arrays out of Python values, without `pyarrow.array`: that imports pandas wherever it is installed.

The import takes half a second and 50 MB.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow


def texts(values: Sequence[str | None]) -> pyarrow.Array:
    """Return an array of texts."""
    encoded = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum(np.fromiter(map(len, encoded), np.int32, len(encoded)), dtype=np.int32)
    offsets = np.concatenate((np.zeros(1, np.int32), ends))
    return pyarrow.Array.from_buffers(
        pyarrow.string(),
        len(values),
        [_validity(values), pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(encoded))],
    )


def numbers(values: Sequence[int | float | None], type: pyarrow.DataType) -> pyarrow.Array:
    """Return an array of 64-bit integers or of doubles."""
    filled = np.array([0 if value is None else value for value in values], type.to_pandas_dtype())
    return pyarrow.Array.from_buffers(type, len(values), [_validity(values), pyarrow.py_buffer(filled)])


def integers(
    values: npt.NDArray[np.int64] | npt.NDArray[np.int32], present: npt.NDArray[np.bool_] | None = None
) -> pyarrow.Array:
    """Return an array of these integers, null where they are not `present`."""
    type = pyarrow.from_numpy_dtype(values.dtype)
    return pyarrow.Array.from_buffers(type, len(values), [_bits(present), pyarrow.py_buffer(values)])


def doubles(values: npt.NDArray[np.float64]) -> pyarrow.Array:
    """Return an array of doubles, none of which is null."""
    return pyarrow.Array.from_buffers(pyarrow.float64(), len(values), [None, pyarrow.py_buffer(values)])


def booleans(values: npt.NDArray[np.bool_]) -> pyarrow.Array:
    """Return an array of truth values, none of which is null."""
    bits = np.packbits(values, bitorder="little")
    return pyarrow.Array.from_buffers(pyarrow.bool_(), len(values), [None, pyarrow.py_buffer(bits)])


def integers_in(array: pyarrow.Array) -> npt.NDArray[np.int64]:
    """Return the values of an array of 64-bit integers, none of which is null."""
    values: npt.NDArray[np.int64] = np.frombuffer(array.buffers()[1], np.int64)
    return values[array.offset : array.offset + len(array)]


def doubles_in(array: pyarrow.Array) -> npt.NDArray[np.float64]:
    """Return a copy of the values of an array of doubles; where it has null, the number is arbitrary."""
    values: npt.NDArray[np.float64] = np.frombuffer(array.buffers()[1], np.float64)
    return values[array.offset : array.offset + len(array)].copy()


def booleans_in(array: pyarrow.Array) -> npt.NDArray[np.bool_]:
    """Return the values of an array of truth values, none of which is null."""
    bits = np.unpackbits(np.frombuffer(array.buffers()[1], np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(bool)


def _validity(values: Sequence[Any]) -> pyarrow.Buffer | None:
    return _bits(np.fromiter((value is not None for value in values), bool, len(values)))


def _bits(present: npt.NDArray[np.bool_] | None) -> pyarrow.Buffer | None:
    if present is None or present.all():
        return None
    return pyarrow.py_buffer(np.packbits(present, bitorder="little"))
