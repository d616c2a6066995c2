"""Decodes records, or parts of them, into objects whose attributes are the columns of a table.

harvester wrote the records, so their structure is known. Single values are as the server sent them: one that
does not fit its column becomes null, and the reason is returned.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pyarrow
from pyarrow import types

from harvester.datasets.columns import RANGE, Columns
from harvester.datasets.record_lines import not_a_record
from harvester.datasets.sent_shapes import Int64

_NULL = msgspec.Raw(b"null")


class RecordType:
    """Decodes records that have these columns as keys. They may have further keys, and lack some."""

    def __init__(self, columns: Columns, as_json: frozenset[str] = frozenset()) -> None:
        """`as_json` are the columns that hold the JSON text of their value, whatever its type is."""
        self.columns, self._as_json = columns, as_json
        self._type = _struct_of(columns, as_json)
        self._decode = msgspec.json.Decoder(self._type).decode

    def decode(self, line: bytes) -> tuple[Any, frozenset[str]]:
        """Return the record, and the reasons for which values of it became null.

        Raises Unsound if it is no such record.
        """
        try:
            try:
                return self._with_json(self._decode(line.decode())), _NOTHING  # checks that it is text
            except msgspec.ValidationError:
                return self._decode_each(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise not_a_record() from error

    def _decode_each(self, line: bytes) -> tuple[Any, frozenset[str]]:
        """Decode value by value, with null for those that do not fit."""
        reasons = set[str]()
        sent = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        values = {
            name: sent[name]
            if name in self._as_json
            else _without_misfits(msgspec.json.decode(sent[name]), type, reasons)
            for name, type in self.columns.items()
            if name in sent
        }
        return self._with_json(msgspec.convert(values, self._type)), frozenset(reasons)

    def _with_json(self, record: Any) -> Any:
        for name in self._as_json:
            text = bytes(getattr(record, name)).decode()
            setattr(record, name, None if text == "null" else text)
        return record


_NOTHING = frozenset[str]()


def _struct_of(columns: Columns, as_json: frozenset[str] = frozenset(), *, is_list: bool = False) -> Any:
    """Return a struct with these attributes. Each has a default, so that a record may lack it."""
    fields: list[tuple[str, Any, Any]] = [
        (name, msgspec.Raw, _NULL) if name in as_json else (name, _python_type(type) | None, None)
        for name, type in columns.items()
    ]
    return msgspec.defstruct("Record", fields, gc=False, array_like=is_list)


def _python_type(type: pyarrow.DataType) -> Any:
    if types.is_list(type):
        return list[_python_type(type.value_type)]  # type: ignore[misc]  # types that are made here
    if types.is_struct(type):
        return _struct_of({field.name: field.type for field in type}, is_list=type == RANGE)
    return _SCALARS[type][0]


def _without_misfits(value: Any, type: pyarrow.DataType, reasons: set[str]) -> Any:
    """Return a value with None in place of each scalar that does not fit; add why to `reasons`.

    Raises Unsound if a list or an object is something else.
    """
    if value is None:
        return None
    if types.is_list(type) or type == RANGE:
        if not isinstance(value, list):
            raise not_a_record()
        of_items = RANGE[0].type if type == RANGE else type.value_type
        return [_without_misfits(item, of_items, reasons) for item in value]
    if types.is_struct(type):
        if not isinstance(value, dict):
            raise not_a_record()
        return {f.name: _without_misfits(value[f.name], f.type, reasons) for f in type if f.name in value}
    _, fits, reason = _SCALARS[type]
    if fits(value):
        return value
    reasons.add(reason)
    return None


def reason_of(type: pyarrow.DataType) -> str:
    """Return the remark on a value that does not fit a column of this scalar type."""
    return _SCALARS[type][2]


def _is_integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_text(value: Any) -> bool:
    return type(value) is str


# By type of column: the type in Python, a check of a value, and the remark if it fails.
_SCALARS: Mapping[pyarrow.DataType, tuple[Any, Callable[[Any], bool], str]] = {
    pyarrow.string(): (str, _is_text, "not_a_text"),
    pyarrow.timestamp("us", "UTC"): (str, _is_text, "not_a_date"),
    pyarrow.int64(): (Int64, _is_integer, "not_an_integer"),
    pyarrow.float64(): (float, lambda value: type(value) in (int, float), "not_a_number"),
    pyarrow.bool_(): (bool, lambda value: type(value) is bool, "not_a_boolean"),
}
