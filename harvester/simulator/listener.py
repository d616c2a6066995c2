"""A listening port with uvicorn's HTTP protocol, but not its server: faults close and open the port."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from harvester.simulator.app import CONNECTION
from harvester.simulator.certificates import HOST
from harvester.simulator.delivery import Receive, Send
from harvester.simulator.faults import Faults

BACKLOG = 1024
KEEP_ALIVE = 75  # seconds that an idle connection is kept
A_MOMENT = 0.05  # seconds for the answer to the request that closed the port


Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP connection; the application finds it in the scope's extensions."""

    counted = False  # its first request to the API sets this

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]


class Listener:
    """A listening port, which is closed during outages of the kind `port_closed`."""

    def __init__(self, tls: ssl.SSLContext | None, port: int) -> None:
        self._tls = tls
        self._state = ServerState()
        self._protocol: Callable[[], asyncio.Protocol] | None = None
        self._server: asyncio.Server | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._socket = _bound(port)
        self.port = self._socket.getsockname()[1]

    async def open(self, app: Application) -> None:
        config = Config(
            app=app,
            http=Connection,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        config.load()
        self._protocol = partial(Connection, config=config, server_state=self._state, app_state={})
        await self._listen()

    def schedule(self, faults: Faults) -> None:
        """Close and open the port when `faults` say so."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if faults.outage_as == "port_closed":
            loop = asyncio.get_running_loop()
            for start, end in faults.outages:
                self._timers.append(loop.call_later(max(start, A_MOMENT), self._close))
                self._timers.append(loop.call_later(end, self._reopen))

    async def _listen(self) -> None:
        assert self._protocol is not None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, sock=self._socket, ssl=self._tls, backlog=BACKLOG
        )

    async def end(self) -> None:
        """Close the port and every connection, and wait up to 1 s for the requests in progress."""
        self.schedule(Faults())
        self._close()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=1)

    def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._socket.close()
        for connection in list(self._state.connections):
            connection.transport.abort()

    def _reopen(self) -> None:
        self._socket = _bound(self.port)
        task = asyncio.create_task(self._listen())
        self._state.tasks.add(task)  # the event loop holds tasks weakly
        task.add_done_callback(self._state.tasks.discard)


def _bound(port: int) -> socket.socket:
    """Return a socket bound to the port. Raises OSError if it is taken."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound
