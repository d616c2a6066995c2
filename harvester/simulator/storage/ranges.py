"""The Range header (RFC 9110, section 14)."""

import re
from collections.abc import Mapping

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def wanted_range(headers: Mapping[str, str], size: int, tag: str) -> range | None:
    """Return the bytes that a request wants.

    None: all of them, also where it wants several ranges, or only ranges of another version (If-Range). An
    empty range: none that there are.

    Args:
        size: bytes of the object.
        tag: its ETag.
    """
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or headers.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1 if last else size, size))
