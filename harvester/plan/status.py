"""What a listing alone shows: counts by status, and how many rows an export would fetch."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from harvester.events import say
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import rows_of
from harvester.plan.planned import plan_lines
from harvester.settings import Format, Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session


class StatusCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A project's rows counted four ways, each from the listing alone."""

    rows: int
    labelled: int
    by_task_status: dict[str, int]
    by_label_status: dict[str, int]
    by_workflow_stage: dict[str, int]
    by_data_type: dict[str, int]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an export would do: where each predicate runs, and how many rows are left to ask for."""

    asked_of_the_server: dict[str, object]
    chosen_from_the_listing: dict[str, object]
    chosen_record_by_record: dict[str, object]
    listed: int
    unlabelled: int
    filtered: int
    to_fetch: int
    parts: int


class PredicatePlaces(msgspec.Struct, frozen=True, kw_only=True):
    """A selection's predicates by the place where each one runs, cheapest first."""

    server: dict[str, object]
    listing: dict[str, object]
    record: dict[str, object]


# All fields of a selection, by the place where each runs. `FETCH_OPTIONS` choose nothing: they ask for more.
SERVER_FIELDS = (
    "task_statuses",
    "edited_before",
    "edited_after",
    "data_title_eq",
    "data_title_like",
    "workflow_graph_node_title_eq",
    "workflow_graph_node_title_like",
    "branch_name",
    "include_all_label_branches",
    "shadow_data_state",
    "data_hashes",
    "label_hashes",
)
LISTING_FIELDS = ("data_types", "datasets", "label_statuses")
RECORD_FIELDS = (
    "shapes",
    "names",
    "feature_hashes",
    "approved",
    "min_confidence",
    "authors",
    "manual",
    "where",
    "filters",
)
FETCH_OPTIONS = ("include_reviews", "include_archived", "signed_urls", "client_metadata")


def places(selection: Selection) -> PredicatePlaces:
    """Sort the predicates that are set in `selection` by where they run."""
    default = Selection()

    def chosen(fields: tuple[str, ...]) -> dict[str, object]:
        given = {field: getattr(selection, field) for field in fields}
        return {field: value for field, value in given.items() if value != getattr(default, field)}

    return PredicatePlaces(
        server=chosen(SERVER_FIELDS), listing=chosen(LISTING_FIELDS), record=chosen(RECORD_FIELDS)
    )


def status(
    session: "Session",
    project: "ProjectInfo",
    selection: Selection,
    on_event: Callable[[str, Mapping[str, Any]], None] = say,
) -> StatusCounts:
    """Counts a project's rows from its listing, without asking for a single label row. Blocking."""
    rows = labelled = 0
    task, label, stage, data_type = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    decide = ListingFilter(selection)
    with session.listing(project, selection) as listing:
        for row in rows_of(plan_lines(listing, selection, Format(), decide=decide)):
            if row.outcome == "filtered":
                continue
            rows += 1
            labelled += bool(row.label_hash)
            task[row.task_status or "none"] += 1
            label[row.label_status or "none"] += 1
            stage[row.stage or "none"] += 1
            data_type[row.data_type or "unknown"] += 1
    decide.report(on_event)
    return StatusCounts(
        rows=rows,
        labelled=labelled,
        by_task_status=_ranked(task),
        by_label_status=_ranked(label),
        by_workflow_stage=_ranked(stage),
        by_data_type=_ranked(data_type),
    )


def preview(decided: Iterable[str | None], selection: Selection, format: Format) -> Preview:
    """What an export would ask for, whose listed rows have these outcomes."""
    outcomes = Counter(decided)
    listed = outcomes.total()
    where = places(selection)
    return Preview(
        asked_of_the_server=where.server,
        chosen_from_the_listing=where.listing,
        chosen_record_by_record=where.record,
        listed=listed,
        unlabelled=outcomes["unlabelled"],
        filtered=outcomes["filtered"],
        to_fetch=outcomes[None],
        parts=-(-listed // format.rows_per_part),
    )


def _ranked(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
