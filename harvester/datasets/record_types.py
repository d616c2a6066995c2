"""Decodes records, or parts of them, into objects whose attributes are the columns of a table.

Records are harvester's own, so they have the types of the columns, except for numbers and texts that the
server sent: those that do not fit their column are null, and it is said why.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import pyarrow
from pyarrow import types

from harvester.datasets.columns import RANGE, Columns
from harvester.datasets.line_blocks import no_record

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_INTEGER = Annotated[int, msgspec.Meta(ge=_LOWEST, le=_HIGHEST)]
_NULL = msgspec.Raw(b"null")


class RecordType:
    """The decoder of a record with these columns; it may have further keys, and lack some."""

    def __init__(self, columns: Columns, as_json: frozenset[str] = frozenset()) -> None:
        """The columns `as_json` get their value as JSON text, whatever it is."""
        self.columns, self._as_json = columns, as_json
        self._type = _struct_of(columns, as_json)
        self._decode = msgspec.json.Decoder(self._type).decode

    def decode(self, line: bytes) -> tuple[Any, frozenset[str]]:
        """Return the record, and why some of its values are null.

        Raises Unsound if it is no such record.
        """
        try:
            try:
                return self._with_json(self._decode(line.decode())), _NOTHING  # checks that it is text
            except msgspec.ValidationError:
                return self._fitted(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise no_record() from error

    def _fitted(self, line: bytes) -> tuple[Any, frozenset[str]]:
        reasons = set[str]()
        sent = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        values = {
            name: sent[name]
            if name in self._as_json
            else _fitted(msgspec.json.decode(sent[name]), type, reasons)
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
    """Return a type with these attributes, all of which may be lacking."""
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


def _fitted(value: Any, type: pyarrow.DataType, reasons: set[str]) -> Any:
    """Return a value with None in place of what does not fit. Raises Unsound if it has another structure."""
    if value is None:
        return None
    if types.is_list(type):
        if not isinstance(value, list):
            raise no_record()
        return [_fitted(item, type.value_type, reasons) for item in value]
    if type == RANGE:
        if not isinstance(value, list):
            raise no_record()
        return [_fitted(item, RANGE[0].type, reasons) for item in value]
    if types.is_struct(type):
        if not isinstance(value, dict):
            raise no_record()
        return {f.name: _fitted(value[f.name], f.type, reasons) for f in type if f.name in value}
    _, fits, reason = _SCALARS[type]
    if fits(value):
        return value
    reasons.add(reason)
    return None


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer of 64 bits."""
    return type(value) is int and _LOWEST <= value <= _HIGHEST


def is_text(value: Any) -> bool:
    """Return whether a value is a text."""
    return type(value) is str


# By type: what it is in Python, whether a value is that, and what is said if not.
_SCALARS: Mapping[pyarrow.DataType, tuple[Any, Callable[[Any], bool], str]] = {
    pyarrow.string(): (str, is_text, "not_a_text"),
    pyarrow.timestamp("us", "UTC"): (str, is_text, "not_a_date"),
    pyarrow.int64(): (_INTEGER, is_integer, "not_an_integer"),
    pyarrow.float64(): (float, lambda value: type(value) in (int, float), "not_a_number"),
    pyarrow.bool_(): (bool, lambda value: type(value) is bool, "not_a_boolean"),
}
