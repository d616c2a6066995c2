"""Checks on the bytes of a whole JSON text: valid UTF-8, and line breaks."""

import codecs

from harvester.labels.wire import SentRow

# Bytes that are decoded in one step. So many stay in the processor's cache; with 64 KB it takes a fifth
# longer.
_STEP = 8 * 1024


def has_line_break(json: SentRow) -> bool:
    """Return whether a JSON text has a line break. In valid JSON, one can only be between values.

    Raises UnicodeDecodeError if the text is not valid UTF-8. msgspec does not check values that it skips or
    keeps raw, so they are checked here.
    """
    if isinstance(json, bytes | bytearray) and json.isascii():
        return b"\n" in json or b"\r" in json
    view, start, found = memoryview(json), 0, False
    while start < len(view):
        last = start + _STEP >= len(view)
        text, read = codecs.utf_8_decode(view[start : start + _STEP], "strict", last)
        found = found or "\n" in text or "\r" in text
        start += read
    return found
