"""Converts a finished export into a data set: the job behind `harvester convert`. Asks the server nothing."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from harvester.dataset_options import ConvertOptions
from harvester.datasets.choosing import Choice
from harvester.datasets.conversion import CONVERSION_VERSION, Conversion, ConvertedExport
from harvester.datasets.counts import Counts
from harvester.datasets.file_list import FileTotals
from harvester.datasets.finished_export import FinishedExport
from harvester.datasets.formats import DatasetFormat, load
from harvester.datasets.replacing import Replacement, place_of, replaced
from harvester.datasets.stored import replaced_in_store
from harvester.errors import BadInput
from harvester.events import Counters, one_line
from harvester.filters.given import Filters, with_filters
from harvester.filters.naming import stored_name
from harvester.filters.own import OwnFilter
from harvester.output.objectstore import ObjectStoreTarget
from harvester.output.target import open_target
from harvester.plan.listing_filter import FLAGS
from harvester.plan.status import RECORD_FIELDS
from harvester.schema import Kind
from harvester.settings import Selection

_NO_FUNCTIONS: Mapping[str, OwnFilter] = {}


def convert(
    target: Path | str,
    out: Path | str,
    *,
    to: str,
    filters: Filters = (),
    selection: Selection = Selection(),
    **options: Any,
) -> Conversion:
    """Convert the finished export in `target` into a data set in `out`. Blocking.

    Args:
        target, out: a directory or the address of an object store.
        out: replaced if it is an earlier conversion of the same.
        to: the format, see `harvester.dataset_options.DATASET_FORMATS`.
        filters: paths ``package.module:callable``, or functions: each gets a record and says whether to keep
            it.
        selection: of its fields, only those that choose among records may be set.
        options: the other fields of `harvester.ConvertOptions`, such as ``split="train=0.8,val=0.2"``.

    Raises:
        BadInput, Unsound, TargetRefused, CannotFinishNow: as `convert_export` does.
    """
    selection, functions = with_filters(selection, filters, stored_name)
    try:
        made = msgspec.convert({"to": to, **options}, ConvertOptions, dec_hook=lambda _, given: Path(given))
    except msgspec.ValidationError as error:
        raise BadInput(one_line(f"wrong option of convert: {error}")) from error
    return convert_export(target, out, made, selection, functions=functions)


def convert_export(
    target: Path | str,
    out: Path | str,
    options: ConvertOptions,
    selection: Selection = Selection(),
    *,
    functions: Mapping[str, OwnFilter] = _NO_FUNCTIONS,
    counters: Counters | None = None,
    keep_on: Callable[[], object] = lambda: None,
) -> Conversion:
    """Convert the finished export in `target` into a data set in `out`. Blocking.

    Args:
        target, out: a directory or the address of an object store.
        out: replaced if it is an earlier conversion of the same.
        options: the format and its options.
        selection: of its fields, only those that choose among records may be set.
        functions: filters by name, used instead of importing those that `selection` names.
        counters: how far it is: label rows and records that were read.
        keep_on: called for each label row; it may raise to stop, and then `out` stays as it was.

    Raises:
        BadInput: wrong options; or no finished export.
        Unsound: the export is damaged.
        TargetRefused: `out` holds something else, or another process makes it.
        CannotFinishNow: the disk is in trouble.
    """
    _check_selection(selection)
    export = FinishedExport(target)
    format = load(options.to)
    _check_options(format, options, export)
    format.check(export, options)
    counts = Counts()
    counters = counters or Counters()
    counters.listed = export.counts["harvested"]

    def on_rows(kinds: Collection[Kind], number: int) -> None:
        keep_on()
        if "objects" in kinds:  # a format may read the rows once for each kind, and most records are objects
            counters.harvested = min(counters.listed, counters.harvested + number)
        for kind in kinds:
            setattr(counters, kind, counts.of(kind).read)

    choice = Choice(export, selection, counts, functions, on_rows)
    begun = _describe(export, format, options, selection)
    with _replacement(out, export, begun, keep_on) as (output, finish):
        with export.damage_named():
            format.write(choice, export, options, output, counts)
        assert not choice.unfinished, f"{choice.unfinished} were not read to the end"
        counts.check()
        counters.harvested = counters.listed  # rows without objects may not have been counted
        found = counts.in_order()
        done = msgspec.structs.replace(
            begun,
            records=found.records,
            remarks=found.remarks,
            tables=found.tables,
            files=output.put_list(),
        )
        return finish(done)


def _replacement(
    out: Path | str, export: FinishedExport, begun: Conversion, keep_on: Callable[[], object]
) -> AbstractContextManager[Replacement]:
    place = open_target(out)
    if isinstance(place, ObjectStoreTarget):
        export.check_is_outside(place.name)
        return replaced_in_store(place, begun, keep_on)
    export.check_is_outside(str(place_of(out)))
    return replaced(out, begun)


def _check_options(format: DatasetFormat, options: ConvertOptions, export: FinishedExport) -> None:
    default = ConvertOptions(to=options.to, processes=options.processes)
    for field in options.__struct_fields__:
        if getattr(options, field) != getattr(default, field) and field not in format.options:
            raise BadInput(f"--to {options.to} does not take --{field.replace('_', '-')}")
    missing = [kind for kind in format.required if kind not in export.kinds]
    if missing:
        raise BadInput(
            f"--to {options.to} needs {' and '.join(missing)}, which {export.name} does not have: "
            f"export with --emit {','.join(dict.fromkeys((*export.kinds, *missing)))}"
        )


def _check_selection(selection: Selection) -> None:
    for field in _given(selection):
        if field not in RECORD_FIELDS:
            raise BadInput(f"{FLAGS[field]} is for export: a conversion chooses among records only")


def _describe(
    export: FinishedExport, format: DatasetFormat, options: ConvertOptions, selection: Selection
) -> Conversion:
    """Return the conversion as it is known before anything is read."""
    given = _given(options)
    given.pop("to")
    given.pop("processes", None)
    if options.classes is not None:
        given["classes"] = _sha256(options.classes)
    if options.media is not None:
        given["media"] = True  # where it is differs from machine to machine
    return Conversion(
        version=CONVERSION_VERSION,
        harvester=version("encord-harvester"),
        to=options.to,
        format_version=format.version,
        options=given,
        selection=_given(selection),
        export=ConvertedExport(
            project=export.manifest.project,
            digest=export.manifest.digest,
            listing=export.listing_sha256,
            counts=export.counts,
        ),
        not_exported=[kind for kind in format.kinds if kind not in export.kinds],
        records={},
        remarks={},
        tables={},
        files=FileTotals(0, 0, ""),
    )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(one_line(f"{path}: {error.strerror}")) from error


def _given(settings: msgspec.Struct) -> dict[str, Any]:
    """Return the settings that are not at their defaults, as JSON has them."""
    default = {field.name: field.default for field in msgspec.structs.fields(settings)}
    return {
        name: msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))
        for name in settings.__struct_fields__
        if (value := getattr(settings, name)) != default[name]
    }
