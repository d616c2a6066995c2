"""The simulator's process: one event loop, one port, one line of JSON when it listens."""

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import uvloop
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from harvester.simulator.app import CONNECTION, App
from harvester.simulator.certificates import HOST, Identity, make_identity
from harvester.simulator.faults import Faults
from harvester.simulator.site import Site
from harvester.simulator.world import World, WorldSpec

BACKLOG = 1024
KEEP_ALIVE = 75  # seconds that an idle connection is kept
A_MOMENT = 0.05  # seconds for the answer to whoever closed the port


class Listening(msgspec.Struct, frozen=True):
    """What a client needs to know; the line that is printed when the simulator listens."""

    url: str
    project_hash: str
    project_title: str
    ssh_key_file: str
    ca_file: str | None
    token_file: str
    rows: int


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve. `port` 0 is any free one; without `directory` a temporary one is made and removed."""

    spec: WorldSpec
    faults: Faults = Faults()
    tls: bool = True
    port: int = 0
    directory: str | None = None


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP connection, within the application's reach."""

    counted = False  # its first request to the API sets this

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]


class Listener:
    """The port: open, and closed during outages that want it so."""

    def __init__(self, tls: ssl.SSLContext | None, port: int) -> None:
        self._tls = tls
        self._state = ServerState()
        self._protocol: Callable[[], asyncio.Protocol] | None = None
        self._server: asyncio.Server | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._socket = _bound(port)
        self.port = self._socket.getsockname()[1]

    async def open(self, app: App) -> None:
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
        """Close the port and every connection; whatever is being answered finds its client gone."""
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
        self._state.tasks.add(task)  # a task lives as long as somebody holds it
        task.add_done_callback(self._state.tasks.discard)


def _bound(port: int) -> socket.socket:
    """A socket on the port. OSError if it is taken."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


Stop = Callable[[asyncio.Event], None]


def serve(options: Options, announce: Callable[[Listening], None], stop: Stop) -> None:
    """Serve until `stop` says so.

    Args:
        announce: called once, when requests can come.
        stop: called once with the event that is to be set when it is time to end.

    Raises:
        OSError: the port is taken, or the directory cannot be written.
    """
    with ExitStack() as stack:
        directory = options.directory
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="harvester-simulator-"))
        Path(directory).mkdir(parents=True, exist_ok=True)
        identity = make_identity(Path(directory), tls=options.tls)
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runner.run(_serve(options, identity, announce, stop))


async def _serve(
    options: Options,
    identity: Identity,
    announce: Callable[[Listening], None],
    stop: Stop,
) -> None:
    ended = asyncio.Event()
    stop(ended)
    listener = Listener(identity.tls, options.port)
    world = World(options.spec)
    site = Site(world, identity, options.faults)
    app = App(site, listener.schedule)
    app.set_faults(options.faults)
    await listener.open(app)
    project = world.project()
    announce(
        Listening(
            url=f"{'https' if identity.tls else 'http'}://{HOST}:{listener.port}",
            project_hash=project["projectHash"],
            project_title=project["title"],
            ssh_key_file=str(identity.ssh_key_file),
            ca_file=str(identity.ca_file) if identity.ca_file else None,
            token_file=str(identity.token_file),
            rows=options.spec.rows,
        )
    )
    await ended.wait()
    await listener.end()
