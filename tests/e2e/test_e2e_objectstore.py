"""The installed command with an S3 server over HTTP on loopback; and compressed, in files and in a stream."""

import gzip
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import zstandard

from harvester.simulator import Simulator
from tests.e2e.conftest import Command, command_for, wait_for
from tests.forked import ForkedCommand
from tests.output.stores import BUCKET, S3, answering, serving
from tests.patience import LONG, patience

PROJECT = "Demo street scenes"
FLAGS = ("--data-title-like", "%12%", "--rows-per-part", "20")
ONE_BY_ONE = ("--bundle-size", "10", "--concurrency", "1")


@pytest.fixture(scope="module")
def harvester(simulator: Simulator, s3: S3) -> Command:
    ours = command_for(simulator).environment
    kept = {name: value for name, value in ours.items() if not name.startswith("AWS_")}
    return Command(kept | s3.environment)


@pytest.fixture
def halted(simulator: Simulator) -> Iterator[Simulator]:
    """The server in the middle of an export: it answers no more until other faults are set."""
    # Two parts of twenty rows are open: after 45 rows one of them is complete.
    simulator.set_faults(hold_after=45)
    yield simulator
    simulator.set_faults()


@pytest.fixture(scope="module")
def local(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the same export into a directory."""
    target = tmp_path_factory.mktemp("local") / "out"
    harvester.export(target, PROJECT, *FLAGS)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def steady(files: dict[str, bytes]) -> dict[str, bytes]:
    """What does not vary from run to run."""
    kept = {name: data for name, data in files.items() if name != ".harvester/lock"}
    manifest = json.loads(kept.pop("manifest.json"))
    return kept | {"digest": manifest["digest"].encode()}


def test_an_export_to_a_bucket_is_that_to_a_directory(
    harvester: Command, s3: S3, local: dict[str, bytes], tmp_path: Path
) -> None:
    """The same bytes, by two processes; `verify` finds it sound, and the summary names the objects."""
    target = f"s3://{BUCKET}/plain"
    done = harvester("export", PROJECT, *FLAGS, "-o", target, "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert f"{target}/objects-00000.ndjson … objects-" in done.stderr
    assert steady(s3.contents("plain")) == steady(local)
    assert (
        harvester("verify", target, "--json").stdout
        == json.dumps({"target": target, "ok": True, "problems": []}, separators=(",", ":")) + "\n"
    )


def test_a_killed_export_goes_on_elsewhere_with_nothing_but_the_target(
    harvester: Command, s3: S3, local: dict[str, bytes], halted: Simulator, tmp_path: Path
) -> None:
    """SIGKILL between parts, then the command in another directory: the bytes of a local export."""
    target = f"s3://{BUCKET}/killed"
    running = harvester.start(
        "export", PROJECT, *FLAGS, *ONE_BY_ONE, "-o", target, folder=tmp_path, stderr=subprocess.DEVNULL
    )
    wait_for(running, lambda: s3.has("killed/.harvester/commits/00000.json"))
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert not s3.has("killed/manifest.json")
    halted.set_faults()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    resumed = harvester.start(
        "export", PROJECT, *FLAGS, "-o", target, "--json", folder=elsewhere, stdout=-1, stderr=-1
    )
    out, said = resumed.communicate()
    assert resumed.returncode == 0, said
    run = json.loads(out)["run"]
    assert run["resumed"]
    assert 0 < run["harvested"] < json.loads(out)["counts"]["harvested"]
    assert steady(s3.contents("killed")) == steady(local)
    assert list(elsewhere.iterdir()) == []


def test_of_two_exports_at_once_one_wins_and_a_signal_ends_it_resumable(
    harvester: Command, s3: S3, halted: Simulator
) -> None:
    """The other ends with 6 and names it. SIGTERM: what is done is kept, the lock free, no upload left."""
    target = f"s3://{BUCKET}/raced"
    command = ("export", PROJECT, *FLAGS, *ONE_BY_ONE, "-o", target)
    with (
        harvester.start(*command, stderr=subprocess.PIPE) as one,
        harvester.start(*command, stderr=subprocess.PIPE) as other,
    ):
        wait([one.sentinel, other.sentinel], LONG)
        lost, won = (one, other) if one.poll() is not None else (other, one)
        _, said = lost.communicate()
        assert lost.returncode == 6, said
        assert f"harvester: {target} is in use by process {won.pid} on ".encode() in said.splitlines()[-1]
        wait_for(won, lambda: s3.has("raced/.harvester/commits/00000.json"))
        won.terminate()
        halted.set_faults()
        _, said = won.communicate(timeout=LONG)
    assert won.returncode == 128 + signal.SIGTERM
    assert f"-o {target}".encode() in said, "the command to go on"
    assert json.loads(s3.contents("raced")[".harvester/lock"])["owner"] is None
    assert s3.uploads() == []
    assert not s3.has("raced/manifest.json")


def test_an_export_whose_target_was_taken_over_ends_with_its_workers(
    harvester: Command, s3: S3, halted: Simulator
) -> None:
    """At its next renewal, while all of its requests hang: exit code 6, and the lock stays the other's."""
    target = f"s3://{BUCKET}/taken"
    flags = (*FLAGS, *ONE_BY_ONE, "--processes", "2")
    with harvester.start("export", PROJECT, *flags, "-o", target, stderr=subprocess.PIPE) as running:
        wait_for(running, lambda: s3.has("taken/.harvester/commits/00000.json"))
        lock = json.loads(s3.contents("taken")[".harvester/lock"])
        lock |= {"token": "another", "owner": lock["owner"] | {"pid": 7, "host": "elsewhere"}}
        s3.put("taken/.harvester/lock", json.dumps(lock).encode())
        _, said = running.communicate(timeout=LONG)
    assert running.returncode == 6, said
    assert f"harvester: {target} was taken over by process 7 on elsewhere" in said.decode()
    assert json.loads(s3.contents("taken")[".harvester/lock"]) == lock
    assert not s3.has("taken/manifest.json")


# -- a store that is away for a while --------------------------------------------------------------


def told(running: ForkedCommand, event: bytes) -> bytes:
    """Reads what a command says until it tells of `event`; that line."""
    assert running.stderr is not None
    return next(line for line in running.stderr if event in line)


def begun(harvester: Command, s3: S3, prefix: str, *flags: str) -> ForkedCommand:
    """An export that has committed a part, and whose server holds back the others."""
    target = f"s3://{BUCKET}/{prefix}"
    command = ("export", PROJECT, *FLAGS, *ONE_BY_ONE, *flags, "-o", target)
    running = harvester.start(*command, stderr=subprocess.PIPE)
    wait_for(running, lambda: s3.has(f"{prefix}/.harvester/commits/00000.json"))
    return running


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_store_that_answers_slow_down_is_waited_for(
    harvester: Command, s3: S3, local: dict[str, bytes], halted: Simulator, processes: str
) -> None:
    """Says so, naming the store, and when it answers again; the same bytes, also by worker processes."""
    prefix = f"slow-{processes}"
    with begun(harvester, s3, prefix, "--processes", processes) as running:
        s3.is_slow = True
        halted.set_faults()
        away = told(running, b"store.away")
        s3.is_slow = False
        told(running, b"store.answers")
        _, said = running.communicate(timeout=LONG)
    assert running.returncode == 0, said
    assert f"store=s3://{BUCKET}/{prefix}".encode() in away
    assert b"the store answers 503 (SlowDown)" in away
    assert steady(s3.contents(prefix)) == steady(local)


def test_a_store_that_refuses_connections_is_waited_for(
    harvester: Command, s3: S3, local: dict[str, bytes], halted: Simulator
) -> None:
    """As one that restarts."""
    with serving(s3.app) as url:
        running = begun(Command(harvester.environment | {"AWS_ENDPOINT_URL": url}), s3, "gone")
    with running:
        halted.set_faults()
        assert b"the store cannot be reached" in told(running, b"store.away")
        with serving(s3.app, port=urlsplit(url).port or 0):
            told(running, b"store.answers")
            _, said = running.communicate(timeout=LONG)
    assert running.returncode == 0, said
    assert steady(s3.contents("gone")) == steady(local)


REFUSALS = {403: ("AccessDenied", 4), 404: ("NoSuchBucket", 2)}


def test_a_store_that_refuses_is_one_line(harvester: Command) -> None:
    """With its exit code, before anything is asked of the platform; no key, no address, no traceback."""

    def ends(status: int) -> int:
        with answering(status, f"<Error><Code>{REFUSALS[status][0]}</Code></Error>".encode()) as url:
            done = harvester("export", PROJECT, "-o", "s3://labels/out", AWS_ENDPOINT_URL=url)
        assert done.stderr.splitlines()[-1].startswith("harvester: s3://labels/out: ")
        for secret in ("hunter2", "AKIA", url, "Traceback"):
            assert secret not in done.stderr
        return done.returncode

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ends, REFUSALS)) == [exit_code for _, exit_code in REFUSALS.values()]


def test_a_compressed_stream_is_the_plain_one_compressed(harvester: Command, local: dict[str, bytes]) -> None:
    """`-o - --compress zstd` is for `zstdcat`, or for a file."""

    def streamed(compression: str) -> bytes:
        flags = [*FLAGS, "--emit", "objects", "--quiet", "--compress", compression]
        with harvester.start("export", PROJECT, *flags, "-o", "-", stdout=subprocess.PIPE) as running:
            data, _ = running.communicate(timeout=LONG)
        assert running.returncode == 0
        return data

    plain = b"".join(data for name, data in sorted(local.items()) if name.startswith("objects-"))
    with ThreadPoolExecutor(2) as pool:
        packed = dict(zip(("gzip", "zstd"), pool.map(streamed, ("gzip", "zstd")), strict=True))
    assert gzip.decompress(packed["gzip"]) == plain
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed["zstd"])).read() == plain


def test_compressed_parts_are_the_same_in_a_bucket(harvester: Command, s3: S3, tmp_path: Path) -> None:
    """And are found sound there."""
    flags, target = (*FLAGS, "--compress", "zstd"), f"s3://{BUCKET}/packed"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda place: harvester.export(place, PROJECT, *flags), (tmp_path / "out", target)))
    files = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert any(name.endswith(".ndjson.zst") and name.startswith("objects-") for name in files)
    assert steady(s3.contents("packed")) == steady(files)
    assert harvester("verify", target).returncode == 0


