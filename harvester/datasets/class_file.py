"""The classes of a data set, in order: as the ontology has them, or as a classes file says.

A classes file has one class a line, in the order wanted::

    # a line that begins with # is a comment
    Car
    Truck = Lorry, "Van, small"
    Person = 4a1b77c0

A line names a class of the data set and, after ``=``, the classes of the ontology that become it, each by its
name or by its feature hash. A line without ``=`` takes one class as it is. A name that holds a comma, an
equals sign or a quotation mark, or begins with ``#``, is written as a JSON string. A class of the ontology
that no line names is left out.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from harvester.errors import BadInput, did_you_mean
from harvester.events import one_line

_LARGEST = 4 * 1024**2  # bytes of a classes file
# A name, as a JSON string or as it is, and what separates it from the next one.
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([^",=]*?))\s*([,=]|$)')

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


class KnownClass(NamedTuple):
    """A class of the project: its feature hash and its name in the ontology."""

    feature_hash: str
    name: str


class DatasetClass(NamedTuple):
    """A class of the data set, and the feature hashes in the ontology of what becomes it."""

    name: str
    feature_hashes: tuple[str, ...]


class ClassList:
    """The classes of a data set in order, and which of them a feature hash becomes."""

    def __init__(self, classes: Iterable[DatasetClass]) -> None:
        self.classes = tuple(classes)
        self._position = {
            feature_hash: position
            for position, one in enumerate(self.classes)
            for feature_hash in one.feature_hashes
        }

    @property
    def names(self) -> list[str]:
        """The names of the classes, in order."""
        return [one.name for one in self.classes]

    def position(self, feature_hash: str | None) -> int | None:
        """Return the position, from 0, of the class of a feature hash. None: it is not in the data set."""
        return None if feature_hash is None else self._position.get(feature_hash)


def class_list(known: Iterable[KnownClass], file: Path | None) -> ClassList:
    """Return the classes as the `file` has them; without one, all of `known`, one for each feature hash.

    Raises:
        BadInput: the file cannot be read, or a line of it is not usable. The message names the line.
    """
    if file is None:
        return ClassList(DatasetClass(one.name, (one.feature_hash,)) for one in known)
    return ClassList(_read_lines(_text_of(file), list(known), one_line(str(file))))


def _text_of(file: Path) -> str:
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise BadInput(one_line(f"{file} is no regular file, and it is read more than once"))
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise BadInput(one_line(f"{file} is too large for a list of classes"))
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(one_line(f"{file} is not UTF-8")) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(one_line(f"{file} cannot be read: {reason}")) from error


def _read_lines(text: str, known: list[KnownClass], where: str) -> list[DatasetClass]:
    """Return the classes that the lines of a classes file make of the `known` ones. Raises BadInput."""
    by_name: dict[str, list[str]] = {}
    for one in known:
        by_name.setdefault(one.name, []).append(one.feature_hash)
    name_of = {one.feature_hash: one.name for one in known}
    found: dict[str, tuple[str, ...]] = {}
    line_of: dict[str, int] = {}  # the line that names a feature hash
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            new, old = _parsed(line)
            hashes: list[str] = []
            for name in old or [new]:
                hashes += _hashes_of(name, by_name, name_of)
            for feature_hash in hashes:
                first = line_of.setdefault(feature_hash, number)
                if first != number or hashes.count(feature_hash) > 1:
                    raise ValueError(f"{name_of[feature_hash]!r} is named twice, first in line {first}")
            name = new if old or new in by_name else name_of[new]
            if name in found:
                raise ValueError(f"there are two classes {name!r}")
            found[name] = tuple(hashes)
        except ValueError as error:
            raise BadInput(one_line(f"{where}, line {number}: {error}")) from None
    if not found:
        raise BadInput(f"{where} names no class")
    return [DatasetClass(name, hashes) for name, hashes in found.items()]


def _parsed(line: str) -> tuple[str, list[str]]:
    """Return the new name of a line, and the old names after its ``=``. Raises ValueError."""
    names: list[str] = []
    start = 0
    while True:
        token = _TOKEN.match(line, start)
        if token is None:
            raise ValueError("a name with quotation marks, a comma or '=' is written as a JSON string")
        names.append(json.loads(token[1]) if token[1] else token[2])
        if not names[-1]:
            raise ValueError("a name is missing")
        if _HALF_A_CHARACTER.search(names[-1]):
            raise ValueError("a name holds half of a character (an unpaired surrogate)")
        start = token.end()
        if not token[3]:
            return names[0], names[1:]
        if (token[3] == "=") != (len(names) == 1):
            raise ValueError("a line is written as: new name = old name, other old name")


def _hashes_of(name: str, by_name: dict[str, list[str]], name_of: dict[str, str]) -> list[str]:
    if name in by_name:  # several classes may have the same name
        return by_name[name]
    if name in name_of:
        return [name]
    guess = did_you_mean(name, by_name)
    raise ValueError(f"the project has no class {name!r}" + (f": {guess}" if guess else ""))
