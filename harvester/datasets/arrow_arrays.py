"""Makes Arrow arrays of Python values, without `pyarrow.array`.

That imports pandas wherever it is installed, which takes half a second and 50 MB.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

Places = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]


def array_of(type: pyarrow.DataType, values: Sequence[Any]) -> pyarrow.Array:
    """Return an array of values, each of which may be None.

    Structs are made of objects that have the fields as attributes, times of microseconds since 1970.
    """
    if values.count(None) == len(values):
        return pyarrow.nulls(len(values), type)
    if pyarrow.types.is_list(type):
        inner = array_of(type.value_type, list(chain.from_iterable(filter(None, values))))
        return lists(type, [len(value or ()) for value in values], inner, present_in(values))
    if pyarrow.types.is_struct(type):
        names, present = [field.name for field in type], present_in(values)
        sides: Iterable[Sequence[Any]]
        if present is None:
            sides = zip(*map(attrgetter(*names), values), strict=True)
        else:
            sides = ([getattr(value, name, None) for value in values] for name in names)
        columns = [array_of(field.type, side) for field, side in zip(type, sides, strict=True)]
        return structs(type, columns, present)
    if pyarrow.types.is_string(type):
        return texts([value and value.encode() for value in values], present_in(values))
    filled = [0 if value is None else value for value in values]
    if pyarrow.types.is_boolean(type):
        return _flat(type, len(filled), _bits(np.array(filled, bool)), present_in(values))
    numbers = np.array(filled, np.float64 if pyarrow.types.is_floating(type) else np.int64)
    return fixed(numbers, present_in(values), type)


def texts(values: Sequence[bytes | None], present: Truths | None = None) -> pyarrow.Array:
    """Return texts of these bytes, which must be UTF-8: it is not checked."""
    filled = [value or b"" for value in values]
    data = pyarrow.py_buffer(b"".join(filled))
    offsets = _offsets(map(len, filled), len(filled))
    return pyarrow.Array.from_buffers(
        pyarrow.string(), len(filled), [_validity(present), pyarrow.py_buffer(offsets), data]
    )


def fixed(
    values: npt.NDArray[Any], present: Truths | None = None, type: pyarrow.DataType | None = None
) -> pyarrow.Array:
    """Return numbers, or times; null where they are not `present`."""
    return _flat(type or pyarrow.from_numpy_dtype(values.dtype), len(values), values, present)


def lists(
    type: pyarrow.DataType, sizes: Iterable[int], values: pyarrow.Array, present: Truths | None = None
) -> pyarrow.Array:
    """Return lists of these sizes, into which `values` are divided."""
    offsets = _offsets(sizes)
    buffers = [_validity(present), pyarrow.py_buffer(offsets)]
    return pyarrow.Array.from_buffers(type, len(offsets) - 1, buffers, children=[values])


def structs(
    type: pyarrow.DataType, columns: Sequence[pyarrow.Array], present: Truths | None = None
) -> pyarrow.Array:
    """Return structs with these columns."""
    return pyarrow.Array.from_buffers(type, len(columns[0]), [_validity(present)], children=columns)


def repeated(values: Sequence[str | None], places: Places) -> pyarrow.DictionaryArray:
    """Return the texts at these places of `values`, each text once in a dictionary."""
    known = dict.fromkeys(values)
    known.pop(None, None)
    codes = {value: code for code, value in enumerate(known)} | {None: 0}
    indices = np.array([codes[value] for value in values], np.int32)[places]
    present = present_in(values)
    return pyarrow.DictionaryArray.from_arrays(
        fixed(indices, None if present is None else present[places]),
        array_of(pyarrow.string(), list(known)),
        safe=False,
    )


def present_in(values: Sequence[Any]) -> Truths | None:
    """Return for each value whether it is not None, or None if no value is None."""
    return np.array([value is not None for value in values], bool) if None in values else None


def _flat(type: pyarrow.DataType, size: int, data: npt.NDArray[Any], present: Truths | None) -> pyarrow.Array:
    return pyarrow.Array.from_buffers(type, size, [_validity(present), pyarrow.py_buffer(data)])


def _offsets(sizes: Iterable[int], count: int = -1) -> npt.NDArray[np.int32]:
    ends = np.cumsum(np.fromiter(sizes, np.int32, count), dtype=np.int32)
    return np.concatenate((np.zeros(1, np.int32), ends))


def _validity(present: Truths | None) -> pyarrow.Buffer | None:
    return None if present is None or present.all() else pyarrow.py_buffer(_bits(present))


def _bits(truths: Truths) -> npt.NDArray[np.uint8]:
    return np.packbits(truths, bitorder="little")
