"""List the rows, sort them, decide which are asked for.

The listing arrives in one answer, in any order, as large as the project. It is read in pieces and sorted
on disk, so a million rows take little more memory than a thousand.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING

import msgspec

from harvester.errors import CannotFinishNow
from harvester.labels.json_paths import paths_of, where
from harvester.labels.surrogates import has_invalid_text, replace_invalid_text
from harvester.labels.wire import NO_METADATA, ListedRow, PlanRow
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.order import Order, plan_order, sorted_lines
from harvester.plan.repeats import repeats
from harvester.settings import Format, Selection

if TYPE_CHECKING:
    pass

_MOST = 2**53  # what every reader of JSON takes for the same integer
_MOST_DIGITS = 16

Items = Iterable[Iterable[msgspec.Raw]]  # of a listing, some at a time


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
    readable = replace_invalid_text(bytes(item))
    try:
        row = decode(readable)
    except msgspec.DecodeError as error:
        raise CannotFinishNow(f"the listing holds a row that cannot be read: {error}") from error
    found = where(f"listing {path}" for path in paths_of(memoryview(item), has_invalid_text))
    return msgspec.structs.replace(row, replaced_in=found), msgspec.Raw(readable)


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
    text = replace_invalid_text(bytes(json)).decode()
    # In JSON a line break stands between tokens only: a space says the same.
    return None if text == "null" else text.replace("\r", " ").replace("\n", " ")
