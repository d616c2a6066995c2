"""Filters as users of the Python functions give them: by name, or as functions."""

from collections.abc import Callable, Iterable

import msgspec

from harvester.filters.own import OwnFilter
from harvester.settings import Selection

Filters = str | OwnFilter | Iterable[str | OwnFilter]


def with_filters(
    selection: Selection, filters: Filters, name_of: Callable[[OwnFilter], str]
) -> tuple[Selection, dict[str, OwnFilter]]:
    """Return `selection` with `filters` named in it, and the functions among them by those names."""
    names, functions = list(selection.filters), dict[str, OwnFilter]()
    for wanted in (filters,) if isinstance(filters, str) or callable(filters) else filters:
        name = wanted if isinstance(wanted, str) else name_of(wanted)
        if not isinstance(wanted, str):
            while name in functions:
                name += "'"
            functions[name] = wanted
        names.append(name)
    return msgspec.structs.replace(selection, filters=tuple(names)), functions
