"""Find the paths of strings and words in a JSON text, also in one that is invalid and that no parser accepts.

The paths are for messages, so that a user finds the value in question.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from harvester.labels.surrogates import replace_invalid_text

_NAMED = 3  # the number of paths that a message names; further ones are only counted
_LONGEST = 200  # the most characters of a path in a message; keys may have any length

# A token: a whole string, a bracket, a colon or comma, or a word such as a number. Possessive quantifiers, so
# that long strings need no memory for backtracking.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s"{}\[\],:]++', re.S)
_NOT_JSON = (b"NaN", b"Infinity", b"-Infinity")
_MAY_HOLD_NOT_JSON = re.compile(rb"\b(?:NaN|Infinity)\b")


def paths_of(json: bytes | bytearray | memoryview, odd: Callable[[bytes], bool]) -> Iterator[str]:
    """Yield the paths, such as ``data_units.x.labels.objects[3]``, of the tokens for which `odd` is true.

    `odd` is called with each string, key, number and word as in `json`, strings with their quotes. The path
    of a key ends with that key.
    """
    path: list[bytes | int] = []  # for each open object its current key, for each open list its current index
    at_key = False
    for found in _TOKEN.finditer(json):
        token = found[0]
        if token == b"{" or token == b"[":
            at_key = token == b"{"
            path.append(b'""' if at_key else 0)
        elif token == b"}" or token == b"]":
            at_key = False
            del path[-1:]
        elif token == b",":
            if path and isinstance(last := path[-1], int):
                path[-1] = last + 1
            else:
                at_key = True
        elif token == b":":
            at_key = False
        else:
            if at_key and path:
                path[-1] = token
            if odd(token):
                yield _shown(path)


def where(paths: Iterable[str]) -> str:
    """Return a phrase that names the first paths and counts the others, or "" if there are no paths."""
    paths = iter(paths)
    named = ", ".join(islice(paths, _NAMED))
    more = sum(1 for _ in paths)
    return f"{named} and {more:,} more" if more else named


def first_invalid_number(json: bytes | bytearray) -> tuple[str, str] | None:
    """Return the first NaN or infinity in `json` and its path, or None. JSON has no such numbers."""
    if not _MAY_HOLD_NOT_JSON.search(json):
        return None
    word = b""

    def odd(token: bytes) -> bool:
        nonlocal word
        word = token
        return token in _NOT_JSON

    path = next(paths_of(json, odd), None)
    return None if path is None else (word.decode(), path)


def _shown(path: list[bytes | int]) -> str:
    shown = "".join(f"[{at}]" if isinstance(at, int) else f".{_text(at)}" for at in path).lstrip(".")
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]}…{shown[-_LONGEST // 2 :]}"


def _text(key: bytes) -> str:
    try:
        return msgspec.json.decode(replace_invalid_text(key), type=str)
    except msgspec.MsgspecError:
        return key.decode(errors="replace")
