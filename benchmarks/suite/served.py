"""What the simulator itself can serve: to connections that ask, throw the answer away, and ask again."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

import anyio
from encord.client import EncordClientProject
from encord.configs import Config
from encord.http.common import RequestContext
from encord.http.querier import Querier
from encord.http.request import Request
from encord.http.v2.api_client import ApiClient

from harvester.encord.credentials import load_credentials
from harvester.encord.sdk import PROJECT, sdk_config
from harvester.encord.session import Session
from harvester.errors import CannotFinishNow
from harvester.plan.planned import listed_rows
from harvester.settings import Connection, Selection
from harvester.simulator import Simulator

_REQUESTS = 200  # different ones, signed before the clock starts
_LENGTH = re.compile(rb"HTTP/1.1 200 .*\r\ncontent-length: *(\d+)", re.I | re.S)


def rows_served(
    simulator: Simulator, connections: int, *, warm_up: float = 2.0, seconds: float = 10.0
) -> float:
    """Rows a second, one a request, to so many connections. Blocking, for the seconds given."""
    connection = Connection(
        domain=simulator.url, ssh_key_file=simulator.ssh_key_file, ca_bundle=simulator.ca_file
    )
    trust = ssl.create_default_context(cafile=connection.ca_bundle)
    requests, server = _signed(simulator, connection), urlsplit(simulator.url)
    answers = 0

    async def ask(mine: Iterator[bytes]) -> None:
        nonlocal answers
        reader, writer = await asyncio.open_connection(server.hostname, server.port, ssl=trust)
        try:
            for request in mine:
                writer.write(request)
                length = _LENGTH.search(await reader.readuntil(b"\r\n\r\n"))
                if length is None:
                    raise CannotFinishNow("the simulator refused to serve a label row")
                await reader.readexactly(int(length[1]))
                answers += 1
        finally:
            writer.transport.abort()

    async def measure() -> float:
        async with anyio.create_task_group() as group:
            for at in range(connections):
                group.start_soon(ask, islice(cycle(requests), at, None))
            await anyio.sleep(warm_up)
            began, before = anyio.current_time(), answers
            await anyio.sleep(seconds)
            found = (answers - before) / (anyio.current_time() - began)
            group.cancel_scope.cancel()
        return found

    return anyio.run(measure)


def _signed(simulator: Simulator, connection: Connection) -> list[bytes]:
    """Whole requests for single label rows, as the SDK makes them."""
    config = sdk_config(connection, load_credentials(connection))
    signing = _Signing(config, simulator.project_hash)
    client = EncordClientProject(querier=signing, config=config, api_client=ApiClient(config))
    session = Session.open(connection)
    try:
        project = session.find_project(simulator.project_hash)
        with session.listing(project, Selection()) as listing:
            labelled = (row.label_hash for row, _ in listed_rows(listing) if row.label_hash)
            for label_hash in islice(labelled, _REQUESTS):
                client.get_label_row(label_hash, get_signed_url=False)
    finally:
        session.close()
    return [_written(request, config.endpoint) for request in signing.kept]


def _written(request: Request, endpoint: str) -> bytes:
    target, body = urlsplit(endpoint), request.data.encode()
    headers = (request.headers or {}) | {"Host": target.netloc, "Content-Length": len(body)}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Signing(Querier):
    """Keeps the SDK's requests instead of sending them."""

    def __init__(self, config: Config, project_hash: str) -> None:
        super().__init__(config, resource_type=PROJECT, resource_id=project_hash)
        self.kept: list[Request] = []

    def _execute(self, request: Request, *_: Any, **options: Any) -> tuple[Any, RequestContext]:
        self.kept.append(request)
        return {"label_hash": ""}, RequestContext()
