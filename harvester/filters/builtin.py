"""The filters that come with harvester, each with the fields of the record that it needs."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from harvester.filters.fields import Fields
from harvester.settings import Selection

BOTH = ("objects", "classifications")


class RecordFilter(NamedTuple):
    """A filter over single records: which `kinds` it concerns, which fields it `needs`, what it `keeps`."""

    name: str
    kinds: tuple[str, ...]
    needs: tuple[str, ...]
    keeps: Callable[[Fields], bool]


def builtin_filters(selection: Selection, feature_names: Mapping[str, str]) -> list[RecordFilter]:
    """The filters that `selection` asks for, in the order in which they are tried.

    `feature_names` are the ontology's names by feature hash; they win over the copies in a record.

    A shape is a property of objects: the shape filter leaves classifications alone. As for the SDK, an
    absent confidence counts as 1 and an absent ``manualAnnotation`` as made by hand.
    """
    shapes, names, features = (
        frozenset(selection.shapes),
        frozenset(selection.names),
        frozenset(selection.feature_hashes),
    )
    authors, least, manual = frozenset(selection.authors), selection.min_confidence, selection.manual
    filters: list[RecordFilter] = []
    if shapes:
        filters.append(RecordFilter("shape", ("objects",), ("shape",), lambda label: label.shape in shapes))
    if names:
        filters.append(
            RecordFilter(
                "name",
                BOTH,
                ("feature_hash", "name"),
                lambda label: feature_names.get(label.feature_hash or "", label.name) in names,
            )
        )
    if features:
        filters.append(
            RecordFilter(
                "feature_hash", BOTH, ("feature_hash",), lambda label: label.feature_hash in features
            )
        )
    if selection.approved:
        filters.append(RecordFilter("approved", BOTH, ("reviews",), _approved))
    if least is not None:
        filters.append(
            RecordFilter(
                "min_confidence",
                BOTH,
                ("confidence",),
                lambda label: (1.0 if label.confidence is None else label.confidence) >= least,
            )
        )
    if authors:
        filters.append(
            RecordFilter("author", BOTH, ("created_by",), lambda label: label.created_by in authors)
        )
    if manual is not None:
        filters.append(
            RecordFilter(
                "manual" if manual else "automated",
                BOTH,
                ("manual_annotation",),
                lambda label: (label.manual_annotation is not False) == manual,
            )
        )
    return filters


def _approved(label: Fields) -> bool:
    """Whether the last review, in the order sent, approved the label."""
    if not label.reviews:
        return False
    last = label.reviews[-1]
    return last.approved if last.approved is not None else (last.status or "").upper() == "APPROVED"
