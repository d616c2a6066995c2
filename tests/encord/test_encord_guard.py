"""Nothing but reads is sent, on either transport."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from harvester.encord import guard
from harvester.encord.session import Session
from harvester.errors import Stop
from tests.encord.recording import PROJECT, Recording


def v1(query_type: str, query_method: str) -> str:
    return json.dumps({"query_type": query_type, "query_method": query_method, "values": {"uid": None}})


@pytest.mark.parametrize("query_type", ["labelrow", "labelrowmetadata"])
def test_reads_of_label_rows_pass(query_type: str) -> None:
    """The two v1 calls that an export makes are let through."""
    guard.check_v1(v1(query_type, "GET"))


@pytest.mark.parametrize(
    "body",
    [
        v1("labelrow", "PUT"),
        v1("labelrow", "POST"),
        v1("labelrow", "DELETE"),
        v1("labelrow", "get"),
        v1("project", "GET"),
        v1("labelrowmetadata", "POST"),
        "{}",
        "[]",
        "",
        '{"query_type": "labelrow", "query_method": "GET", "query_method": "PUT"}',
        '{"query_type": "labelrow", "query_method": ["GET"]}',
    ],
)
def test_every_other_v1_body_is_refused(body: str) -> None:
    """A write, another resource, and a body that does not say what it does."""
    with pytest.raises(Stop, match="refused before sending"):
        guard.check_v1(body)


def test_v2_takes_gets_and_the_two_posts_that_read() -> None:
    """Any GET passes, and reading classifications or storage items in bulk, which are POSTs."""
    guard.check_v2("GET", "/v2/public/projects?titleEq=a")
    guard.check_v2("POST", "/v2/public/projects/h/label-rows/classifications")
    guard.check_v2("POST", "/v2/public/storage/items/get-bulk")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v2/public/projects"),
        ("POST", "/v2/public/projects/a/b/label-rows/classifications"),
        ("POST", "/v2/public/projects/h/label-rows/classifications/x"),
        ("POST", "/v2/public/x?/v2/public/projects/h/label-rows/classifications"),
        ("POST", "/v2/public/storage/items/get-bulk/x"),
        ("POST", "/v2/public/storage/items/patch-bulk"),
        ("POST", "/v2/public/storage/items/get-bulk/../patch-bulk"),
        ("POST", "/v2/public/storage/items"),
        ("POST", "/v2/public/projects/h/storage/items/get-bulk"),
        ("PUT", "/v2/public/storage/items/get-bulk"),
        ("PATCH", "/v2/public/storage/items/patch-bulk"),
        ("PUT", "/v2/public/projects/h"),
        ("PATCH", "/v2/public/projects/h"),
        ("DELETE", "/v2/public/projects/h"),
        (None, "/v2/public/projects"),
    ],
)
def test_every_other_v2_request_is_refused(method: str | None, target: str) -> None:
    """Writes, and what only looks like the reading POST."""
    with pytest.raises(Stop, match="refused before sending"):
        guard.check_v2(method, target)


WRITES: dict[str, Callable[[Any, Session], object]] = {
    "create_label_row": lambda client, _: client.create_label_row("data"),
    "create_label_rows": lambda client, _: client.create_label_rows(["data"]),
    "save_label_row": lambda client, _: client.save_label_row("row", {"label_hash": "row"}),
    "a v2 post": lambda _, session: session._transport.api.post(
        "projects", params=None, payload=None, result_type=None
    ),
    "a v2 patch": lambda _, session: session._transport.api.patch(
        "p/1", params=None, payload=None, result_type=None
    ),
    "a v2 delete": lambda _, session: session._transport.api.delete("projects/1", None),
}


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize("write", WRITES)
def test_no_byte_of_a_write_reaches_the_server(
    server: Recording, connect: Callable[..., Session], way: str, write: str
) -> None:
    """The SDK's own writing calls are stopped before a connection is opened, on both transports."""
    session = connect(transport=way)
    _, client = session._transport.label_rows(PROJECT, as_sent=True)
    with pytest.raises(Stop, match="harvester only reads"):
        WRITES[write](client, session)
    assert server.asked == []
