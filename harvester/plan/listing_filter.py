"""Holds each listed row against the selection: what the server was asked for, and what only we can tell.

A server may ignore a filter of its list call. Where the listing itself says that a row is not one of those
asked for, the row is filtered here, and a warning names the flag. Dates and patterns have the meaning that
the server gives them (time zones, case, escapes): rows that contradict them in any reading stay, and a
warning says how many they are.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from harvester.fetch.freshness import moment
from harvester.labels.wire import ListedRow, PlanRow, WorkflowStage
from harvester.settings import Selection

# How each predicate is spelt on the command line; a test holds it to the flags.
FLAGS: Mapping[str, str] = {
    "task_statuses": "--task-status",
    "edited_before": "--edited-before",
    "edited_after": "--edited-after",
    "data_title_eq": "--data-title-eq",
    "data_title_like": "--data-title-like",
    "workflow_graph_node_title_eq": "--workflow-graph-node-title-eq",
    "workflow_graph_node_title_like": "--workflow-graph-node-title-like",
    "branch_name": "--branch-name",
    "include_all_label_branches": "--include-all-label-branches",
    "shadow_data_state": "--shadow-data-state",
    "data_hashes": "--data-hash",
    "label_hashes": "--label-hash",
    "data_types": "--data-type",
    "datasets": "--dataset",
    "label_statuses": "--label-status",
    "shapes": "--shape",
    "names": "--name",
    "feature_hashes": "--feature-hash",
    "approved": "--approved",
    "min_confidence": "--min-confidence",
    "authors": "--author",
    "manual": "--manual/--automated",
    "where": "--where",
    "filters": "--filter",
    "include_reviews": "--include-reviews",
    "include_archived": "--include-archived",
    "signed_urls": "--signed-urls",
    "client_metadata": "--client-metadata",
}


class Check(NamedTuple):
    """A predicate of the selection: its field, and whether a listed row matches. Null says nothing."""

    field: str
    matches: Callable[[ListedRow], bool]


class ListingFilter:
    """Decides what becomes of each listed row, and counts what the server should not have listed."""

    def __init__(self, selection: Selection) -> None:
        self._exact = list(_exact_checks(selection))
        self._loose = list(_loose_checks(selection))
        self._chosen = list(_listing_checks(selection))
        self._order = [check.field for check in (*self._exact, *self._chosen)]
        self._ruled_out: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._contradicted: Counter[str] = Counter()

    def __call__(self, row: ListedRow) -> str | None:
        """The outcome of a row: ``filtered``, ``unlabelled``, or None: it is to be asked for."""
        for check in self._loose:
            if not check.matches(row):
                self._contradicted[check.field] += 1
        for check in self._exact:
            if not check.matches(row):
                self._ignored.update(each.field for each in self._exact if not each.matches(row))
                self._ruled_out[check.field] += 1
                return "filtered"
        for check in self._chosen:
            if not check.matches(row):
                self._ruled_out[check.field] += 1
                return "filtered"
        return None if row.label_hash else "unlabelled"

    def last(self) -> tuple[str, int] | None:
        """The last of the predicates that ruled out rows which those before it had left, and how many."""
        return next(
            ((field, self._ruled_out[field]) for field in self._order[::-1] if field in self._ruled_out), None
        )

    def report(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Warns of each filter that the server ignored, and of each that rows contradict."""
        for field, rows in self._ignored.items():
            on_event("listing.filter_ignored", {"flag": FLAGS[field], "rows": rows})
        for field, rows in self._contradicted.items():
            on_event("listing.filter_contradicted", {"flag": FLAGS[field], "rows": rows})


def as_listed(row: PlanRow) -> ListedRow:
    """A row of a plan as it was listed, but for what only describes it, and for being shadow data."""
    return ListedRow(
        data_hash=row.data_hash,
        dataset_hash=row.dataset_hash,
        dataset_title=row.dataset_title,
        data_title=row.data_title,
        data_type=row.data_type,
        label_hash=row.label_hash,
        branch_name=row.branch_name,
        label_status=row.label_status,
        annotation_task_status=row.task_status,
        workflow_graph_node=WorkflowStage(title=row.stage) if row.stage is not None else None,
        last_edited_at=row.last_edited_at,
    )


