"""Runs one command as a process of its own, and measures all of it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from benchmarks.suite.scenarios import CONVERTS, OURS, ToolRun
from harvester.errors import CannotFinishNow
from harvester.simulator import Faults, Simulator

_TICK = 0.1  # seconds between two looks at the simulator's counters
_PEERS = Path(__file__).with_name("peers.py")
_PEER_COCO = Path(__file__).with_name("peer_coco.py")
_SECOND_OPINION = Path(__file__).parents[2] / ".second-opinion" / "bin" / "python"
_ROWS = "labelrow/GET"


class RequestSample(msgspec.Struct, frozen=True):
    """How many label row requests the simulator had by then, in seconds since the command began."""

    at: float
    asked: int
    refused: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one command. All of its process: imports, listing, fetching, writing.

    Attributes:
        seconds: of wall time.
        cpu_seconds: user and system, of the command and its children.
        peak_bytes: of resident memory; with several processes, of the largest.
        requests, refused, wire_bytes: as the server counted; `wire_bytes` are bodies as sent.
        json_bytes: of label JSON fetched; None where the tool does not tell.
        digest: of what was written; None where the tool has none.
        samples: all along, where they were asked for.
    """

    rows: int
    records: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    requests: int
    refused: int
    wire_bytes: int
    json_bytes: int | None = None
    digest: str | None = None
    samples: list[RequestSample] = []


def measure(run: ToolRun, simulator: Simulator, faults: Faults, *, watched: bool = False) -> Measured:
    """`run` against `simulator`, whose faults are set anew, so that schedules start with the command.

    Raises:
        CannotFinishNow: the command failed.
    """
    simulator.set_faults(faults)
    samples = list[RequestSample]()

    def look(at: float) -> None:
        now = simulator.stats()
        asked = now["by_kind"].get(_ROWS, 0) - before["by_kind"].get(_ROWS, 0)
        samples.append(RequestSample(round(at, 3), asked, now["refused"] - before["refused"]))

    with tempfile.TemporaryDirectory(prefix="harvester-bench-") as directory:
        output, bundle = Path(directory, "out"), Path(directory, "ca.pem")
        _write_ca_bundle(bundle, simulator)
        environment = _environment(simulator, bundle)
        if run.tool in CONVERTS or run.converts:
            made = CONVERTS.get(run.tool, run.arguments)
            _whole_process(_export(simulator, output, made), environment, None)
        before = simulator.stats()
        argv = _command(run, simulator, output)
        seconds, usage, said = _whole_process(argv, environment, look if watched else None)
        told, digest = _told(run, said), _digest(output) if run.tool == OURS else None
    after = simulator.stats()
    return Measured(
        rows=told["rows"],
        records=told["records"],
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        requests=after["requests"] - before["requests"],
        refused=after["refused"] - before["refused"],
        wire_bytes=after["bytes_sent"] - before["bytes_sent"],
        json_bytes=told.get("json_bytes"),
        digest=digest,
        samples=samples,
    )


def _command(run: ToolRun, simulator: Simulator, output: Path) -> list[str]:
    if run.converts:
        return [_INSTALLED, "convert", str(output), "-o", f"{output}.set", "--json", *run.converts]
    if run.tool == "coco":
        return [_INSTALLED, "convert", str(output), "-o", f"{output}.coco", "--to", "coco", "--json"]
    if run.tool == "platform_coco":
        if not _SECOND_OPINION.exists():
            raise CannotFinishNow("its environment is missing: make second-opinion")
        return [str(_SECOND_OPINION), "-P", str(_PEER_COCO), str(output), f"{output}.json"]
    if run.tool != OURS:
        # -P: beside the script lie modules that are none of the SDK's.
        return [sys.executable, "-P", str(_PEERS), run.tool, simulator.project_hash, str(output)]
    return _export(simulator, output, run.arguments)


_INSTALLED = str(Path(sys.executable).with_name("harvester"))


def _export(simulator: Simulator, output: Path, arguments: tuple[str, ...]) -> list[str]:
    return [_INSTALLED, "export", simulator.project_hash, "-o", str(output), "--json", *arguments]


def _write_ca_bundle(path: Path, simulator: Simulator) -> None:
    """All authorities that a client of the platform trusts, and the simulator's: what a handshake costs is
    for the most part reading them.
    """
    assert simulator.ca_file is not None
    path.write_bytes(Path(DEFAULT_CA_BUNDLE_PATH).read_bytes() + simulator.ca_file.read_bytes())


def _environment(simulator: Simulator, ca_bundle: Path) -> dict[str, str]:
    """What the export and the peers read alike; nothing of the user's own settings.

    What is installed is compiled already; where a source tree may not keep what is compiled, each start
    would compile it anew.
    """
    own = ("HARVESTER_", "ENCORD_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {
        "ENCORD_SSH_KEY_FILE": str(simulator.ssh_key_file),
        "ENCORD_DOMAIN": simulator.url,
        "REQUESTS_CA_BUNDLE": str(ca_bundle),
    }


def _whole_process(
    argv: list[str], environment: dict[str, str], look: Callable[[float], None] | None
) -> tuple[float, Any, bytes]:
    """Wall seconds, resource usage and standard output of a command; `look` is called now and then.

    Raises CannotFinishNow with the last line that it said.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            # Popen's own wait would take the resource usage with it.
            pid, status, usage = os.wait4(process.pid, os.WNOHANG if look else 0)
            while not pid and look:
                look(time.perf_counter() - began)
                time.sleep(_TICK)
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            said = err.read().decode(errors="replace").strip().splitlines() or [""]
            raise CannotFinishNow(f"{Path(argv[0]).name} ended with {process.returncode}: {said[-1]}")
        return seconds, usage, out.read()


def _told(run: ToolRun, said: bytes) -> dict[str, int]:
    """Rows, records and, of ours, bytes of label JSON, as the command told."""
    if run.tool != OURS and run.tool != "coco":
        return msgspec.json.decode(said, type=dict[str, int])
    summary = msgspec.json.decode(said)
    if run.tool == "coco" or run.converts:
        return {
            kind: summary["records"][of]["written"]
            for kind, of in (("rows", "units"), ("records", "objects"))
        }
    return {
        "rows": summary["counts"]["harvested"],
        "records": sum(kind["written"] for kind in summary["records"].values()),
        "json_bytes": summary["run"]["body_bytes"],
    }


def _digest(output: Path) -> str:
    digest: str = msgspec.json.decode((output / "manifest.json").read_bytes())["digest"]
    return digest
