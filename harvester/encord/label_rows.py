"""Fetch the label rows of one project through the SDK. Raises only our own errors."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson
from encord.client import EncordClientProject
from encord.exceptions import AuthorisationError
from encord.orm.label_row import LabelRow

from harvester.encord import faults
from harvester.encord.project import ProjectInfo
from harvester.encord.wording import Route
from harvester.errors import SkipRow
from harvester.fetch.source import RowsResponse
from harvester.filters import ServerSide, server_side
from harvester.labels.json_paths import paths_of, where
from harvester.labels.ontology import read_ontology
from harvester.labels.surrogates import has_invalid_text, replace_unpaired_surrogates
from harvester.settings import Selection

# Options of the SDK's `get_label_rows` that its `get_label_row` lacks.
BUNDLED_ONLY = ("include_archived",)


class ProjectLabelRows:
    """Implements `fetch.source.LabelRows` with the SDK's `get_label_row` and `get_label_rows`."""

    def __init__(
        self,
        single: EncordClientProject,
        bundle: EncordClientProject,
        options: ServerSide,
        *,
        route: Route,
        check_access: Callable[[], object],
    ) -> None:
        """Fetch with two clients of the SDK.

        Args:
            single: client for `get_label_row`. It returns one `RowsResponse`, or the SDK's own rows.
            bundle: client for `get_label_rows`, likewise.
            options: which parts of each row are requested.
            route: how the server is reached, for messages.
            check_access: raises CredentialsRefused if the project itself may not be read any more.
        """
        self._single = single
        self._bundle = bundle
        self._bundle_options = msgspec.structs.asdict(options)
        self._options = {
            name: value for name, value in self._bundle_options.items() if name not in BUNDLED_ONLY
        }
        self._bundled_only = any(self._bundle_options[name] for name in BUNDLED_ONLY)
        self._route = route
        self._check_access = check_access

    def get_label_row(self, label_hash: str) -> RowsResponse:
        """Fetch one label row, with the bundled call if the single call lacks an option that is needed."""
        return self.get_label_rows([label_hash]) if self._bundled_only else self._get_alone(label_hash)

    def get_left_out(self, label_hash: str) -> RowsResponse:
        """Fetch a label row that bundled calls leave out, with the single call: its error tells the reason.

        If the single call lacks an option that is needed, its row would be incomplete. Then only its error is
        of use, and without one the row is reported as left out.
        """
        answer = self._get_alone(label_hash)
        if self._bundled_only:
            raise SkipRow(
                "the server sends this row without its labels of archived features only",
                failure="left_out",
                operation="get_label_row",
                row=label_hash,
            )
        return answer

    def _get_alone(self, label_hash: str) -> RowsResponse:
        return self._ask(
            lambda: self._single.get_label_row(label_hash, **self._options),
            asked="row",
            operation="get_label_row",
            row=label_hash,
        )

    def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
        """Fetch several label rows in one call."""
        return self._ask(
            lambda: self._bundle.get_label_rows(list(label_hashes), **self._bundle_options),
            asked="rows" if len(label_hashes) > 1 else "row",
            operation="get_label_rows",
            row=label_hashes[0] if len(label_hashes) == 1 else None,
        )

    def _ask(
        self, call: Callable[[], Any], *, asked: faults.Asked, operation: str, row: str | None
    ) -> RowsResponse:
        try:
            return _as_answer(call())
        except Exception as error:
            if asked == "row" and (answer := _parsed_with_pairs_only(error)):
                return answer
            if isinstance(error, AuthorisationError):
                self._check_access()  # is only this row refused, or the whole project?
            raise faults.translate(
                error, asked=asked, operation=operation, route=self._route, row=row
            ) from error


def options_for(project: ProjectInfo, selection: Selection) -> ServerSide:
    """Return the parts of each row to request: what `selection` needs, and nothing else."""
    ontology = read_ontology(project.ontology)
    return server_side(
        selection,
        object_features=ontology.object_features,
        classification_features=ontology.classification_features,
    )


def _as_answer(found: Any) -> RowsResponse:
    if isinstance(found, list) and found and isinstance(found[0], RowsResponse):
        return found[0]
    if isinstance(found, RowsResponse):
        return found
    # With the plain transport the SDK has parsed the rows: integers beyond 64 bits have become floats, and
    # fields that this version of the SDK does not know are lost.
    rows = [orjson.dumps(row) for row in (found if isinstance(found, list) else [found])]
    return RowsResponse(rows=list(rows), wire_bytes=0, body_bytes=sum(map(len, rows)))


def _parsed_with_pairs_only(error: Exception) -> RowsResponse | None:
    """Return the row that the SDK's parser refused for an unpaired surrogate escape, otherwise None.

    Only the plain transport needs this. Our own parser replaces surrogates itself, see `envelope.rows_of`.
    """
    sent = bytes(faults.unreadable(error))
    readable = replace_unpaired_surrogates(sent)
    if readable == sent:
        return None
    try:
        parsed = orjson.loads(readable)["response"]
        (row,) = parsed if isinstance(parsed, list) else [parsed]
        answer = _as_answer(LabelRow(row))  # type: ignore[no-untyped-call]  # the SDK's
    except (ValueError, TypeError, KeyError):
        return None  # it has other faults, too: let the caller report `error`
    answer.replaced = {0: where(map(faults.in_row, paths_of(sent, has_invalid_text)))}
    return answer
