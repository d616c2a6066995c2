"""Values that records copy from a label row, held to the type of their key: JSON in, JSON out."""

import re

import msgspec

JSON = bytes | msgspec.Raw

NULL = b"null"
_LONGEST = 19  # digits: what is shorter is within 64 bits
_INTEGER = re.compile(rb"(-?(?:0|[1-9][0-9]{0,17}))(?:\.0{1,9})?")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,2})?")


def integer(sent: JSON) -> bytes:
    """An integer as sent; null for anything else. ``30.0`` is written as ``30``."""
    data = bytes(sent)
    if data.isdigit() and len(data) < _LONGEST:
        return data
    found = _INTEGER.fullmatch(data)
    return found[1] if found else NULL


def size(sent: JSON) -> bytes:
    """An integer above 0 as sent; null for anything else: 0 stands for none, where data has no size."""
    data = bytes(sent)
    if data.isdigit() and data != b"0" and len(data) < _LONGEST:
        return data
    found = integer(data)
    return NULL if found[:1] in b"-0" else found


def number(sent: JSON) -> bytes:
    """A number as sent; null for anything else."""
    found = _NUMBER.fullmatch(sent)
    return NULL if found is None else found[0]


def rate(sent: JSON) -> bytes:
    """A number above 0 as sent; null for anything else: 0 stands for none."""
    found = number(sent)
    return NULL if found == NULL or float(found) <= 0 else found


def text(sent: JSON) -> bytes:
    """A text as sent; null for anything else."""
    data = bytes(sent)
    return data if data[:1] == b'"' else NULL


def seconds(milliseconds: JSON) -> bytes:
    """Milliseconds, as seconds; null for anything that is no number."""
    data = number(milliseconds)
    return NULL if data == NULL else msgspec.json.encode(float(data) / 1000)


def whole(value: int | None) -> bytes:
    """An integer or None as JSON."""
    return NULL if value is None else b"%d" % value
