"""The built-in filters over records. Each names the fields of the record that it reads."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from harvester.filters.fields import Fields
from harvester.settings import Selection

BOTH = ("objects", "classifications")


class RecordFilter(NamedTuple):
    """A built-in filter over records.

    `kinds` are the kinds of records that it applies to, and `needs` the fields that it reads. `keeps` takes
    the fields of many records and returns for each whether it is kept: one call per record would be slower.
    """

    name: str
    kinds: tuple[str, ...]
    needs: tuple[str, ...]
    keeps: Callable[[list[Fields]], list[bool]]


def builtin_filters(
    selection: Selection, feature_names: Mapping[str, str], feature_shapes: Mapping[str, str]
) -> list[RecordFilter]:
    """Return the filters that `selection` asks for, in the order in which they are applied.

    `feature_names` and `feature_shapes` are the names and shapes in the ontology by feature hash. A name in
    the ontology overrides the one in a record. A shape in the ontology is used if a record has none.

    Only objects have shapes, so the shape filter does not apply to classifications. As in the SDK, a missing
    confidence counts as 1, and a missing ``manualAnnotation`` as true (made by hand).
    """
    shapes, names = frozenset(selection.shapes), frozenset(selection.names)
    features, authors = frozenset(selection.feature_hashes), frozenset(selection.authors)
    least, manual = selection.min_confidence, selection.manual
    filters: list[RecordFilter] = []

    def add(
        name: str,
        needs: tuple[str, ...],
        keeps: Callable[[list[Fields]], list[bool]],
        kinds: tuple[str, ...] = BOTH,
    ) -> None:
        filters.append(RecordFilter(name, kinds, needs, keeps))

    if shapes:
        shape_of = feature_shapes.get
        add(
            "shape",
            ("feature_hash", "shape"),
            lambda labels: [(one.shape or shape_of(one.feature_hash or "")) in shapes for one in labels],
            ("objects",),
        )
    if names:
        known = feature_names.get
        add(
            "name",
            ("feature_hash", "name"),
            lambda labels: [known(one.feature_hash or "", one.name) in names for one in labels],
        )
    if features:
        add(
            "feature_hash", ("feature_hash",), lambda labels: [one.feature_hash in features for one in labels]
        )
    if selection.approved:
        add("approved", ("reviews",), lambda labels: [_approved(one) for one in labels])
    if least is not None:
        add(
            "min_confidence",
            ("confidence",),
            lambda labels: [(1.0 if one.confidence is None else one.confidence) >= least for one in labels],
        )
    if authors:
        add("author", ("created_by",), lambda labels: [one.created_by in authors for one in labels])
    if manual is not None:
        add(
            "manual" if manual else "automated",
            ("manual_annotation",),
            lambda labels: [(one.manual_annotation is not False) == manual for one in labels],
        )
    return filters


def _approved(label: Fields) -> bool:
    """Return whether the last review, in the order sent, approved the label."""
    if not label.reviews:
        return False
    last = label.reviews[-1]
    return last.approved if last.approved is not None else (last.status or "").upper() == "APPROVED"
