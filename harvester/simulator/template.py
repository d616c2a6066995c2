"""Serialised JSON with holes: what many rows have in common is made once, a row's own is spliced in."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

# Private-use characters: they occur in no text of ours, and orjson writes them as they are.
NUMBERED = re.compile(r"([a-z]+)(\d+)")
_SIGNED = "signed"
HOLE = re.compile('(?:"\ue002|\ue000)(.*?)(?:\ue001|\ue003")'.encode())


def hole(name: str) -> str:
    """Stands in a JSON string for the value called `name`."""
    return f"\ue000{name}\ue001"


def raw_hole(name: str) -> str:
    """Stands, alone in its string, for JSON called `name`."""
    return f"\ue002{name}\ue003"


def signed_hole(suffix: str) -> str:
    """Stands in a JSON string for the link of a file, signed where the caller asked for it.

    `suffix`: what the file's path has after that of its row.
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
        """The JSON with every hole filled; the values are text as it stands between JSON quotes, or JSON."""
        pieces = self._pieces.copy()
        for place, name in self._holes:
            pieces[place] = values[name]
        return b"".join(pieces)
