"""`--explain`: each predicate, where it runs, and how many rows or records it leaves."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from harvester.forecast.estimate import Estimate, exactly
from harvester.forecast.sample import Look
from harvester.plan.listing_filter import ListingFilter
from harvester.plan.planned import listed_rows
from harvester.plan.status import places
from harvester.schema import Kind
from harvester.settings import Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session

# These choose the project and not rows in it.
_SCOPE = ("branch_name", "include_all_label_branches", "shadow_data_state")


class FilterStep(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate: where it runs (server, listing, record), its input, and how many of that it leaves.

    `left` is exact for rows, estimated from the sample for records.
    """

    where: str
    predicate: str
    value: Any
    of: str
    left: Estimate


def server_steps(
    session: "Session", project: "ProjectInfo", selection: Selection, listed: int
) -> Iterator[FilterStep]:
    """Count what each predicate of the list call leaves: one more listing for each but the last. Blocking."""
    chosen = places(selection).server
    scope = {name: chosen[name] for name in _SCOPE if name in chosen}
    predicates = {name: value for name, value in chosen.items() if name not in _SCOPE}
    asked = dict(scope)
    yield _of_rows(
        "server", "all rows", scope or None, _count(session, project, asked) if predicates else listed
    )
    for number, (name, value) in enumerate(predicates.items(), 1):
        asked[name] = value
        last = number == len(predicates)
        yield _of_rows("server", name, value, listed if last else _count(session, project, asked))


def _count(session: "Session", project: "ProjectInfo", asked: dict[str, Any]) -> int:
    selection = _chosen(asked)
    takes = ListingFilter(selection)
    with session.listing(project, selection) as listing:
        return sum(takes(row) != "filtered" for row, _ in listed_rows(listing))


def _chosen(fields: dict[str, Any]) -> Selection:
    return Selection(**fields)


class ListingSteps:
    """Counts what the predicates on listed rows leave, one after the other."""

    def __init__(self, selection: Selection) -> None:
        chosen = places(selection).listing
        self._chosen = [*chosen.items(), ("has a label row", None)]
        self._tests: list[Callable[[Any], str | None]] = [
            ListingFilter(_chosen(dict(self._chosen[: number + 1]))) for number in range(len(chosen))
        ]
        self._left = [0] * len(self._chosen)

    def add(self, row: Any, outcome: str | None) -> None:
        """Count a listed row, given the verdict of all predicates on it."""
        for number, test in enumerate(self._tests):
            self._left[number] += test(row) != "filtered"
        self._left[-1] += outcome is None

    def steps(self) -> list[FilterStep]:
        return [
            _of_rows("listing", name, value, left)
            for (name, value), left in zip(self._chosen, self._left, strict=True)
        ]


def _of_rows(where: str, predicate: str, value: Any, left: int) -> FilterStep:
    return FilterStep(where=where, predicate=predicate, value=value, of="rows", left=exactly(left))


def record_steps(
    selection: Selection,
    filters: Mapping[Kind, tuple[str, ...]],
    estimate: Callable[[Callable[[Look], float]], Estimate],
) -> Iterator[FilterStep]:
    """Return what the filters on records leave, by kind. `filters` are in the order of their use.

    `estimate` gives the total over all rows of a number taken from each look.
    """
    values = places(selection).record
    for kind, names in filters.items():
        for number in range(len(names) + 1):
            left = estimate(partial(_left, kind=kind, tried=names[:number]))
            name = names[number - 1] if number else "all records"
            yield _of_records(kind, name, _value(values, name), left)


def _left(look: Look, *, kind: str, tried: tuple[str, ...]) -> int:
    dropped = look.dropped.get(kind, {})
    return look.seen.get(kind, 0) - sum(dropped.get(name, 0) for name in tried)


def _of_records(kind: str, predicate: str, value: Any, left: Estimate) -> FilterStep:
    return FilterStep(where="record", predicate=predicate, value=value, of=kind, left=left)


def _value(values: dict[str, object], name: str) -> object:
    """Return the setting of a filter: the field of the same name, or its plural."""
    return values.get(name, values.get(name + "s", values.get(name + "es")))
