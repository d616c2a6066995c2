"""``conversion.json``: what a data set is of, what is in it, and what was left out. It is written last."""

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from harvester.datasets.at_once import at_once
from harvester.datasets.counts import ConvertedCounts
from harvester.datasets.file_list import FILES, FileTotals, WrittenFile, check_list, listed_files
from harvester.errors import BadInput, CannotFinishNow, StoreAway, Unsound
from harvester.events import one_line
from harvester.output.canonical import convert, digest, indented, parse_object
from harvester.output.export_spec import Project
from harvester.output.layout import STATE
from harvester.output.store_address import is_address
from harvester.output.target import Target, open_target
from harvester.output.verify import Problem, Report
from harvester.schema import Count

CONVERSION = "conversion.json"
NEW = f"{STATE}/new"  # the folder of a data set that is being written into an object store
CONVERSION_VERSION = 2  # raised when a field of `Conversion` changes its meaning
_PIECE = 1024**2  # bytes that are read at once


class ConvertedExport(msgspec.Struct, frozen=True, kw_only=True):
    """The export that a data set was made of, as of its last sync.

    `digest` is that of its manifest. It does not cover the listing, whose sha256 is `listing`. `counts` are
    label rows by outcome.
    """

    project: Project
    digest: str
    listing: str | None
    counts: dict[str, Count]


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``conversion.json``.

    `to` is the format, `format_version` the version of the format's own schema. `options` and `selection` are
    the settings that are not at their defaults. `not_exported` are kinds of record that the format reads
    and that the export does not have. `records`, `remarks` and `tables` are as in
    `harvester.datasets.counts.Counts`. `files` sums up the list of the files, which is a file of its own, see
    `harvester.datasets.file_list`. `digest` covers all other fields.
    """

    version: int
    harvester: str
    to: str
    format_version: int
    options: dict[str, Any]
    selection: dict[str, Any]
    export: ConvertedExport
    not_exported: list[str]
    records: dict[str, ConvertedCounts]
    remarks: dict[str, Count]
    tables: dict[str, dict[str, dict[str, Count]]]
    files: FileTotals
    digest: str = ""


def write_conversion(place: Target, conversion: Conversion) -> Conversion:
    """Write ``conversion.json`` into `place`. Return it with its digest."""
    fields = {name: getattr(conversion, name) for name in conversion.__struct_fields__}
    sealed = msgspec.structs.replace(conversion, digest=_digest(fields))
    place.put(CONVERSION, indented(sealed))
    return sealed


def read_conversion(place: Target) -> Conversion | None:
    """Return the conversion in `place`, or None if there is no ``conversion.json``.

    Raises:
        Unsound: it is damaged.
    """
    try:
        if (data := place.read(CONVERSION)) is None:
            return None
        fields = parse_object(data)
        conversion = convert(fields, Conversion)
    except (ValueError, BadInput) as error:
        raise Unsound(one_line(f"cannot be read: {error}")) from error
    if conversion.digest != _digest(fields):
        raise Unsound("its digest does not fit what it says")
    return conversion


def is_data_set(name: str) -> bool:
    """Return whether a place has a ``conversion.json`` or its list of files, or is about to have it."""
    if not is_address(name):
        return any(os.path.lexists(os.path.join(name, each)) for each in (CONVERSION, FILES))
    there = open_target(name)
    return any(there.size_of(each) is not None for each in (CONVERSION, FILES, f"{NEW}/{CONVERSION}"))


def verify_conversion(name: Path | str) -> Report:
    """Check that the files of a data set are all there, with the bytes that were written. Blocking.

    Raises:
        StoreAway: the object store that it is in is away.
    """
    target = open_target(name)
    try:
        conversion = read_conversion(target)
    except Unsound as error:
        return Report([_problem(CONVERSION, error.message)])
    if conversion is None:
        return Report([_problem(CONVERSION, "is missing: a conversion is replacing the data set, or was")])
    try:
        check_list(target, conversion.files)
    except Unsound:
        return Report([_problem(FILES, "is missing or damaged")])
    wrong: dict[str, str] = {}

    def check(file: WrittenFile) -> None:
        if what := _wrong_with(target, file):
            wrong[file.name] = what

    with at_once() as checks:
        for file in listed_files(target, conversion.files):
            checks.start(partial(check, file))
    return Report([_problem(name, what) for name, what in sorted(wrong.items())])


def _wrong_with(target: Target, file: WrittenFile) -> str | None:
    size, sha256 = 0, hashlib.sha256()
    try:
        with target.open(file.name) as stream:
            while size <= file.bytes and (piece := stream.read(_PIECE)):
                size += len(piece)
                sha256.update(piece)
    except StoreAway:
        raise
    except (CannotFinishNow, BadInput, OSError) as error:
        return f"cannot be read: {error}"
    if size != file.bytes:
        return "is cut off or has grown"
    return None if sha256.hexdigest() == file.sha256 else "its bytes are not those that were written"


def _problem(name: str, what: str) -> Problem:
    return Problem(name, what, remedy="conversion")


def other_purpose(held: Conversion, wanted: Conversion) -> str | None:
    """Return how the purpose of a data set that is there differs from that of another, None if it does not.

    The export may have changed since, and so may the classes file and the place of media.
    """
    if held.export.project.hash != wanted.export.project.hash:
        return f"of project {held.export.project.title!r}"
    if held.to != wanted.to:
        return f"in the format {held.to}"
    for what, had, wants in (
        ("option", held.options, wanted.options),
        ("filter", held.selection, wanted.selection),
    ):
        for name in sorted(had.keys() | wants.keys()):
            if had.get(name) != wants.get(name) and name not in _MAY_CHANGE:
                return f"with another {what} {name} ({_said(had.get(name))}, not {_said(wants.get(name))})"
    return None


def _said(value: Any) -> str:
    return "none" if value is None else repr(value)


_MAY_CHANGE = ("classes", "media")


def _digest(fields: dict[str, Any]) -> str:
    return digest(fields, without=("digest",))
