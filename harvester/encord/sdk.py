"""Configure the SDK's clients: they sign reads only, refuse everything else, and do not retry by themselves.

This module uses only public or long stable parts of the SDK. The internals that the pooled transport needs
are used in `transport` only, which is not imported with ``--transport sdk``.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec
import orjson
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord.client import EncordClientProject
from encord.configs import BearerConfig, Config, SshConfig
from encord.exceptions import EncordException, RequestException
from encord.http.constants import RequestsSettings
from encord.http.querier import Querier
from encord.http.v2.api_client import ApiClient
from encord.orm.label_row import AnnotationTaskStatus, ShadowDataState

from harvester.encord import faults, guard
from harvester.encord.body import PIECE
from harvester.encord.connections import check_sdk_settings
from harvester.encord.credentials import BearerToken
from harvester.labels.surrogates import replace_unpaired_surrogates
from harvester.settings import Connection, Selection

PROJECT = "project"  # the resource type in requests about a project
_ITEMS_AT_ONCE = 1000  # rows per list of a parsed listing. Chosen

T = TypeVar("T")


class Listing(Protocol):
    """The rows that the server lists: an iterable of lists of rows, each row as its JSON as sent.

    It may be iterated several times, but by one iterator at a time.
    """

    def __iter__(self) -> Iterator[list[msgspec.Raw]]: ...

    def digest(self) -> str | None:
        """Return a digest of what the server sent; None if that is not known any more."""


class Transport(Protocol):
    """How the SDK's calls reach the server."""

    api: ApiClient

    def listing(self, project_hash: str, options: dict[str, Any]) -> AbstractContextManager[Listing]:
        """Return what the SDK's `list_label_rows` returns for `options`, as JSON."""

    def label_rows(
        self, project_hash: str, *, as_sent: bool
    ) -> tuple[EncordClientProject, EncordClientProject]:
        """Return two clients of one project: for `get_label_row`, and for `get_label_rows`.

        The rows that they return may be decoded already, unless they are needed `as_sent`.
        """

    def close(self) -> None: ...


class _ReadsOnly:
    """Mixin that signs reads only. Unsigned requests are never sent, so this makes the client read-only."""

    def define_headers(self, resource_id: str | None, resource_type: str | None, data: str) -> dict[str, Any]:
        guard.check_v1(data)
        headers: dict[str, Any] = super().define_headers(  # type: ignore[misc]  # the SDK's configuration
            resource_id, resource_type, data
        )
        return headers

    def define_headers_v2(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        guard.check_v2(request.method, request.path_url)
        signed: requests.PreparedRequest = super().define_headers_v2(request)  # type: ignore[misc]
        return signed


class _GuardedSsh(_ReadsOnly, SshConfig):
    pass


class _GuardedBearer(_ReadsOnly, BearerConfig):
    pass


def sdk_config(connection: Connection, credentials: Ed25519PrivateKey | BearerToken) -> Config:
    """Return the SDK's configuration: it signs reads only, and does not retry."""
    settings = RequestsSettings(
        max_retries=0,
        connection_retries=0,
        connect_timeout=connection.connect_timeout,  # type: ignore[arg-type]  # requests takes fractions
        read_timeout=connection.read_timeout,  # type: ignore[arg-type]
        write_timeout=connection.read_timeout,  # type: ignore[arg-type]
    )
    if isinstance(credentials, BearerToken):
        return _GuardedBearer(str(credentials), domain=connection.domain, requests_settings=settings)
    return _GuardedSsh(credentials, domain=connection.domain, requests_settings=settings)


def is_date_signed(request: requests.PreparedRequest) -> bool:
    """Return whether the date is signed: in v2 requests it is; with v1 or a bearer token it is not."""
    return "Signature-Input" in request.headers


def list_options(selection: Selection, *, with_metadata: bool) -> dict[str, Any]:
    """Return the arguments for the SDK's `list_label_rows`, the same as its `list_label_rows_v2` passes."""
    statuses = [AnnotationTaskStatus(status) for status in selection.task_statuses]
    state = selection.shadow_data_state
    return {
        "edited_before": selection.edited_before,
        "edited_after": selection.edited_after,
        "label_statuses": statuses or None,
        "shadow_data_state": ShadowDataState(state) if state else None,
        "include_uninitialised_labels": True,
        "include_client_metadata": with_metadata,
        "label_hashes": list(selection.label_hashes) or None,
        "data_hashes": list(selection.data_hashes) or None,
        "data_title_eq": selection.data_title_eq,
        "data_title_like": selection.data_title_like,
        "workflow_graph_node_title_eq": selection.workflow_graph_node_title_eq,
        "workflow_graph_node_title_like": selection.workflow_graph_node_title_like,
        "include_all_label_branches": selection.include_all_label_branches,
        "branch_name": selection.branch_name,
    }


class PlainTransport:
    """The unmodified SDK: one connection per call, everything parsed, the whole listing in memory."""

    def __init__(self, connection: Connection, config: Config) -> None:
        """Raise BadInput if the SDK would not use the given CA bundle, or could not use the proxy."""
        check_sdk_settings(connection)
        self._config = config
        self.api: ApiClient = _DatingApiClient(config)

    def listing(self, project_hash: str, options: dict[str, Any]) -> AbstractContextManager[Listing]:
        client = self._client(_ListingQuerier(self._config, PROJECT, project_hash))
        try:
            return nullcontext(_Parsed(client.list_label_rows(**options)))
        except RequestException as error:
            sent = bytes(faults.unreadable(error))
            if replace_unpaired_surrogates(sent) == sent:
                raise
            return nullcontext(_Unparsed(sent))

    def label_rows(
        self, project_hash: str, *, as_sent: bool
    ) -> tuple[EncordClientProject, EncordClientProject]:
        client = self._client(Querier(self._config, PROJECT, project_hash))
        return client, client

    def close(self) -> None:
        pass

    def _client(self, querier: Querier) -> EncordClientProject:
        return EncordClientProject(querier=querier, config=self._config, api_client=self.api)


class _DatingApiClient(ApiClient):
    """Adds the server's date to each error, so that the message can tell that a clock is wrong."""

    @staticmethod
    def _handle_error(response: requests.Response, context: Any) -> None:
        try:
            ApiClient._handle_error(response, context)
        except EncordException as error:
            dated = is_date_signed(response.request)
            vars(error).update(date_header=response.headers.get("Date"), date_signed=dated)
            raise


class _ListingQuerier(Querier):
    """Querier that skips the SDK's model parsing for listings, which would lose unknown fields."""

    @staticmethod
    def _parse_response(response_type: type[T], item: Any) -> Any:
        return item


class _Parsed:
    """A listing that the SDK has parsed. Its items are serialised again, because the text as sent is lost."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[list[msgspec.Raw]]:
        rows = iter(self._rows)
        while batch := list(islice(rows, _ITEMS_AT_ONCE)):
            yield [
                msgspec.Raw(orjson.dumps(row if isinstance(row, dict) else row.to_dict())) for row in batch
            ]

    def digest(self) -> None:
        return None


class _Unparsed:
    """A listing that the SDK's parser refused because of an unpaired surrogate escape: its items as sent."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def __iter__(self) -> Iterator[list[msgspec.Raw]]:
        # Imported here only, because that module uses internals of the SDK, which are needed in this rare
        # case only.
        from harvester.encord.listing import split

        return split(self._sent[at : at + PIECE] for at in range(0, len(self._sent), PIECE))

    def digest(self) -> None:
        return None
