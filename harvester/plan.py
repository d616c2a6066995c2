"""List the rows, sort them, decide which are asked for.

The listing arrives in one answer, in any order, as large as the project. It is read in pieces and sorted
on disk, so a million rows take little more memory than a thousand.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any

import msgspec

from harvester.errors import CannotFinishNow
from harvester.events import say
from harvester.labels.json_paths import paths_of, where
from harvester.labels.surrogates import as_text, is_no_text
from harvester.labels.wire import NO_METADATA, ListedRow, PlanRow
from harvester.listing_filter import ListingFilter
from harvester.repeats import repeats
from harvester.settings import Format, Selection
from harvester.sorting import sorter

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session

_AT_ONCE = 100  # rows: with ten times as many, which do not stay in the cache, planning takes a tenth longer
_MOST = 2**53  # what every reader of JSON takes for the same integer
_MOST_DIGITS = 16

Items = Iterable[Iterable[msgspec.Raw]]  # of a listing, some at a time


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


_LISTING_FIELDS = ("data_types", "datasets", "label_statuses")
_RECORD_FIELDS = (
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
_ASKED_ALONG_FIELDS = ("include_reviews", "include_archived", "signed_urls", "client_metadata")


def places(selection: Selection) -> PredicatePlaces:
    """Sorts the predicates that are set in `selection` by where they run."""
    default = Selection()
    chosen = {
        field: getattr(selection, field)
        for field in selection.__struct_fields__
        if getattr(selection, field) != getattr(default, field)
    }
    elsewhere = {*_LISTING_FIELDS, *_RECORD_FIELDS, *_ASKED_ALONG_FIELDS}
    return PredicatePlaces(
        server={field: value for field, value in chosen.items() if field not in elsewhere},
        listing={field: value for field, value in chosen.items() if field in _LISTING_FIELDS},
        record={field: value for field, value in chosen.items() if field in _RECORD_FIELDS},
    )


def listed_rows(listing: Items) -> Iterator[tuple[ListedRow, msgspec.Raw]]:
    """The rows of a listing, in its order, each with its JSON as sent.

    Where its title, or anything else, is no text, U+FFFD stands in both, and `replaced_in` says where.

    Blocking; memory stays flat. Raises what `Session.listing` raises, and CannotFinishNow for an
    item that is no listed row: a listing that cannot be read whole is not half an export.
    """
    decode = msgspec.json.Decoder(ListedRow).decode
    for items in listing:
        for item in items:
            try:
                yield decode(item), item
            except (msgspec.DecodeError, UnicodeDecodeError):
                yield _read_as_text(decode, item)


def _read_as_text(decode: Callable[[bytes], ListedRow], item: msgspec.Raw) -> tuple[ListedRow, msgspec.Raw]:
    """A listed row with U+FFFD for what stands for no text: an odd title must not stop an export."""
    readable = as_text(bytes(item))
    try:
        row = decode(readable)
    except msgspec.DecodeError as error:
        raise CannotFinishNow(f"the listing holds a row that cannot be read: {error}") from error
    found = where(f"listing {path}" for path in paths_of(memoryview(item), is_no_text))
    return msgspec.structs.replace(row, replaced_in=found), msgspec.Raw(readable)


# What rows are sorted by: as many texts for each of them.
Order = Callable[[PlanRow], tuple[str, str, str, str, str]]


def plan_order(row: PlanRow) -> tuple[str, str, str, str, str]:
    """The order of a plan: dataset, data title, label, branch."""
    return (row.dataset_hash, row.data_title, row.label_hash or "", row.branch_name or "", row.data_hash)


def plan_lines(
    listing: Items,
    selection: Selection,
    format: Format,
    *,
    order: Order = plan_order,
    decide: ListingFilter | None = None,
    on_listed: Callable[[int], None] = lambda count: None,
) -> Iterator[bytes]:
    """The rows of the plan in their frozen order (dataset, data title, label, branch), each as its JSON.

    Rows that need not be asked for come with their `outcome`, as `decide` says; without it, a filter of
    `selection` does. A label row that the server lists more than once comes once, at the first of its places
    that is asked for in `order`, which must put the places of a row in the order of a plan. `on_listed` hears
    how many rows have been listed so far.

    Blocking; memory stays flat. Raises as `listed_rows`.
    """
    rows = unsorted_rows(listing, selection, format, decide)
    with repeats() as repeated:
        yield from repeated.once(sorted_lines(rows, order, on_taken=on_listed, see=repeated.add))


def sorted_lines(
    rows: Iterable[PlanRow],
    order: Order,
    *,
    on_taken: Callable[[int], None] = lambda count: None,
    see: Callable[[list[PlanRow]], None] = lambda rows: None,
) -> Iterator[bytes]:
    """`rows` in that order, those that agree in it once, each as its JSON.

    `on_taken` hears how many have come so far, and all of them are shown to `see` before the first line.

    Blocking; memory stays flat. Raises CannotFinishNow where the temporary directory has no room.
    """
    encode, rows, taken = msgspec.json.Encoder().encode, iter(rows), 0
    with sorter() as by_order:
        while some := list(islice(rows, _AT_ONCE)):
            for row in some:
                by_order.add(order(row), encode(row))
            see(some)
            taken += len(some)
            on_taken(taken)
        yield from by_order


def rows_of(lines: Iterable[bytes]) -> Iterator[PlanRow]:
    """The rows whose JSON it is."""
    return map(msgspec.json.Decoder(PlanRow).decode, lines)


def side_by_side(
    before: Iterable[PlanRow], now: Iterable[PlanRow], order: Order
) -> Iterator[tuple[PlanRow | None, PlanRow | None]]:
    """The rows of two streams that are both in that order; None where one has no such row."""
    olds, news = iter(before), iter(now)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if old == new:  # nearly always, and quicker to see than to say which comes first
            comes_first = 0
        elif new is None or (old is not None and order(old) < order(new)):
            comes_first = -1
        else:
            comes_first = int(old is None or order(new) < order(old))
        yield (old if comes_first <= 0 else None), (new if comes_first >= 0 else None)
        if comes_first <= 0:
            old = next(olds, None)
        if comes_first >= 0:
            new = next(news, None)


def unsorted_rows(
    listing: Items, selection: Selection, format: Format, decide: ListingFilter | None = None
) -> Iterator[PlanRow]:
    """The rows of `plan_lines` in the order in which the server lists them, a row listed twice twice."""
    return starmap(planner(selection, format, decide or ListingFilter(selection)), listed_rows(listing))


def planner(
    selection: Selection, format: Format, decide: Callable[[ListedRow], str | None]
) -> Callable[[ListedRow, msgspec.Raw], PlanRow]:
    """What makes a row of the plan of a listed one and its JSON; `decide` gives its outcome."""
    keep_item, with_metadata = "rows" in format.kinds, selection.client_metadata

    def planned(row: ListedRow, item: msgspec.Raw) -> PlanRow:
        # By position: twenty keywords take ten times as long.
        return PlanRow(
            row.label_hash or None,
            row.branch_name,
            row.data_hash,
            row.dataset_hash,
            row.dataset_title or "",
            row.data_title or "",
            row.data_type or "",
            row.annotation_task_status,
            row.label_status,
            row.workflow_graph_node.title if row.workflow_graph_node else None,
            _text(row.created_at),
            row.last_edited_at,
            _size(row.width),
            _size(row.height),
            _size(row.number_of_frames),
            _text(row.backing_item_uuid),
            _json_text(row.client_metadata) if with_metadata else None,
            decide(row),
            False,  # listed twice: that is found out later
            item if keep_item else NO_METADATA,
            row.replaced_in if keep_item else None,
        )

    return planned


def _size(listed: object) -> int | None:
    """A size or number in the listing, whatever its type; None for 0, which stands where there is none."""
    if type(listed) is int:  # as nearly always
        return listed if 0 < listed <= _MOST else None
    if isinstance(listed, float) and listed.is_integer():
        listed = int(listed)
    elif isinstance(listed, str):
        listed = int(listed) if listed.isdecimal() and len(listed) <= _MOST_DIGITS else None
    return listed if type(listed) is int and 0 < listed <= _MOST else None


def _text(listed: object) -> str | None:
    return listed if type(listed) is str else None


def _json_text(json: msgspec.Raw) -> str | None:
    """JSON of the listing as text on one line; None for null. What is no text is U+FFFD."""
    text = as_text(bytes(json)).decode()
    # In JSON a line break stands between tokens only: a space says the same.
    return None if text == "null" else text.replace("\r", " ").replace("\n", " ")


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
