"""An export on a cluster: a scheduler and workers, real processes, one of which is killed."""

import json
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from distributed import Client

from harvester.simulator import Faults, Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command, command_for, parts, wait_for
from tests.engines.cluster import Cluster
from tests.forked import ForkedCommand
from tests.output.stores import BUCKET, S3
from tests.patience import LONG

PROJECT = "Demo street scenes"
FLAGS = ("--rows-per-part", "25")
PARTS = 24


SLOW = Faults(latency_per_row=0.1)  # 24 parts of 2.5 seconds: time enough to be caught in the middle


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=600)) as running:
        yield running


@pytest.fixture
def slow(simulator: Simulator, alone: Path) -> Iterator[Simulator]:
    """The server, slow until a test has seen what it was to see."""
    simulator.set_faults(SLOW)
    yield simulator
    simulator.set_faults()


@pytest.fixture(scope="module")
def harvester(simulator: Simulator) -> Command:
    """The command where the key is a text in the environment, and only there."""
    command = command_for(simulator)
    environment = {k: v for k, v in command.environment.items() if k != "ENCORD_SSH_KEY_FILE"}
    return Command(environment | {"ENCORD_SSH_KEY": simulator.ssh_key_file.read_text()})


@pytest.fixture(scope="module")
def cluster(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, whose key is in a file of their own."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, command_for(simulator).environment) as running:
        running.add_worker()
        running.add_worker()
        yield running


@pytest.fixture(scope="module")
def alone(harvester: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same export by this machine alone."""
    target = tmp_path_factory.mktemp("alone") / "out"
    harvester.export(target, PROJECT, *FLAGS)
    return target


def start(harvester: Command, cluster: Cluster, target: Path, *more: str) -> ForkedCommand:
    """The export under way, with a part there already."""
    running = harvester.start(
        "export", PROJECT, "-o", target, *FLAGS, "--engine", "dask", "--scheduler", cluster.address, *more,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(running, lambda: len(commits(target)) > 0)
    return running


def commits(target: Path) -> list[Path]:
    return sorted((target / ".harvester" / "commits").glob("[0-9]*.json"))


def digest(target: Path) -> str:
    return str(json.loads((target / "manifest.json").read_text())["digest"])


def leftovers(target: Path) -> list[Path]:
    return list(target.rglob("*.tmp"))


def asked(address: str, ask: Callable[[Client], Awaitable[Any]]) -> Any:
    """What a cluster answers."""

    async def connect_and_ask() -> Any:
        async with Client(address, asynchronous=True, set_as_default=False) as client:
            return await ask(client)

    return anyio.run(connect_and_ask)


def scheduler_state(address: str) -> bytes:
    """All that the scheduler knows of its tasks, as bytes."""

    def dump(dask_scheduler: Any) -> bytes:
        from distributed.protocol.pickle import dumps

        tasks = dask_scheduler.tasks.values()
        known = [dumps([task.key, task.run_spec, task.annotations, task.metadata]) for task in tasks]
        known += [dumps(dask_scheduler.worker_plugins), repr(dask_scheduler.identity()).encode()]
        return b"".join(known)

    return bytes(asked(address, lambda client: client.run_on_scheduler(dump)))


async def held(client: Client) -> int:
    """How many exports the workers have a session open for."""

    def count(dask_worker: Any) -> int:
        plugin = dask_worker.plugins.get("harvester")
        return len(plugin._exports) if plugin else 0

    return sum((await client.run(count)).values())


async def until_none_is_held(client: Client) -> None:
    """Until no worker has a session open."""
    with anyio.fail_after(LONG):
        while await held(client):  # noqa: ASYNC110  # of other processes, which set no event here
            await anyio.sleep(0.05)


def test_the_bytes_are_those_of_one_machine_though_a_worker_is_killed(
    harvester: Command, cluster: Cluster, alone: Path, slow: Simulator, tmp_path: Path
) -> None:
    """Its parts go to the other worker. No line of the key is with the scheduler, or in any log."""
    running = start(harvester, cluster, tmp_path / "out", "--json")
    known = scheduler_state(cluster.address)
    cluster.workers[0].kill()
    assert len(commits(tmp_path / "out")) < PARTS
    slow.set_faults()
    said, logged = running.communicate(timeout=LONG)
    assert running.returncode == 0, logged.decode()
    assert json.loads(said)["counts"] == json.loads((alone / "manifest.json").read_text())["counts"]
    assert parts(tmp_path / "out") == parts(alone)
    assert digest(tmp_path / "out") == digest(alone)
    assert leftovers(tmp_path / "out") == []
    assert str(tmp_path / "out").encode() in known  # it was looked into
    seen = known + logged + said + cluster.logs().encode()
    for line in slow.ssh_key_file.read_bytes().splitlines()[1:-1]:
        assert line not in seen


def test_an_interrupt_keeps_what_is_done_and_the_same_command_goes_on(
    harvester: Command, cluster: Cluster, alone: Path, slow: Simulator, tmp_path: Path
) -> None:
    """Exit 130 without leftovers; nothing is written any more; later the same bytes."""
    running = start(harvester, cluster, tmp_path / "out")
    running.send_signal(signal.SIGINT)
    _, logged = running.communicate(timeout=LONG)
    assert running.returncode == 130, logged.decode()
    assert b"to go on: harvester export" in logged
    kept = commits(tmp_path / "out")
    assert 0 < len(kept) < PARTS
    assert leftovers(tmp_path / "out") == []
    slow.set_faults()
    harvester.export(tmp_path / "out", PROJECT, *FLAGS)
    assert parts(tmp_path / "out") == parts(alone)
    assert digest(tmp_path / "out") == digest(alone)


def test_workers_let_go_of_an_export_whose_process_is_killed(
    harvester: Command, cluster: Cluster, alone: Path, slow: Simulator, tmp_path: Path
) -> None:
    """They drop what they were writing, and hold no session any more; another machine may go on."""
    running = start(harvester, cluster, tmp_path / "out")
    assert asked(cluster.address, held) > 0
    running.kill()
    running.communicate()
    asked(cluster.address, until_none_is_held)
    assert leftovers(tmp_path / "out") == []
    assert len(commits(tmp_path / "out")) < PARTS
    slow.set_faults()
    harvester.export(tmp_path / "out", PROJECT, *FLAGS)
    assert parts(tmp_path / "out") == parts(alone)


def test_a_scheduler_that_is_lost_ends_the_export_resumable(
    harvester: Command, simulator: Simulator, alone: Path, slow: Simulator, tmp_path: Path
) -> None:
    """Exit 5 and one line, none of Dask's own; the same bytes by another run."""
    with Cluster(tmp_path, command_for(simulator).environment) as lost:
        lost.add_worker()
        running = start(harvester, lost, tmp_path / "out", "--quiet")
        lost.scheduler.kill()
        _, logged = running.communicate(timeout=LONG)
    assert running.returncode == 5, logged.decode()
    assert b"the scheduler" in logged or b"its scheduler" in logged
    assert b"to go on: harvester export" in logged
    assert logged.count(b"\n") == 1, logged.decode()
    assert 0 < len(commits(tmp_path / "out")) < PARTS
    slow.set_faults()
    harvester.export(tmp_path / "out", PROJECT, *FLAGS)
    assert parts(tmp_path / "out") == parts(alone)


def test_a_worker_without_credentials_is_named(harvester: Command, cluster: Cluster, tmp_path: Path) -> None:
    """Exit 4, one line."""
    with Cluster(tmp_path, {k: v for k, v in harvester.environment.items() if k != "ENCORD_SSH_KEY"}) as bare:
        bare.add_worker()
        done = harvester(
            "export",
            PROJECT,
            "-o",
            tmp_path / "out",
            "--engine",
            "dask",
            "--scheduler",
            bare.address,
            "--quiet",
        )
    assert done.returncode == 4
    assert "harvester: worker tcp://127.0.0.1:" in done.stderr
    assert "no credentials" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("engine", ["dask", "two processes"])
def test_failed_rows_are_merged_into_their_parts_by_workers_too(
    harvester: Command, cluster: Cluster, simulator: Simulator, alone: Path, tmp_path: Path, engine: str
) -> None:
    """The server is asked for these rows and for no others."""
    simulator.set_faults(shares={"forbidden": 0.05})
    done = harvester("export", PROJECT, "-o", tmp_path / "out", *FLAGS, "--json")
    simulator.set_faults()
    failed, served = json.loads(done.stdout)["counts"]["failed"], simulator.stats()["rows_served"]
    assert done.returncode == 3
    assert 10 < failed < 60
    flags = ("--processes", "2") if engine != "dask" else ("--engine", "dask", "--scheduler", cluster.address)
    harvester.export(tmp_path / "out", PROJECT, *FLAGS, "--retry-failed", *flags)
    assert simulator.stats()["rows_served"] - served == failed
    assert parts(tmp_path / "out") == parts(alone)
    assert digest(tmp_path / "out") == digest(alone)


def test_workers_that_slept_while_their_lease_was_taken_over_write_nothing(
    harvester: Command, slow: Simulator, s3: S3, tmp_path: Path
) -> None:
    """The cluster and the export's own process wake up after another export has finished there."""
    ours = Command(harvester.environment | s3.environment)
    target, lock = f"s3://{BUCKET}/slept", "slept/.harvester/lock"
    command = ("export", PROJECT, "--data-title-like", "%00000%", "--rows-per-part", "10", "-o", target)

    def committed() -> bool:
        return s3.has("slept/.harvester/commits")

    with Cluster(tmp_path, command_for(slow).environment | s3.environment) as cluster:
        for _ in range(2):
            cluster.add_worker()
        flags = ("--engine", "dask", "--scheduler", cluster.address)
        running = ours.start(*command, *flags, stderr=subprocess.PIPE)
        wait_for(running, committed)
        asleep = [running, *cluster.workers]
        for process in asleep:
            process.send_signal(signal.SIGSTOP)
        assert not s3.has("slept/manifest.json")
        # As if the lease had ended, and somebody had taken it and given it back since.
        s3.put(lock, b'{"token":"another","beat":7,"owner":null}')
        slow.set_faults()
        assert ours(*command).returncode == 0
        finished = s3.contents("slept")
        for process in asleep:
            process.send_signal(signal.SIGCONT)
        _, said = running.communicate(timeout=LONG)
        asked(cluster.address, until_none_is_held)
    assert running.returncode == 6, said.decode()
    assert s3.contents("slept") == finished
    assert ours("verify", target).returncode == 0
