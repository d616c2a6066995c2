"""Under the SDK's own calls: it builds and signs a request and names its errors, we carry the bytes.

`get_label_row`, `get_label_rows` and `list_label_rows` of the SDK's project client run unchanged; its
`Querier` and `ApiClient` are replaced by ones that send over kept-alive connections and do not parse
what label rows hold. `check_sdk` holds the internals that this stands on to what they were.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import encord
import orjson
import requests
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord.client import EncordClientProject
from encord.configs import BearerConfig, Config, SshConfig
from encord.constants.string_constants import TYPE_PROJECT
from encord.http.common import HEADER_CLOUD_TRACE_CONTEXT, RequestContext
from encord.http.constants import RequestsSettings
from encord.http.error_utils import check_error_response
from encord.http.querier import Querier
from encord.http.request import Request
from encord.http.v2.api_client import ApiClient
from encord.http.v2.error_utils import handle_error_response

from harvester.encord import envelope, guard
from harvester.encord.body import read_body
from harvester.encord.connections import Connections
from harvester.encord.credentials import BearerToken
from harvester.errors import BadInput, HarvesterError
from harvester.settings import Connection

KNOWN_SDK = "0.1.211"

T = TypeVar("T")
Read = Callable[[urllib3.BaseHTTPResponse, RequestContext], Any]


class RedirectRefused(Exception):
    """The server answered with a redirect; its request was signed for nobody else."""


# -- the SDK's configuration: what is not a read is never signed ----------------------------------


class _GuardedSsh(SshConfig):
    def define_headers(self, resource_id: str | None, resource_type: str | None, data: str) -> dict[str, Any]:
        guard.check_v1(data)
        return super().define_headers(resource_id, resource_type, data)

    def define_headers_v2(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        guard.check_v2(request.method, request.path_url)
        return super().define_headers_v2(request)


class _GuardedBearer(BearerConfig):
    def define_headers(self, resource_id: str | None, resource_type: str | None, data: str) -> dict[str, Any]:
        guard.check_v1(data)
        return super().define_headers(resource_id, resource_type, data)

    def define_headers_v2(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        guard.check_v2(request.method, request.path_url)
        return super().define_headers_v2(request)


def sdk_config(connection: Connection, credentials: Ed25519PrivateKey | BearerToken) -> Config:
    """The SDK's configuration: it signs reads and refuses all else, and retries nothing by itself."""
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


def project_client(config: Config, querier: Querier, api_client: ApiClient) -> EncordClientProject:
    """The SDK's client of one project: the one that `querier` asks for."""
    return EncordClientProject(querier=querier, config=config, api_client=api_client)


# -- the SDK's two ways to send a request ---------------------------------------------------------


class PooledQuerier(Querier):
    """The SDK's v1 requests over kept-alive connections, each answer made into one item by `read`.

    The SDK's getters hand on that item as it is: the single one, or the only one of its list.
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
        super().__init__(config, resource_type=TYPE_PROJECT, resource_id=project_hash)
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


class PlainQuerier(Querier):
    """The SDK's own v1 requests, untouched; only the answer stays the JSON that it was."""

    def __init__(self, config: Config, project_hash: str) -> None:
        super().__init__(config, resource_type=TYPE_PROJECT, resource_id=project_hash)

    @staticmethod
    def _parse_response(response_type: type[T], item: Any) -> Any:
        return item


class PooledApiClient(ApiClient):
    """The SDK's v2 requests over kept-alive connections."""

    def __init__(self, config: Config, connections: Connections, max_bytes: int) -> None:
        super().__init__(config)
        self._connections = connections
        self._max_bytes = max_bytes

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
            answer, _ = read_body(response, self._max_bytes)
            if response.status != 200:
                envelope.raise_for_status(response.status, response.headers, answer, context)
            return result_type.from_dict(orjson.loads(answer))

        return _carry(lambda: self._connections.send(method, url, req.headers, body), read, context)


def refuse_redirect(response: urllib3.BaseHTTPResponse) -> None:
    """Raises RedirectRefused if the server sends us elsewhere."""
    if 300 <= response.status < 400:
        response.close()
        raise RedirectRefused(f"HTTP status {response.status}")


def _context(domain: str, headers: Mapping[str, Any]) -> RequestContext:
    """What the SDK's errors carry to be found again on the server."""
    trace_id = str(headers.get(HEADER_CLOUD_TRACE_CONTEXT) or "").partition("/")[0]
    return RequestContext(trace_id=trace_id or None, domain=domain)


def _carry(
    send: Callable[[], urllib3.BaseHTTPResponse],
    read: Callable[[urllib3.BaseHTTPResponse], Any],
    context: RequestContext,
) -> Any:
    """What `read` makes of the answer. An error carries what `faults.translate` wants to know of it."""
    response = None
    try:
        response = send()
        return read(response)
    except HarvesterError:
        raise
    except Exception as error:
        # The SDK keeps Retry-After of one status only, and in whole seconds; here all of it goes along.
        known: dict[str, Any] = {"context": context}
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
    """Raises BadInput if an internal of the SDK that the pooled transport stands on has moved."""
    for internal, known in _INTERNALS.items():
        if tuple(inspect.signature(internal).parameters) != known:
            raise BadInput(
                f"this version of encord ({encord.__version__}) is not known to the pooled transport"
                f" ({internal.__qualname__} has changed): use --transport sdk, or install encord {KNOWN_SDK}"
            )
