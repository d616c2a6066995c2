"""The filter chain: keeps a record if every filter keeps it, else counts it for the first that does not."""

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

    The cheapest come first: the built-in filters, which read a few fields; then the expression of
    ``--where``, which reads the keys that it names; then the user's functions in the given order, which get
    the whole decoded record.
    """

    def __init__(
        self,
        kind: str,
        selection: Selection,
        feature_names: Mapping[str, str],
        feature_shapes: Mapping[str, str],
        functions: Mapping[str, OwnFilter] | None = None,
    ) -> None:
        """Make the filters of `selection` for records of one `kind`.

        `feature_names` and `feature_shapes` are those of the ontology by feature hash. `functions` are
        filters by name, used instead of importing the filters that `selection` names.

        Raises BadInput if a function of `selection.filters` cannot be imported, or the expression is invalid.
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
        """Return the fields of these records that the expression reads."""
        return self._where.fields if self._where is not None else ()

    def reads(self, key: str) -> bool:
        """Return whether the expression reads this key of a record."""
        return self._where is not None and key in self._where.reads

    def filter(
        self, labels: list[Label], fields: list[Any], dropped: dict[str, int]
    ) -> tuple[list[Label], list[Any]]:
        """Return those of `labels` that the built-in filters keep, and their `fields` (see `Fields`).

        The others are counted in `dropped`, under the name of the first filter that does not keep them.
        """
        for name, _, _, keeps in self._builtin:
            kept = keeps(fields)
            if not all(kept):
                labels, fields = list(compress(labels, kept)), list(compress(fields, kept))
                dropped[name] += len(kept) - len(labels)
        return labels, fields

    def dropped_by(self, record: bytes, label_hash: str | None, lacking: set[str]) -> str | None:
        """Return the name of the first filter that drops a record, or None if all keep it.

        Only the expression and the user's functions are applied, since the built-in filters came before.

        Args:
            record: the line of the record.
            label_hash: of its label row, for messages.
            lacking: fields that the expression reads and that no record has had. Those that this record has
                are removed.

        Raises:
            BadInput: a function raised, or the expression does not apply to this record; the message names
            the
                row.
        """
        if self._where is not None and not self._where.matches(record, label_hash, lacking):
            return Where.name
        for path, keeps in self._own:
            # Decoded again for each function, since a function may change its record.
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
