"""One way to write a value as JSON, so that a digest over it means the same on every machine."""

import hashlib
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:
    """JSON in UTF-8 without spaces, the keys of every object sorted."""
    return msgspec.json.encode(value, order="sorted")


def digest(value: Any, *, without: tuple[str, ...] = ()) -> str:
    """sha256, in hexadecimal, over the canonical JSON of a struct, leaving out the fields named."""
    fields = msgspec.to_builtins(value)
    return hashlib.sha256(canonical({k: v for k, v in fields.items() if k not in without})).hexdigest()
