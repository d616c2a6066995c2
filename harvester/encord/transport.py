"""The pooled transport: the SDK builds and signs requests, persistent connections carry them.

The SDK's `get_label_row`, `get_label_rows` and `list_label_rows` run unchanged. Its `Querier` and `ApiClient`
are replaced by subclasses that use persistent connections and do not parse the content of label rows. This
depends on internals of the SDK; `check_sdk` refuses a version in which they have changed.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import orjson
import requests
import urllib3
from encord.client import EncordClientProject
from encord.configs import Config
from encord.http.common import HEADER_CLOUD_TRACE_CONTEXT, RequestContext
from encord.http.error_utils import check_error_response
from encord.http.querier import Querier
from encord.http.request import Request
from encord.http.v2.api_client import ApiClient
from encord.http.v2.error_utils import handle_error_response

from harvester.encord import envelope
from harvester.encord.body import read_body
from harvester.encord.connections import Connections
from harvester.encord.listing import Spool, read_listing
from harvester.encord.responses import Read, reads_rows, refuse_redirect
from harvester.encord.sdk import PROJECT, Listing, is_date_signed
from harvester.encord.sdk_version import unknown_sdk
from harvester.errors import HarvesterError
from harvester.settings import Connection

# Bytes. A v2 answer is parsed as a whole, in memory; the largest one is an ontology. Chosen.
_LARGEST_V2_ANSWER = 256 * 1024**2

T = TypeVar("T")


class PooledTransport:
    """Send the SDK's calls over one pool of connections, and keep the JSON of their answers."""

    def __init__(self, connection: Connection, config: Config) -> None:
        """Raise BadInput if the CA bundle or the proxy cannot be used, or the SDK is unknown."""
        check_sdk()
        self._connection = connection
        self._config = config
        self._connections = Connections(connection)
        self.api: ApiClient = PooledApiClient(config, self._connections)

    def listing(self, project_hash: str, options: dict[str, Any]) -> AbstractContextManager[Listing]:
        # The server prepares the whole listing before it sends the first byte: allow all of the deadline for
        # that.
        client: Any = self._client(
            project_hash, read_listing, many=True, read_timeout=self._connection.request_deadline
        )
        spool: Spool
        (spool,) = client.list_label_rows(**options)
        return spool

    def label_rows(
        self, project_hash: str, *, as_sent: bool
    ) -> tuple[EncordClientProject, EncordClientProject]:
        most = self._connection.max_response_bytes
        return (
            self._client(project_hash, reads_rows(most, many=False, as_sent=as_sent), many=False),
            self._client(project_hash, reads_rows(most, many=True, as_sent=as_sent), many=True),
        )

    def close(self) -> None:
        self._connections.close()

    def _client(
        self, project_hash: str, read: Read, *, many: bool, read_timeout: float | None = None
    ) -> EncordClientProject:
        querier = PooledQuerier(
            self._config, project_hash, self._connections, read, many=many, read_timeout=read_timeout
        )
        return EncordClientProject(querier=querier, config=self._config, api_client=self.api)


class PooledQuerier(Querier):
    """Send the SDK's v1 requests over persistent connections; `read` turns each answer into one object.

    `_execute` returns that object (in a one-element list for calls that return lists). The SDK passes it
    through unchanged, because `_parse_response` is the identity here.
    """

    def __init__(
        self,
        config: Config,
        project_hash: str,
        connections: Connections,
        read: Read,
        *,
        many: bool,
        read_timeout: float | None = None,
    ) -> None:
        super().__init__(config, resource_type=PROJECT, resource_id=project_hash)
        self._domain = config.domain
        self._connections = connections
        self._read = read
        self._many = many
        self._read_timeout = read_timeout

    def _execute(
        self, request: Request, retryable: bool = False, enable_logging: bool = True
    ) -> tuple[Any, RequestContext]:
        headers = request.headers or {}
        context = _context(self._domain, headers)
        item = _carry(
            lambda: self._connections.send(
                "POST",
                self._config.endpoint,
                headers,
                request.data.encode(),
                read_timeout=self._read_timeout,
            ),
            lambda response: self._read(response, context),
            context,
        )
        if self._many and item is not None:
            return [item], context
        return item, context

    @staticmethod
    def _parse_response(response_type: type[T], item: Any) -> Any:
        return item


class PooledApiClient(ApiClient):
    """Send the SDK's v2 requests over persistent connections."""

    def __init__(self, config: Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    def _request(
        self,
        req: requests.PreparedRequest,
        *,
        result_type: Any,
        allow_none: bool = False,
        allow_retries: bool = True,
    ) -> Any:
        req = self._config.define_headers_v2(req)
        method, url = str(req.method), str(req.url)
        body = req.body.encode() if isinstance(req.body, str) else req.body
        context = _context(self._config.domain, req.headers)

        def read(response: urllib3.BaseHTTPResponse) -> Any:
            refuse_redirect(response)
            answer, _ = read_body(response, _LARGEST_V2_ANSWER)
            if response.status != 200:
                envelope.raise_for_status(response.status, response.headers, answer, context)
            # Our own result types may have `from_json`, if they need the JSON as sent.
            from_json = getattr(result_type, "from_json", None)
            return from_json(answer) if from_json else result_type.from_dict(orjson.loads(answer))

        return _carry(
            lambda: self._connections.send(method, url, req.headers, body),
            read,
            context,
            date_signed=is_date_signed(req),
        )


def _context(domain: str, headers: Mapping[str, Any]) -> RequestContext:
    """Return the context for the SDK's exceptions. Its trace id identifies the request on the server."""
    trace_id = str(headers.get(HEADER_CLOUD_TRACE_CONTEXT) or "").partition("/")[0]
    return RequestContext(trace_id=trace_id or None, domain=domain)


def _carry(
    send: Callable[[], urllib3.BaseHTTPResponse],
    read: Callable[[urllib3.BaseHTTPResponse], Any],
    context: RequestContext,
    *,
    date_signed: bool = False,
) -> Any:
    """Send a request and read its answer. Add to an exception what `faults.translate` needs to know."""
    response = None
    try:
        response = send()
        return read(response)
    except HarvesterError:
        raise
    except Exception as error:
        # The SDK keeps Retry-After for one status only, and in whole seconds. Keep the header itself for all.
        known: dict[str, Any] = {"context": context, "date_signed": date_signed}
        if response is not None:
            known["retry_after_header"] = response.headers.get("Retry-After")
            known["date_header"] = response.headers.get("Date")
        vars(error).update(known)
        raise


# -- the contract ---------------------------------------------------------------------------------

_INTERNALS: Mapping[Callable[..., Any], tuple[str, ...]] = {
    Querier.__init__: ("self", "config", "resource_type", "resource_id"),
    Querier._execute: ("self", "request", "retryable", "enable_logging"),
    Querier._parse_response: ("response_type", "item"),
    ApiClient.__init__: ("self", "config"),
    ApiClient._request: ("self", "req", "result_type", "allow_none", "allow_retries"),
    EncordClientProject.__init__: ("self", "querier", "config", "api_client"),
    check_error_response: ("response", "context", "payload"),
    handle_error_response: ("status_code", "response_headers", "message", "context"),
}


def check_sdk() -> None:
    """Raise BadInput if a function of the SDK that the pooled transport overrides or calls has changed."""
    for internal, known in _INTERNALS.items():
        if tuple(inspect.signature(internal).parameters) != known:
            raise unknown_sdk(f"{internal.__qualname__} has changed")
