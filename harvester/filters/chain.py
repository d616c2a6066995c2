"""The chain: a record is kept if every filter keeps it, and dropped by the first that refuses it."""

from collections.abc import Collection, Mapping
from itertools import compress
from typing import Any, TypeVar

import msgspec

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.expression import Where
from harvester.filters.builtin import builtin_filters
from harvester.filters.own import OwnFilter, load_filter
from harvester.settings import Selection

Label = TypeVar("Label")


class Chain:
    """The filters over records of one kind. Holds no state, so it may be used from many threads.

    The built-in filters come first: they look at a few fields only. Then the expression, which looks at
    what it names. The user's own functions get the whole record, decoded, in the order in which they were
    named.
    """

    def __init__(
        self,
        kind: str,
        selection: Selection,
        feature_names: Mapping[str, str],
        feature_shapes: Mapping[str, str],
        functions: Mapping[str, OwnFilter] | None = None,
    ) -> None:
        """`functions` are filters of `selection` that are at hand and need no import, by their names.

        Raises BadInput where a function of `selection.filters` does not import, or the expression is none.
        """
        self._kind = kind
        filters = builtin_filters(selection, feature_names, feature_shapes)
        self._builtin = [f for f in filters if kind in f.kinds]
        where = Where(selection.where) if selection.where else None
        self._where = where if where and kind in where.kinds else None
        at_hand = functions or {}
        self._own = [(path, at_hand.get(path) or load_filter(path)) for path in selection.filters]
        last = [Where.name] * bool(self._where) + [path for path, _ in self._own]
        self.names = (*(f.name for f in self._builtin), *last)
        self.needs = frozenset(field for f in self._builtin for field in f.needs)
        self.looks_at_fields = bool(self._builtin)
        self.looks_at_records = bool(last)

    @property
    def fields(self) -> Collection[str]:
        """The fields that the expression reads of these records."""
        return self._where.fields if self._where is not None else ()

    def reads(self, key: str) -> bool:
        """Whether the expression reads this key of a record."""
        return self._where is not None and key in self._where.reads

    def sift(
        self, labels: list[Label], fields: list[Any], dropped: dict[str, int]
    ) -> tuple[list[Label], list[Any]]:
        """Those of `labels` that the built-in filters keep, and their `fields` (see `Fields`).

        The rest is counted in `dropped`, by the first filter that refuses it.
        """
        for name, _, _, keeps in self._builtin:
            kept = keeps(fields)
            if not all(kept):
                labels, fields = list(compress(labels, kept)), list(compress(fields, kept))
                dropped[name] += len(kept) - len(labels)
        return labels, fields

    def refused_by(self, record: bytes, label_hash: str | None, lacking: set[str]) -> str | None:
        """The expression or the path of the first of the user's functions that refuses `record` (its line).

        None where all keep it. What the expression reads and the record has is taken out of `lacking`.

        Raises:
            BadInput: a function raised, or the expression makes no sense here; the message names the row.
        """
        if self._where is not None and not self._where.matches(record, label_hash, lacking):
            return Where.name
        for path, keeps in self._own:
            # Decoded anew for each: a function that changes its record cannot mislead the next one.
            decoded = msgspec.json.decode(record)
            try:
                kept = keeps(decoded)
            except Exception as exc:
                where = f"one of the {self._kind} of row {label_hash}"
                message = f"filter {path!r} failed on {where}: {one_line(repr(exc))}"
                raise BadInput(message, operation="filter", row=label_hash) from exc
            if not kept:
                return path
        return None
