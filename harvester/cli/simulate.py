"""`simulate`: a server like the platform, to try harvester or another client without an account."""

import asyncio
import errno
import signal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from harvester.cli import screen as on
from harvester.cli import values
from harvester.errors import BadInput, how_to_install

Rows = Annotated[int, typer.Option("--rows", metavar="NUMBER", min=0, help="Data units of the project.")]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", help="Another seed, another project.")]
Title = Annotated[str, typer.Option("--title", metavar="TITLE", help="Title of the project.")]
Objects = Annotated[
    float, typer.Option("--objects", metavar="NUMBER", help="Objects a label row, on average.")
]
Unlabelled = Annotated[
    float, typer.Option("--unlabelled", metavar="SHARE", min=0, max=1, help="Share of rows without a label.")
]
Latency = Annotated[str, typer.Option("--latency", metavar="TIME", help="Until an answer starts.")]
Jitter = Annotated[str, typer.Option("--jitter", metavar="TIME", help="Up to so much on top.")]
Rate = Annotated[float | None, typer.Option("--rate", metavar="NUMBER", help="Requests a second; 429 above.")]
Burst = Annotated[
    float | None, typer.Option("--burst", metavar="NUMBER", help="Requests at once. [the rate]")
]
MaxRows = Annotated[
    int | None, typer.Option("--max-rows", metavar="NUMBER", help="Label rows a request, at most.")
]
VariableRate = Annotated[
    bool, typer.Option("--variable-frame-rate", help="Frames of videos are shown for unequal times.")
]
MediaUrlLife = Annotated[
    str | None,
    typer.Option("--media-url-life", metavar="TIME", help="How long a signed URL is good for. [1d]"),
]
MediaRate = Annotated[
    float | None,
    typer.Option("--media-rate", metavar="NUMBER", help="Requests a second for files; 429 above."),
]
FaultsFile = Annotated[
    Path | None,
    typer.Option(
        "--faults", metavar="FILE",
        help='All that can go wrong, as JSON, e.g. {"strikes": ["503"], "every": 10}; an unknown '
        "key is refused with a list of all. The flags above add to it.",
    ),
]  # fmt: skip
EditEvery = Annotated[
    str | None,
    typer.Option(
        "--edit-every", metavar="TIME",
        help="Every so often, edit one to three random rows; at times, move, remove or add one as well. The "
        "seed chooses. [never]",
    ),
]  # fmt: skip
Port = Annotated[int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="0: any free one.")]
Http = Annotated[bool, typer.Option("--http", help="Without TLS.")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="For key, token and CA, and kept. [temporary]"),
]


def simulate(
    *,
    rows: Rows = 5000,
    seed: Seed = 1,
    title: Title = "Demo street scenes",
    objects: Objects = 6.0,
    unlabelled: Unlabelled = 0.1,
    latency: Latency = "0s",
    jitter: Jitter = "0s",
    rate: Rate = None,
    burst: Burst = None,
    max_rows: MaxRows = None,
    variable_frame_rate: VariableRate = False,
    media_url_life: MediaUrlLife = None,
    media_rate: MediaRate = None,
    faults: FaultsFile = None,
    edit_every: EditEvery = None,
    port: Port = 0,
    http: Http = False,
    directory: Directory = None,
) -> None:
    """Serve a simulated project on loopback, and print how to reach it as a line of JSON.

    While it serves, POST {"random": 5} to the line's edit_url to edit five rows; docs/simulator.md lists what
    else can be edited.
    """
    try:
        from harvester.simulator import Faults, WorldSpec
        from harvester.simulator.server import Options, serve
    except ModuleNotFoundError as exc:
        raise BadInput(f"{exc.name} is missing: {how_to_install('simulator')}") from exc

    flags = {"rate": rate, "burst": burst, "max_rows": max_rows}
    flags |= {"media_rate": media_rate, "media_url_life": _positive("--media-url-life", media_url_life)}
    flags |= {"latency": values.duration(latency) or None, "jitter": values.duration(jitter) or None}
    wanted = {} if faults is None else _json(faults)
    if unknown := [key for key in wanted if key not in Faults.__struct_fields__]:
        known = ", ".join(Faults.__struct_fields__)
        raise BadInput(f"{faults}: unknown fault {unknown[0]!r}: one of {known}")
    wanted |= {name: value for name, value in flags.items() if value is not None}
    try:
        chosen = msgspec.convert(wanted, Faults)
    except msgspec.ValidationError as exc:
        raise BadInput(f"these faults cannot be played: {exc}") from exc
    spec = WorldSpec(
        rows=rows, seed=seed, title=title, objects=objects, unlabelled=unlabelled,
        variable_frame_rate=variable_frame_rate,
    )  # fmt: skip
    options = Options(
        spec=spec,
        faults=chosen,
        tls=not http,
        port=port,
        directory=str(directory) if directory else None,
        edit_every=_positive("--edit-every", edit_every),
    )
    try:
        serve(options, on.put_json, _until_interrupted)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        raise BadInput(f"port {port} is in use: choose another --port, or 0 for any free one") from exc


def _positive(flag: str, text: str | None) -> float | None:
    """Return a duration in seconds, above 0."""
    seconds = None if text is None else values.duration(text)
    if seconds is not None and seconds <= 0:
        raise BadInput(f"{flag}: a time above 0, e.g. 10s")
    return seconds


def _json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise BadInput(f"{path}: {exc}") from exc


def _until_interrupted(ended: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
