"""Runs one command as a process of its own, and measures all of it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from benchmarks.suite.scenarios import AFTER_EXPORT, OURS, ToolRun
from harvester.errors import CannotFinishNow
from harvester.simulator import Faults, Simulator

_TICK = 0.1  # seconds between two looks at the simulator's counters
_PEERS = Path(__file__).with_name("peers.py")
_LAUNCH = Path(__file__).with_name("launch.py")
_BY_HAND = Path(__file__).with_name("by_hand.py")
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
        written_bytes: of the files that it left; None of exports.
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
    written_bytes: int | None = None
    digest: str | None = None
    samples: list[RequestSample] = []


def measure(run: ToolRun, source: Simulator | Path, faults: Faults, *, watched: bool = False) -> Measured:
    """`run` against a simulator, whose faults are set anew, so that schedules start with the command.

    Or on what `inputs.made_input` has made in a directory, without a server.

    Raises:
        CannotFinishNow: the command failed.
    """
    with tempfile.TemporaryDirectory(prefix="harvester-bench-") as directory:
        output = Path(directory, "out")
        if isinstance(source, Path):
            return _measure_offline(run, source, output)
        source.set_faults(faults)
        return _measure_online(run, source, output, watched=watched)


def _measure_online(run: ToolRun, simulator: Simulator, output: Path, *, watched: bool) -> Measured:
    samples = list[RequestSample]()

    def look(at: float) -> None:
        now = simulator.stats()
        asked = now["by_kind"].get(_ROWS, 0) - before["by_kind"].get(_ROWS, 0)
        samples.append(RequestSample(round(at, 3), asked, now["refused"] - before["refused"]))

    bundle = output.with_name("ca.pem")
    _write_ca_bundle(bundle, simulator)
    environment = _environment(simulator, bundle)
    if run.tool in AFTER_EXPORT:
        _whole_process(_export(simulator, output, run.arguments), environment, None)
        argv, made = _conversion(run, output), output.with_name("made")
    else:
        argv, made = _exporting(run, simulator, output), None
    before = simulator.stats()
    took, said = _whole_process(argv, environment, look if watched else None)
    after = simulator.stats()
    told = _told(run, said)
    return Measured(
        **took,
        **told,
        requests=after["requests"] - before["requests"],
        refused=after["refused"] - before["refused"],
        wire_bytes=after["bytes_sent"] - before["bytes_sent"],
        written_bytes=None if made is None else _size(made),
        digest=_digest(output) if run.tool == OURS else None,
        samples=samples,
    )


def _measure_offline(run: ToolRun, source: Path, output: Path) -> Measured:
    if run.tool == "compact":
        shutil.copytree(source / "synced", output)
        argv = [_INSTALLED, "compact", str(output), "--json"]
    elif run.tool == "convert":
        argv = [_INSTALLED, "convert", str(source / "export"), "-o", str(output), "--json", *run.converts]
    elif run.tool == "aria2c":
        if not shutil.which("aria2c"):
            raise CannotFinishNow("it is not installed: apt-get install aria2")
        argv = ["aria2c", "-q", "-j16", "-d", str(output), "-i", str(source / "urls")]
    else:
        argv = [sys.executable, "-m", "benchmarks.suite.jobs", run.tool, str(source), str(output)]
    took, said = _whole_process(argv, dict(os.environ), None)
    told = dict.fromkeys(("rows", "records"), run.rows) if run.tool == "aria2c" else _told(run, said)
    return Measured(**took, **told, requests=0, refused=0, wire_bytes=0, written_bytes=_size(output))


def _size(made: Path) -> int:
    """Return the bytes of the objects of a data set, or of all files."""
    objects = made / "objects"  # of Parquet: the peer writes nothing else
    where = objects if objects.is_dir() else made
    files = where.rglob("*") if where.is_dir() else [where] if where.exists() else []
    return sum(path.stat().st_size for path in files if path.is_file())


def _conversion(run: ToolRun, export: Path) -> list[str]:
    made = str(export.with_name("made"))
    if run.tool == "convert":
        return [_INSTALLED, "convert", str(export), "-o", made, "--json", *run.converts]
    if run.tool == "platform_coco":
        if not _SECOND_OPINION.exists():
            raise CannotFinishNow("its environment is missing: make second-opinion")
        return [str(_SECOND_OPINION), "-P", str(_PEER_COCO), str(export), made]
    return [sys.executable, "-P", str(_BY_HAND), run.tool.removesuffix("_by_hand"), str(export), made]


def _exporting(run: ToolRun, simulator: Simulator, output: Path) -> list[str]:
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
) -> tuple[dict[str, Any], bytes]:
    """Return what a command took, and its standard output. `look` is called now and then.

    Raises CannotFinishNow with the last line that it said.
    """
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.NamedTemporaryFile("r") as note,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCH), note.name, *argv],
            env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            while look:
                look(time.perf_counter() - began)
                try:
                    process.wait(_TICK)
                    break
                except subprocess.TimeoutExpired:
                    continue
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if process.returncode:
            said = err.read().decode(errors="replace").strip().splitlines() or [""]
            raise CannotFinishNow(f"{Path(argv[0]).name} ended with {process.returncode}: {said[-1]}")
        cpu_seconds, peak = map(float, note.read().split())
        peak_bytes = int(peak) * (1 if sys.platform == "darwin" else 1024)
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes}, out.read()


def _told(run: ToolRun, said: bytes) -> dict[str, Any]:
    """Rows, records and, of exports, bytes of label JSON, as the command told."""
    if run.tool not in (OURS, "convert", "compact"):
        return msgspec.json.decode(said, type=dict[str, int])
    summary = msgspec.json.decode(said)
    if run.tool == "convert":
        kinds = summary["records"]
        return {"rows": kinds.get("units", {}).get("written", 0), "records": kinds["objects"]["written"]}
    records = sum(kind["written"] for kind in summary["records"].values())
    if run.tool == "compact":
        return {"rows": summary["counts"]["harvested"], "records": records}
    return {
        "rows": summary["counts"]["harvested"],
        "records": records,
        "json_bytes": summary["run"]["body_bytes"],
    }


def _digest(output: Path) -> str:
    digest: str = msgspec.json.decode((output / "manifest.json").read_bytes())["digest"]
    return digest
