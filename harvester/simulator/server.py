"""The simulator's process: one event loop, a port for the API and one for files, one line of JSON."""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import uvloop

from harvester.simulator.app import CONTROL, App
from harvester.simulator.certificates import HOST, Identity, make_identity
from harvester.simulator.faults import Faults
from harvester.simulator.listener import Listener
from harvester.simulator.site import Site
from harvester.simulator.storage.file_server import FileServer
from harvester.simulator.world import World, WorldSpec


class Listening(msgspec.Struct, frozen=True):
    """How to reach the simulator: the line that it prints when it listens."""

    url: str
    project_hash: str
    project_title: str
    ssh_key_file: str
    ca_file: str | None
    token_file: str
    rows: int
    edit_url: str  # POST `Edits` as JSON
    faults_url: str  # POST `Faults` as JSON
    media_url: str  # where signed URLs lead


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a simulator.

    Attributes:
        port: 0 is any free one.
        directory: where key and certificates are written. Default: a temporary one, removed at the end.
        edit_every: seconds between two random edits (`World.edit_at_random`); None: only edits on request.
    """

    spec: WorldSpec
    faults: Faults = Faults()
    tls: bool = True
    port: int = 0
    directory: str | None = None
    edit_every: float | None = None


Stop = Callable[[asyncio.Event], None]


def serve(
    options: Options,
    announce: Callable[[Listening], None],
    stop: Stop,
    make_world: Callable[[WorldSpec], World] = World,
) -> None:
    """Serve until the event that `stop` was given is set.

    Args:
        announce: called once, when the simulator listens.
        stop: called once with an event; it arranges that the event is set when the simulator is to end.
        make_world: makes the project that is served.

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
        runner.run(_serve(options, identity, announce, stop, make_world))


async def _serve(
    options: Options,
    identity: Identity,
    announce: Callable[[Listening], None],
    stop: Stop,
    make_world: Callable[[WorldSpec], World],
) -> None:
    ended = asyncio.Event()
    stop(ended)
    listener = Listener(identity.tls, options.port)
    world = make_world(options.spec)
    site = Site(world, identity, options.faults)
    app = App(site, listener.schedule)
    app.set_faults(options.faults)
    await listener.open(app)
    files = Listener(identity.tls, 0)
    await files.open(FileServer(site, files.port))
    project = world.project()
    url = f"{'https' if identity.tls else 'http'}://{HOST}:{listener.port}"
    world.store.base = f"{'https' if identity.tls else 'http'}://{HOST}:{files.port}"
    announce(
        Listening(
            url=url,
            project_hash=project["projectHash"],
            project_title=project["title"],
            ssh_key_file=str(identity.ssh_key_file),
            ca_file=str(identity.ca_file) if identity.ca_file else None,
            token_file=str(identity.token_file),
            rows=options.spec.rows,
            edit_url=f"{url}{CONTROL}edit",
            faults_url=f"{url}{CONTROL}faults",
            media_url=world.store.base,
        )
    )
    async with asyncio.TaskGroup() as group:
        if options.edit_every is not None:
            editing = group.create_task(site.edit_every(options.edit_every))
        await ended.wait()
        if options.edit_every is not None:
            editing.cancel()
    await files.end()
    await listener.end()
