"""Finds the predicate that left nothing, if an export ends without any row or without any record."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from harvester.events import one_line
from harvester.expression import Where
from harvester.output import planfile
from harvester.output.commit import Commit, KindCounts
from harvester.output.manifest import Manifest
from harvester.output.planfile import PlanHeader
from harvester.output.target import Target
from harvester.plan.listing_filter import FLAGS, ListingFilter, as_listed
from harvester.plan.status import places
from harvester.settings import Format, Selection

LABELS = ("objects", "classifications")  # the kinds of record that predicates choose among
_LONGEST = 100  # characters of a predicate that are shown

# Filters over records and the fields of `Selection` that they come from, in the order of evaluation. The
# user's own functions come after these. A test holds this to `Chain`.
RECORD_FILTERS: Mapping[str, str] = {
    "shape": "shapes",
    "name": "names",
    "feature_hash": "feature_hashes",
    "approved": "approved",
    "min_confidence": "min_confidence",
    "author": "authors",
    "manual": "manual",
    "automated": "manual",
    "where": "where",
}


class NothingLeft(msgspec.Struct, frozen=True, kw_only=True):
    """Why no row, or no record of a kind, is left.

    `message` is one line for the user. `flags` are the predicates that left nothing, as spelt on the
    command line; several if it is unknown which of them did. `lacking` are the fields that the expression of
    ``--where`` reads and that no record had.
    """

    message: str
    flags: list[str] = []
    lacking: list[str] = []


def nothing_left(
    selection: Selection,
    format: Format,
    counts: Mapping[str, int],
    records: Mapping[str, KindCounts],
    *,
    lacking: Iterable[str],
    ruled_out: Callable[[], tuple[str, int] | None],
) -> list[NothingLeft]:
    """Return what `selection` left nothing of. Empty if there are records, or if rows failed instead.

    `counts` and `records` are those of a manifest. `ruled_out` returns what `ListingFilter.last` does. It may
    read the whole plan, so it is called only if no row is left.
    """
    if not counts["listed"]:
        return [_none_listed(selection)]
    if counts["harvested"]:
        return _no_records(selection, format, counts["harvested"], records, lacking)
    if counts["failed"]:
        return []
    if counts["unlabelled"]:
        return [_none_labelled(selection, counts["unlabelled"])]
    field, rows = ruled_out() or ("shadow_data_state", counts["filtered"])  # which a plan does not keep
    flag = _spelt(selection, field)
    return [_nothing(f"no label row is left: {flag} ruled out all {rows:,}", [flag])]


def nothing_left_in(
    target: Target, plan: PlanHeader, manifest: Manifest, commits: Mapping[int, Commit]
) -> list[NothingLeft]:
    """Return what the selection of a finished export left nothing of. Blocking.

    Empty if the export has been synced, as a sync may have added records.
    """

    def ruled_out() -> tuple[str, int] | None:
        decide = ListingFilter(manifest.selection)
        for row in planfile.rows(target, plan):
            decide(as_listed(row))
        return decide.last()

    if manifest.last:
        return []
    lacking = [set(commit.lacking) for commit in commits.values() if commit.lacking is not None]
    return nothing_left(
        manifest.selection,
        manifest.options,
        manifest.counts,
        manifest.records,
        lacking=set.intersection(*lacking) if lacking else (),
        ruled_out=ruled_out,
    )


def _none_listed(selection: Selection) -> NothingLeft:
    flags = _of_rows(selection, places(selection).server)
    if not flags:
        return _nothing("the project lists no label row", [])
    more = "; harvester plan --explain counts what each of them leaves" if len(flags) > 1 else ""
    return _nothing(f"no label row is listed with {' '.join(flags)}{more}", flags)


def _none_labelled(selection: Selection, rows: int) -> NothingLeft:
    chosen = places(selection)
    flags = _of_rows(selection, (*chosen.server, *chosen.listing))
    which = f" with {' '.join(flags)}" if flags else ""
    return _nothing(f"no label is left: none of the {rows:,} rows{which} has been labelled yet", flags)


def _no_records(
    selection: Selection,
    format: Format,
    rows: int,
    records: Mapping[str, KindCounts],
    lacking: Iterable[str],
) -> list[NothingLeft]:
    kinds = {kind: records.get(kind, KindCounts()) for kind in LABELS if kind in format.kinds}
    none_written = not any(counts.written for counts in kinds.values())
    if any(counts.seen for counts in kinds.values()):
        dropped = {
            kind: _last(selection, counts)
            for kind, counts in kinds.items()
            if counts.seen and not counts.written
        }
        return [
            _all_dropped(selection, kind, name, kinds[kind].dropped[name], lacking)
            for kind, name in dropped.items()
            if none_written or _is_of(selection, name, kind)
        ]
    if not kinds:
        return []
    if selection.feature_hashes:  # the server was asked for labels of these alone
        flag = _spelt(selection, "feature_hashes")
        return [_nothing(f"no label is left: none of {rows:,} label rows has one of {flag}", [flag])]
    if any(counts.written for counts in records.values()):
        return []
    chosen = places(selection)
    flags = [*_of_rows(selection, (*chosen.server, *chosen.listing)), f"--emit {','.join(format.kinds)}"]
    what = " or ".join(kind[:-1] for kind in kinds)
    return [_nothing(f"no record: none of {rows:,} label rows has any {what} ({' '.join(flags)})", flags)]


def _last(selection: Selection, counts: KindCounts) -> str:
    """Return the filter that left nothing of a kind: the last that dropped any; later ones got none."""
    return [name for name in (*RECORD_FILTERS, *selection.filters) if counts.dropped.get(name)][-1]


def _is_of(selection: Selection, name: str, kind: str) -> bool:
    """Return whether a filter concerns records of this kind only."""
    if name == "where" and selection.where:
        kinds = Where(selection.where).kinds
    else:
        kinds = ("objects",) if name == "shape" else LABELS
    return kinds == (kind,)


def _all_dropped(
    selection: Selection, kind: str, name: str, number: int, lacking: Iterable[str]
) -> NothingLeft:
    flag = _spelt(selection, RECORD_FILTERS[name]) if name in RECORD_FILTERS else _flag("filters", name)
    message = f"no {kind[:-1]} is left: {flag} dropped all {number:,}"
    fields = shortest(lacking) if name == "where" else []
    if fields:
        message += f"; no record has {' or '.join(fields)}"
    return _nothing(message, [flag], fields)


def shortest(fields: Iterable[str]) -> list[str]:
    """Return the dotted `fields` without those that have a prefix among them, sorted."""
    fields = set(fields)
    starts = {field: field.split(".")[:-1] for field in fields}
    return sorted(
        field
        for field, start in starts.items()
        if not any(".".join(start[:end]) in fields for end in range(1, len(start) + 1))
    )


def _nothing(message: str, flags: list[str], fields: Iterable[str] = ()) -> NothingLeft:
    return NothingLeft(message=one_line(message), flags=flags, lacking=list(fields))


def _of_rows(selection: Selection, fields: Iterable[str]) -> list[str]:
    return [_spelt(selection, field) for field in fields if field != "include_all_label_branches"]


def _spelt(selection: Selection, field: str) -> str:
    value: Any = getattr(selection, field)
    return _flag(field, ",".join(value) if isinstance(value, tuple) else value)


def _flag(field: str, value: object) -> str:
    """Return a predicate as spelt on the command line, like ``--name Car``."""
    if isinstance(value, bool):
        return FLAGS[field].split("/")[not value]  # --manual/--automated
    return one_line(f"{FLAGS[field]} {shlex.quote(str(value))}", limit=_LONGEST)
