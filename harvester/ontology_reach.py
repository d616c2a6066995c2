"""How far a change of the ontology reaches beyond the live records that hold it. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from harvester.expression import Where
from harvester.filters import ServerSide, request_selection, server_side
from harvester.labels.objects import RANGE_SHAPES
from harvester.labels.ontology import read_ontology
from harvester.labels.ontology_changes import OntologyDifferences, Root
from harvester.settings import Format, Selection

# Keys of a record that are filled in from the ontology, and those that a global classification has otherwise.
_FROM_ONTOLOGY = frozenset({"name", "shape", "attributes", "dynamic_attributes", "answers"})
_OF_PLACEMENT = frozenset({"frame", "ranges"})


class Reach(NamedTuple):
    """What an export chooses and writes: what changes of the ontology can reach."""

    selection: Selection
    format: Format


class _RootChange(NamedTuple):
    """An object or classification before and now; None where the ontology has not got it."""

    feature: str
    before: Root | None
    now: Root | None

    @property
    def title(self) -> str:
        root = self.now or self.before
        assert root is not None
        return root.name

    @property
    def becomes_shown(self) -> bool:
        """Whether it was archived before, so that its labels were not sent, and is not archived now."""
        return bool(self.before and self.before.archived and not (self.now and self.now.archived))

    @property
    def is_shown_otherwise(self) -> bool:
        return bool(self.before and self.before.archived) != bool(self.now and self.now.archived)

    @property
    def is_placed_otherwise(self) -> bool:
        """Whether `whole_row_placement` decides otherwise now about a classification without a range."""
        return self.is_classification and _placed(self.before) != _placed(self.now)

    @property
    def is_ranged_otherwise(self) -> bool:
        """Whether an object stands on ranges now and did not before, or the reverse, if it says no shape."""
        return (
            self.before is not None
            and self.now is not None
            and (self.before.shape in RANGE_SHAPES) != (self.now.shape in RANGE_SHAPES)
        )

    @property
    def is_classification(self) -> bool:
        return (self.now or self.before or _NO_ROOT).kind == "classifications"


_NO_ROOT = Root("objects", "", "", False, False, (), {}, frozenset())


def _placed(root: Root | None) -> bool | None:
    return root.is_global if root else None


def hidden_or_shown(differences: OntologyDifferences) -> frozenset[str]:
    """The objects and classifications that were archived, or are not archived any more."""
    return frozenset(
        feature for feature in differences.roots if _root_change(differences, feature).is_shown_otherwise
    )


def why_all(
    differences: OntologyDifferences, before: bytes | None, now: bytes | None, reach: Reach
) -> str | None:
    """Why rows that hold nothing of what differs may have other records now; None where none has.

    `before` and `now` are the ontologies that differ. What live records do not hold may have been left out:
    by the server, by a filter, or because it had no range.
    """
    return next(_reasons(differences, before, now, reach), None)


def _reasons(
    differences: OntologyDifferences, before: bytes | None, now: bytes | None, reach: Reach
) -> Iterator[str]:
    selection, kinds = reach.selection, frozenset(reach.format.kinds)
    every_change = [_root_change(differences, feature) for feature in differences.roots]
    changes = [
        one
        for one in every_change
        if not selection.feature_hashes or "rows" in kinds or one.feature in selection.feature_hashes
    ]
    changes = [one for one in changes if kinds & {"rows", _kind(one)}]
    for change in changes:
        if change.becomes_shown and not selection.include_archived:
            yield f"labels of {change.title} were not sent while it was archived"
    changes = [one for one in changes if _kind(one) in kinds]
    for change in changes:
        if change.is_placed_otherwise and change.before and not change.before.is_global:
            yield f"{change.title} was left out where it had no range"
        if change.is_ranged_otherwise and change.now and change.now.shape in RANGE_SHAPES:
            yield f"{change.title} was left out where it had no shape for its ranges"
        if selection.names and _is_named_otherwise(change, selection):
            yield f"--name is chosen by names, and that of {change.title} is another"
    if changes and selection.filters:
        yield "--filter may choose by names and answers"
    if changes and selection.where and _where_reads(selection.where, changes):
        yield "--where chooses by what has changed"
    for change in changes:
        if _is_shaped_otherwise(change, selection):
            yield f"--shape is chosen by shapes, and that of {change.title} is another"
    if "units" in kinds:
        yield from _in_units(every_change, before, now, reach)


def _in_units(
    changes: list[_RootChange], before: bytes | None, now: bytes | None, reach: Reach
) -> Iterator[str]:
    """Why a row may have other units, or one of them another `dropped`: what filters have dropped.

    A space that the row does not list is a unit where labels name it, be they of a kind that is not written.
    """
    asked = _asked(now, reach)
    if reach.selection.feature_hashes and _asked(before, reach) != asked:
        yield "units count what filters drop, and the server leaves out other features now"
    changes = [change for change in changes if _is_sent(change, asked)]
    for change in changes:
        if _kind(change) not in reach.format.kinds and (
            change.is_shown_otherwise or change.is_ranged_otherwise
        ):
            yield f"units that nothing but {change.title} names may be others"
    if _filters_records(reach.selection) and any(
        change.is_shown_otherwise or change.is_placed_otherwise or change.is_ranged_otherwise
        for change in changes
    ):
        yield "units count what filters drop"


def _root_change(differences: OntologyDifferences, feature: str) -> _RootChange:
    return _RootChange(feature, differences.before.get(feature), differences.now.get(feature))


def _kind(change: _RootChange) -> str:
    return "classifications" if change.is_classification else "objects"


def _is_named_otherwise(change: _RootChange, selection: Selection) -> bool:
    """Whether `--name` may keep it now and did not before.

    Where the ontology does not have it, the name in the record counts, which is not known here.
    """
    if change.before is None:
        return bool(change.now and change.now.name in selection.names)
    return change.now is None or change.now.name != change.before.name


def _is_shaped_otherwise(change: _RootChange, selection: Selection) -> bool:
    before, now = (root.shape if root else "" for root in (change.before, change.now))
    return before != now and now in selection.shapes


def _where_reads(expression: str, changes: list[_RootChange]) -> bool:
    reads = Where(expression).reads
    return bool(reads & _FROM_ONTOLOGY) or (
        bool(reads & _OF_PLACEMENT) and any(change.is_placed_otherwise for change in changes)
    )


def _filters_records(selection: Selection) -> bool:
    return bool(
        selection.shapes
        or selection.names
        or selection.feature_hashes
        or selection.approved
        or selection.min_confidence is not None
        or selection.authors
        or selection.manual is not None
        or selection.where
        or selection.filters
    )


def _is_sent(change: _RootChange, asked: ServerSide) -> bool:
    """Whether the server sends labels of it, unless they are archived."""
    features = (
        asked.include_classification_feature_hashes
        if change.is_classification
        else asked.include_object_feature_hashes
    )
    return features is None or change.feature in features


def _asked(structure: bytes | None, reach: Reach) -> ServerSide:
    ontology = read_ontology(structure)
    return server_side(
        request_selection(reach.selection, reach.format),
        object_features=ontology.object_features,
        classification_features=ontology.classification_features,
    )
