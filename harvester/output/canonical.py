"""One way to write a value as JSON, so that a digest over it means the same on every machine.

Digests are taken of what stands in a file, not of what this version makes of it: so they hold for files
of other versions, and a changed key is found as well as a changed value.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:
    """JSON in UTF-8 without spaces, the keys of every object sorted."""
    return msgspec.json.encode(value, order="sorted")


def indented(value: Any) -> bytes:
    """JSON for people: indented, in the order of the fields."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def digest(fields: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> str:
    """sha256, in hexadecimal, over the canonical JSON of `fields`, leaving out those named."""
    covered = {name: value for name, value in fields.items() if name not in without}
    return hashlib.sha256(canonical(covered)).hexdigest()


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError where `data` is none."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
