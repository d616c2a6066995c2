"""Copies values of a label row into records, and ensures their type. JSON in, JSON out.

The schema promises a type for each key. A value of another type becomes null. Integers are also accepted
as ``30.0`` or ``"30"``.
"""

import re

import msgspec

JSON = bytes | msgspec.Raw

NULL = b"null"
_LONGEST = 19  # digits; an integer of fewer always fits in 64 bits
_INTEGER = re.compile(rb"(-?(?:0|[1-9][0-9]{0,17}))(?:\.0{1,9})?")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,2})?")


def integer(sent: JSON) -> bytes:
    """Return an integer as sent, or null for anything else. ``30.0`` and ``"30"`` become ``30``."""
    data = bytes(sent)
    if data.isdigit() and len(data) < _LONGEST:
        return data
    if data[:1] == b'"':
        data = data[1:-1]
    found = _INTEGER.fullmatch(data)
    return found[1] if found else NULL


def size(sent: JSON) -> bytes:
    """Return an integer above 0, or null for anything else. The platform sends 0 for data without a size."""
    data = bytes(sent)
    if data.isdigit() and data != b"0" and len(data) < _LONGEST:
        return data
    found = integer(data)
    return NULL if found[:1] in b"-0" else found


def number(sent: JSON) -> bytes:
    """Return a number as sent, or null for anything else."""
    found = _NUMBER.fullmatch(sent)
    return NULL if found is None else found[0]


def rate(sent: JSON) -> bytes:
    """Return a number above 0 as sent, or null for anything else. The platform sends 0 for "none"."""
    found = number(sent)
    return NULL if found == NULL or float(found) <= 0 else found


def text(sent: JSON) -> bytes:
    """Return a text as sent, or null for anything else."""
    data = bytes(sent)
    return data if data[:1] == b'"' else NULL


def seconds(milliseconds: JSON) -> bytes:
    """Convert milliseconds to seconds. Return null for anything that is not a number."""
    data = number(milliseconds)
    return NULL if data == NULL else msgspec.json.encode(float(data) / 1000)


def whole(value: int | None) -> bytes:
    """Return an integer or None as JSON."""
    return NULL if value is None else b"%d" % value
