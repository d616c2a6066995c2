"""Reads an answer: its status, its body, the envelope in it."""

from collections.abc import Callable
from typing import Any

import urllib3
from encord.http.common import RequestContext

from harvester.encord import envelope
from harvester.encord.body import RedirectRefused, read_body
from harvester.fetch.source import RowsResponse

# Makes what the caller wants of an answer, whose body is still to be read.
Read = Callable[[urllib3.BaseHTTPResponse, RequestContext], Any]

# HTTP statuses that come from in front of the API's own error handling, whatever the body says.
_STATUS_SAYS_ALL = (413, 429)


def reads_rows(max_bytes: int, *, many: bool, as_sent: bool) -> Read:
    """Reads a v1 answer of label rows into one `RowsResponse`, as `envelope.rows_of` does."""

    def read(response: urllib3.BaseHTTPResponse, context: RequestContext) -> RowsResponse | None:
        refuse_redirect(response)
        body, wire_bytes = read_body(response, max_bytes)
        raise_unless_envelope(response, body, context)
        return envelope.rows_of(body, wire_bytes, many=many, as_sent=as_sent, context=context)

    return read


def raise_unless_envelope(
    response: urllib3.BaseHTTPResponse, body: bytes | bytearray, context: RequestContext
) -> None:
    """Raises what the HTTP status means, where it and not the v1 envelope tells of the error."""
    status = response.status
    if status in _STATUS_SAYS_ALL or (status >= 400 and not envelope.is_envelope(body)):
        envelope.raise_for_status(status, response.headers, body, context)


def refuse_redirect(response: urllib3.BaseHTTPResponse) -> None:
    """Raises RedirectRefused if the server sends us elsewhere."""
    if 300 <= response.status < 400:
        response.close()
        raise RedirectRefused(f"HTTP status {response.status}")