def _exact_checks(selection: Selection) -> Iterator[Check]:
    """Yield the checks that the listing alone can decide."""
    if selection.task_statuses:
        yield Check("task_statuses", _among("annotation_task_status", selection.task_statuses))
    if selection.data_title_eq is not None:
        yield Check("data_title_eq", _among("data_title", (selection.data_title_eq,)))
    if selection.workflow_graph_node_title_eq is not None:
        stage = selection.workflow_graph_node_title_eq
        yield Check("workflow_graph_node_title_eq", lambda row: _stage(row) in (None, stage))
    if selection.branch_name is not None:
        yield Check("branch_name", _among("branch_name", (selection.branch_name,)))
    if selection.shadow_data_state in ("SHADOW_DATA", "NOT_SHADOW_DATA"):
        unwanted = selection.shadow_data_state != "SHADOW_DATA"
        yield Check("shadow_data_state", lambda row: row.is_shadow_data is not unwanted)
    if selection.data_hashes:
        yield Check("data_hashes", _among("data_hash", selection.data_hashes))
    if selection.label_hashes:
        yield Check("label_hashes", _among("label_hash", selection.label_hashes))


def _loose_checks(selection: Selection) -> Iterator[Check]:
    """What means what the server takes it for; here, whether a row is outside any of its meanings."""
    if selection.edited_before is not None:
        before = _date(selection.edited_before)
        yield Check("edited_before", lambda row: _edited(row, before) <= before)
    if selection.edited_after is not None:
        after = _date(selection.edited_after)
        yield Check("edited_after", lambda row: _edited(row, after) >= after)
    if selection.data_title_like is not None:
        like = _like(selection.data_title_like)
        yield Check("data_title_like", lambda row: row.data_title is None or like(row.data_title))
    if selection.workflow_graph_node_title_like is not None:
        stage_like = _like(selection.workflow_graph_node_title_like)
        yield Check(
            "workflow_graph_node_title_like",
            lambda row: (stage := _stage(row)) is None or stage_like(stage),
        )


def _listing_checks(selection: Selection) -> Iterator[Check]:
    """What the server is not asked for, and the listing tells."""
    if selection.data_types:
        types = {data_type.upper() for data_type in selection.data_types}
        yield Check("data_types", lambda row: (row.data_type or "").upper() in types)
    if selection.datasets:
        datasets = set(selection.datasets)
        yield Check("datasets", lambda row: row.dataset_hash in datasets or row.dataset_title in datasets)
    if selection.label_statuses:
        statuses = set(selection.label_statuses)
        yield Check("label_statuses", lambda row: row.label_status in statuses)


def _among(field: str, wanted: tuple[str, ...]) -> Callable[[ListedRow], bool]:
    allowed = frozenset(wanted)
    return lambda row: not (value := getattr(row, field)) or value in allowed


def _date(text: str) -> datetime:
    """A date of the selection, in UTC, cut to seconds."""
    found = datetime.fromisoformat(text)
    found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return found.replace(microsecond=0)


def _edited(row: ListedRow, otherwise: datetime) -> datetime:
    """When a row was edited last, cut to seconds; `otherwise` where the listing does not say it."""
    return (row.last_edited_at and moment(row.last_edited_at)) or otherwise


def _stage(row: ListedRow) -> str | None:
    return row.workflow_graph_node.title if row.workflow_graph_node else None


def _like(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches an SQL LIKE pattern in one of its readings.

    Databases differ in case, and in whether a backslash takes the next character as it is.
    """
    readings = [_glob(pattern), _glob(pattern, escapes=True)]
    # `fnmatch` makes expressions that take linear time, however many wildcards there are.
    expressions = [re.compile(fnmatch.translate(glob), re.IGNORECASE) for glob in readings]
    return lambda text: any(expression.match(text) for expression in expressions)


def _glob(pattern: str, *, escapes: bool = False) -> str:
    """An SQL LIKE pattern as a shell's: ``%`` is any text, ``_`` any character."""
    parts = re.findall(r"\\.|." if escapes else ".", pattern, re.DOTALL)
    meaning = {"%": "*", "_": "?"}
    return "".join(meaning.get(part) or re.sub(r"[*?[]", r"[\g<0>]", part[-1]) for part in parts)
