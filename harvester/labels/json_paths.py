"""Where in a JSON text something stands, as a path that a user can follow: for texts that no parser takes."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from harvester.labels.surrogates import as_text

_NAMED = 3  # paths that a sentence names; the others are counted
_LONGEST = 200  # characters of a path, which may be made of keys that are texts of any length

# Possessive, so that the size of a text costs no memory: a whole string, a bracket, a sign, a word.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s"{}\[\],:]++', re.S)
_NOT_JSON = (b"NaN", b"Infinity", b"-Infinity")
_MAY_HOLD_NOT_JSON = re.compile(rb"\b(?:NaN|Infinity)\b")


def paths_of(json: bytes | bytearray | memoryview, odd: Callable[[bytes], bool]) -> Iterator[str]:
    """The paths, such as ``data_units.x.labels.objects[3]``, of the strings, keys and words that are `odd`.

    `odd` gets each as it stands in `json`, strings with their quotes. A key's path ends with the key.
    """
    path: list[bytes | int] = []  # of each open object or list the key, or the index, that is read
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
    """A phrase that names the first of `paths` and counts the others; "" where there is none."""
    paths = iter(paths)
    named = ", ".join(islice(paths, _NAMED))
    more = sum(1 for _ in paths)
    return f"{named} and {more:,} more" if more else named


def first_no_json(json: bytes | bytearray) -> tuple[str, str] | None:
    """The first NaN or infinity in `json`, which are no JSON, and its path; None without one."""
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
        return msgspec.json.decode(as_text(key), type=str)
    except msgspec.MsgspecError:
        return key.decode(errors="replace")
