"""Replaces unpaired surrogate escapes and invalid UTF-8 in JSON by U+FFFD.

JSON may contain escapes such as ``\\ud800`` that are only half of a UTF-16 pair (RFC 8259, section 8.2). They
are not characters, so strict readers reject the whole text.
"""

import re

# Matches each escape as a whole, so that the second backslash of an escaped backslash is not taken for the
# beginning of an escape. Group 1 is an unpaired surrogate.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def replace_unpaired_surrogates(json: bytes | bytearray) -> bytes:
    """Replace each unpaired surrogate escape by the escape of U+FFFD. The length does not change."""
    if not _SURROGATE.search(json):
        return bytes(json)
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], json)


def replace_invalid_text(json: bytes) -> bytes:
    """Replace unpaired surrogate escapes and invalid UTF-8 by U+FFFD."""
    return replace_unpaired_surrogates(json.decode(errors="replace").encode())


def has_invalid_text(json: bytes) -> bool:
    """Return whether `json` has an unpaired surrogate escape or invalid UTF-8."""
    return not (json.isascii() and b"\\" not in json) and replace_invalid_text(json) != json
