"""Parts on a Dask cluster: what is said where it cannot be, and what its workers keep to themselves."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from harvester.encord.project import ProjectInfo
from harvester.engines import cluster, dask, dask_worker
from harvester.engines.messages import Ended, Said, decoded, encoded
from harvester.engines.processes import with_limits
from harvester.errors import BadInput, CannotFinishNow
from harvester.job import Job
from harvester.output.commit import Commit, KindCounts
from harvester.output.target import LocalTarget
from harvester.part import Work
from harvester.settings import Connection, Format, Limits, Selection
from tests.engines.cluster import Cluster
from tests.patience import LONG

pytestmark = pytest.mark.anyio

CANARY = "canary-in-a-key"
WORK = Work(
    connection=Connection(
        ssh_key=CANARY, ssh_key_passphrase=CANARY, bearer_token=CANARY, ca_bundle=Path("/ca"), read_timeout=7
    ),
    job=Job(
        ProjectInfo("hash", "Title ❄", "2024", b'{"objects": []}'),
        Selection(shapes=("polygon",)),
        Format(rows_per_part=2),
        Limits(max_rps=6, concurrency=5, engine="dask", scheduler="tcp://127.0.0.1:1"),
    ),
    target="out",
    plan="digest",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler without workers."""
    with Cluster(tmp_path_factory.mktemp("cluster"), os.environ) as cluster:
        yield cluster.address


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "dask"}, "address of a scheduler"),
        ({"scheduler": "tcp://h:1"}, "for the engine dask only"),
        ({"engine": "dask", "scheduler": "tcp://h:1", "processes": 2}, "its own workers"),
        ({"engine": "spark"}, "unknown engine 'spark'"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(given: dict, said: str) -> None:
    """A scheduler goes with the engine dask, and only with it."""
    with pytest.raises(BadInput, match=said):
        Limits(**given)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with the command."""
    for name in [name for name in sys.modules if name.startswith("harvester.engines.dask")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("harvester.engines.dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"pip install 'encord-harvester\[dask\]', or in a clone"):
        cluster()


async def test_a_scheduler_that_does_not_answer_is_worth_another_try() -> None:
    """CannotFinishNow names the address, soon."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    async with AsyncExitStack() as stack:
        with pytest.raises(CannotFinishNow, match=f"no Dask scheduler answers at {address}"):
            await dask._connect(address, stack, within=0.3)


async def test_what_is_no_address_is_refused() -> None:
    """BadInput says how one looks."""
    async with AsyncExitStack() as stack:
        with pytest.raises(BadInput, match="cannot be used as a scheduler's address: unknown address scheme"):
            await dask._connect("nonsense://h", stack)


async def test_a_cluster_without_workers_is_named_as_such(scheduler: str) -> None:
    """Dask would wait for ever."""
    async with AsyncExitStack() as stack:
        client = await dask._connect(scheduler, stack, within=LONG)
        with pytest.raises(CannotFinishNow, match="has no workers"):
            await dask._workers(client, scheduler, within=0.2)
        await dask._check_packages(client)


async def test_a_machine_without_harvester_is_named() -> None:
    """Before anything is sent to it that it could not read."""

    class Answering:
        async def get_versions(self, packages: list[str]) -> dict:
            assert packages == ["encord-harvester"]
            lacking, there = ({"packages": {"encord-harvester": found}} for found in (None, "9"))
            return {"scheduler": there, "workers": {"tcp://one": there, "tcp://other": lacking}}

    with pytest.raises(BadInput, match="tcp://other lacks the package encord-harvester: install it there"):
        await dask._check_packages(Answering())


def test_a_worker_of_another_version_refuses() -> None:
    """Another version could write other bytes."""
    dask_worker.check_versions(dask_worker.versions())
    with pytest.raises(BadInput, match=r"orjson is .* here, but 0.0 where the export was started"):
        dask_worker.check_versions(dask_worker.versions() | {"orjson": "0.0"})


def test_a_worker_that_cannot_see_the_target_says_so(tmp_path: Path) -> None:
    """A folder of the same name is not the same folder."""
    with pytest.raises(BadInput, match="does not hold the export here: name a folder that all workers share"):
        dask_worker._check_target(LocalTarget(tmp_path), WORK)


def test_limits_are_divided_and_the_target_is_named_in_full() -> None:
    """Each worker process has its share of what the user set, and its own working directory."""
    shared = dask._for_workers(["tcp://a", "tcp://b"], WORK)
    shares = [shared.of(address) for address in ("tcp://a", "tcp://b")]
    assert [(share.job.limits.max_rps, share.job.limits.concurrency) for share in shares] == [(3, 3), (3, 2)]
    assert {share.job.limits.engine for share in shares} == {"local"}
    assert {share.target for share in shares} == {str(Path("out").absolute())}


@pytest.mark.parametrize(
    ("limits", "workers"),
    [
        ({"concurrency": 2}, {"tcp://0": 1, "tcp://1": 1}),
        ({"concurrency": 7}, {"tcp://0": 3, "tcp://1": 2, "tcp://2": 2}),
        ({"max_rps": 3}, {"tcp://0": None, "tcp://1": None, "tcp://2": None}),
        ({}, {}),
    ],
)
def test_no_more_workers_get_parts_than_requests_may_be_in_flight(limits: dict, workers: dict) -> None:
    """Without limits, all that there are, and those that join."""
    limited = msgspec.structs.replace(WORK.job.limits, **{"max_rps": None, "concurrency": None, **limits})
    work = with_limits(WORK, limited)
    assert dask._for_workers([f"tcp://{number}" for number in range(3)], work).workers == workers


def test_no_secret_is_in_a_task() -> None:
    """Keys, passphrase and token stay where the export was started."""
    work = encoded(dask._for_workers(["tcp://a"], WORK))
    assert CANARY not in work.decode()
    assert decoded(work, dask_worker.ClusterWork).of("tcp://a").connection.read_timeout == 7


def test_a_worker_takes_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its environment; else the files of the names that were given where the export was started."""
    for name in ("ENCORD_SSH_KEY_FILE", "ENCORD_SSH_KEY", "HARVESTER_BEARER_TOKEN", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    given = Connection(domain="https://d", ssh_key_file=Path("/key"), ca_bundle=Path("/ca"), read_timeout=7)
    assert dask_worker.with_own_credentials(given) == given
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", "/own")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/own-ca")
    own = dask_worker.with_own_credentials(given)
    assert (own.ssh_key_file, own.ca_bundle, own.domain) == (Path("/own"), Path("/own-ca"), "https://d")


def test_what_a_task_gives_arrives() -> None:
    """Commit, end, counts and events."""
    commit = Commit(
        part=3, plan="p", rows={"failed": 1}, harvested_ids="i", files=[],
        records={"rows": KindCounts(2, 1, {"f": 1})},
    )  # fmt: skip
    done = dask_worker.Done(commit, Ended("BadInput", "m"), {"requests": 2}, [Said("row.failed", {"a": 1})])
    assert decoded(encoded(done), dask_worker.Done) == done
