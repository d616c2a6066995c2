"""JSON text that stands for no text: unpaired surrogates, and bytes that are no UTF-8."""

import re

# Escapes one by one, so that a backslash that is itself escaped begins none.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def with_pairs_only(json: bytes | bytearray) -> bytes:
    """`json`, as long as before, with U+FFFD in place of each escaped surrogate that is half a pair."""
    if not _SURROGATE.search(json):
        return bytes(json)
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], json)


def as_text(json: bytes) -> bytes:
    """`json` with U+FFFD in place of all that stands for no text."""
    return with_pairs_only(json.decode(errors="replace").encode())


def is_no_text(json: bytes) -> bool:
    """Whether `json` holds what stands for no text."""
    return not (json.isascii() and b"\\" not in json) and as_text(json) != json