def test_a_signal_ends_the_wait_for_a_store_at_once(
    harvester: Command, s3: S3, local: dict[str, bytes], halted: Simulator
) -> None:
    """It does not use up the 15 s that parts under way have; the command to go on is printed, and goes on."""
    with begun(harvester, s3, "waiting") as running:
        s3.is_slow = True
        halted.set_faults()
        told(running, b"store.away")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=patience(8))
        s3.is_slow = False
    assert running.returncode == 128 + signal.SIGINT
    assert f"-o s3://{BUCKET}/waiting".encode() in said, "the command to go on"
    assert harvester("export", PROJECT, *FLAGS, "-o", f"s3://{BUCKET}/waiting").returncode == 0
    assert steady(s3.contents("waiting")) == steady(local)


def test_the_wait_for_a_store_ends_with_the_time_of_the_run(
    harvester: Command, s3: S3, halted: Simulator
) -> None:
    """`--max-duration`: exit code 5."""
    with begun(harvester, s3, "in-time", "--max-duration", "4s") as running:
        s3.is_slow = True
        halted.set_faults()
        _, said = running.communicate(timeout=LONG)
        s3.is_slow = False
    assert running.returncode == 5, said
    assert b"the store answers 503 (SlowDown)" in said.splitlines()[-1]


def test_verify_waits_for_a_store(harvester: Command, s3: S3) -> None:
    """As an export does; also where it is the first that is asked of it."""
    target = f"s3://{BUCKET}/read"
    assert harvester("export", PROJECT, *FLAGS, "-o", target).returncode == 0
    s3.is_slow = True
    with harvester.start("verify", target, stderr=subprocess.PIPE) as running:
        told(running, b"store.away")
        s3.is_slow = False
        _, said = running.communicate(timeout=LONG)
    assert running.returncode == 0
    assert b"sound" in said
