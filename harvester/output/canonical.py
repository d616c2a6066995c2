"""Canonical JSON: equal values give equal bytes on every machine, so that digests can be compared.

A digest is taken over the JSON in the file, not over the structure that this version parses from it. It
therefore also holds for files of other versions, and an added key is noticed like a changed value.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from harvester.errors import BadInput

T = TypeVar("T")


def canonical(value: Any) -> bytes:
    """Encode `value` as JSON in UTF-8 without spaces, with the keys of every object sorted."""
    return msgspec.json.encode(value, order="sorted")


def indented(value: Any) -> bytes:
    """Encode `value` as indented JSON for people to read, with keys in the order of the fields."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def digest(fields: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> str:
    """Return the sha256, in hexadecimal, over the canonical JSON of `fields` except those in `without`."""
    covered = {name: value for name, value in fields.items() if name not in without}
    return hashlib.sha256(canonical(covered)).hexdigest()


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError if `data` is not one."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def check_keys(
    name: str, counts: Mapping[str, Any], keys: Collection[str], *, all_of_them: bool = False
) -> None:
    """Raise ValueError if the dictionary `name` has other keys, or lacks one if it needs all of them."""
    if not counts.keys() <= set(keys) or (all_of_them and len(counts) < len(keys)):
        raise ValueError(f"{name} has other keys than {', '.join(keys)}")


def convert(fields: Mapping[str, Any], type: type[T]) -> T:
    """Convert a parsed JSON object to a structure, whose types are checked. Raises ValueError."""
    try:
        return msgspec.convert(fields, type)
    except BadInput as error:  # raised by settings with values that no flag accepts
        raise ValueError(error.message) from error
