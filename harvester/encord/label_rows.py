"""The label rows of one project, as the fetching side asks for them, with our errors only."""

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

# Options that the SDK's bundled call has and its single one has not.
BUNDLED_ONLY = ("include_archived",)


class ProjectLabelRows:
    """`fetch.source.LabelRows` over the SDK's `get_label_row` and `get_label_rows`."""

    def __init__(
        self,
        single: EncordClientProject,
        bundle: EncordClientProject,
        options: ServerSide,
        *,
        route: Route,
        check_access: Callable[[], object],
    ) -> None:
        """Label rows by way of two clients.

        Args:
            single, bundle: answer their call with one `RowsResponse`, or with the SDK's own rows.
            options: what is asked along with each row.
            route: how the server is reached, for messages.
            check_access: raises CredentialsRefused where the project itself may not be read any more.
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
        """One label row: by a bundled call of one where the single call cannot be asked for all of it."""
        return self.get_label_rows([label_hash]) if self._bundled_only else self._get_alone(label_hash)

    def get_left_out(self, label_hash: str) -> RowsResponse:
        """A label row that bundled calls leave out: the single call says why, or brings it.

        Where it brings less than is asked for, it serves for the reason only, and the row is left out.
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
        """Several label rows in one call."""
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
                self._check_access()  # one row is refused, or every one
            raise faults.translate(
                error, asked=asked, operation=operation, route=self._route, row=row
            ) from error


def options_for(project: ProjectInfo, selection: Selection) -> ServerSide:
    """What is asked along with each row of `project`: what `selection` needs and nothing else."""
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
    # The SDK has parsed these: integers beyond 64 bits are floats, fields of tomorrow are gone.
    rows = [orjson.dumps(row) for row in (found if isinstance(found, list) else [found])]
    return RowsResponse(rows=list(rows), wire_bytes=0, body_bytes=sum(map(len, rows)))


def _parsed_with_pairs_only(error: Exception) -> RowsResponse | None:
    """The row that the SDK's own parser failed on with `error` for an unpaired surrogate escape; else None.

    What our parser reads has its surrogates replaced where it is read, see `envelope.rows_of`.
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
        return None  # it is no label row for other reasons, too: the error says so
    answer.replaced = {0: where(map(faults.in_row, paths_of(sent, has_invalid_text)))}
    return answer
