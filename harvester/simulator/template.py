"""Serialised JSON with holes: what rows share is serialised once, what differs is filled in."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

# Private-use characters: they occur in no text of ours, and orjson writes them as they are.
NUMBERED = re.compile(r"([a-z]+)(\d+)")
_SIGNED = "signed"
HOLE = re.compile('(?:"\ue002|\ue000)(.*?)(?:\ue001|\ue003")'.encode())


def hole(name: str) -> str:
    """Return the placeholder, within a JSON string, of the value called `name`."""
    return f"\ue000{name}\ue001"


def raw_hole(name: str) -> str:
    """Return the placeholder, as a whole JSON string, of the JSON called `name`."""
    return f"\ue002{name}\ue003"


def signed_hole(suffix: str) -> str:
    """Return the placeholder of a file's link, which is signed if the caller asked for it.

    `suffix`: what follows the row's path in the file's path.
    """
    return hole(_SIGNED + suffix)


class Template:
    """Serialised JSON, cut at its holes."""

    def __init__(self, value: Any) -> None:
        self._pieces = HOLE.split(orjson.dumps(value))
        self._holes = [(place, self._pieces[place].decode()) for place in range(1, len(self._pieces), 2)]
        named = sorted({name for _, name in self._holes})
        # Holes like `unit3`, as (name, what, number).
        self.parts = [
            (name, found[1], int(found[2])) for name in named if (found := NUMBERED.fullmatch(name))
        ]
        # Links that may be signed, as (name, suffix).
        self.signed = [(name, name.removeprefix(_SIGNED)) for name in named if name.startswith(_SIGNED)]

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """Return the JSON with every hole filled. Values are escaped text without its quotes, or JSON."""
        pieces = self._pieces.copy()
        for place, name in self._holes:
            pieces[place] = values[name]
        return b"".join(pieces)
