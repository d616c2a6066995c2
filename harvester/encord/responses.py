"""Read an answer: its status, its body, and the envelope in it."""

from collections.abc import Callable
from typing import Any

import urllib3
from encord.http.common import RequestContext

from harvester.encord import envelope
from harvester.encord.body import RedirectRefused, read_body
from harvester.fetch.source import RowsResponse

# Reads the body of an answer, and returns what the caller needs of it.
Read = Callable[[urllib3.BaseHTTPResponse, RequestContext], Any]

# HTTP statuses that come from a proxy or load balancer in front of the API. The body does not matter then.
_STATUS_SAYS_ALL = (413, 429)


def reads_rows(max_bytes: int, *, many: bool, as_sent: bool) -> Read:
    """Return a function that reads a v1 answer of label rows, see `envelope.rows_of` for the arguments."""

    def read(response: urllib3.BaseHTTPResponse, context: RequestContext) -> RowsResponse | None:
        refuse_redirect(response)
        body, wire_bytes = read_body(response, max_bytes)
        raise_unless_envelope(response, body, context)
        return envelope.rows_of(body, wire_bytes, many=many, as_sent=as_sent, context=context)

    return read


def raise_unless_envelope(
    response: urllib3.BaseHTTPResponse, body: bytes | bytearray, context: RequestContext
) -> None:
    """Raise the exception for the HTTP status, unless the body is a v1 envelope, which has its own status."""
    status = response.status
    if status in _STATUS_SAYS_ALL or (status >= 400 and not envelope.is_envelope(body)):
        envelope.raise_for_status(status, response.headers, body, context)


def refuse_redirect(response: urllib3.BaseHTTPResponse) -> None:
    """Raise RedirectRefused if the answer is a redirect."""
    if 300 <= response.status < 400:
        response.close()
        raise RedirectRefused(f"HTTP status {response.status}")
