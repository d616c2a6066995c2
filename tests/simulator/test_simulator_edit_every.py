"""A project that changes by itself, and the edit call as a user makes it."""

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.certificates import make_identity
from harvester.simulator.edits import Edits
from harvester.simulator.site import Site
from harvester.simulator.world import World
from tests.fetch.virtual_loop import VirtualLoop
from tests.forked import HARVESTER
from tests.patience import LONG
from tests.simulator.client import Client

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
SPEC = WorldSpec(rows=100)


def listing(world: World) -> list[bytes]:
    return list(world.listing())


def changed(tmp_path: Path, every: float, seconds: float) -> World:
    """A world that was edited every so often for so long, in virtual time."""
    site = Site(World(SPEC), make_identity(tmp_path, tls=False), Faults())

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(site.edit_every(every), seconds)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
    return site.world


def test_a_project_changes_every_so_often(tmp_path: Path) -> None:
    """First after the time, then again each time; what has changed does not depend on how long it is."""
    assert listing(changed(tmp_path, 10, 9)) == listing(World(SPEC))
    once, thrice = World(SPEC), World(SPEC)
    once.edit_at_random()
    for _ in range(3):
        thrice.edit_at_random()
    assert listing(changed(tmp_path, 10, 19)) == listing(once) != listing(World(SPEC))
    assert listing(changed(tmp_path, 10, 39)) == listing(changed(tmp_path, 600, 2399)) == listing(thrice)


def test_random_edits_are_of_every_kind() -> None:
    """Mostly rows that are edited; some move, leave and join."""
    world, found = World(SPEC), Counter[str]()
    for _ in range(60):
        edited = world.edit_at_random()
        found += Counter(
            edits=1,
            rows=len(edited.rows),
            moved=len(edited.moved),
            removed=len(edited.removed),
            added=edited.added,
        )
    assert found["edits"] == 60
    assert 60 < found["rows"] <= 180
    assert all(5 < found[kind] < 40 for kind in ("moved", "removed", "added"))
    assert len(listing(world)) == SPEC.rows + found["added"] - found["removed"]


def test_a_project_without_rows_grows() -> None:
    """There is nothing to edit in it at first."""
    world = World(WorldSpec(rows=0))
    for _ in range(20):
        world.edit_at_random()
    assert len(listing(world)) > 0


@contextmanager
def simulate(*arguments: object) -> Iterator[dict[str, Any]]:
    """The command, and the line that it prints."""
    running = subprocess.Popen([HARVESTER, "simulate", *map(str, arguments)], stdout=subprocess.PIPE)
    assert running.stdout is not None
    try:
        yield json.loads(running.stdout.readline())
    finally:
        running.terminate()
        assert running.wait(LONG) == 0
        running.stdout.close()


def test_the_command_edits_by_itself(tmp_path: Path) -> None:
    """`simulate --edit-every`: its listing is that of its seed's world, some edits on."""
    with simulate("--rows", 40, "--dir", tmp_path, "--edit-every", "0.01s") as told:
        simulator = Simulator(tls=True)
        simulator.url, simulator.project_hash = told["url"], told["project_hash"]
        simulator.ssh_key_file, simulator.ca_file = Path(told["ssh_key_file"]), Path(told["ca_file"])
        client = Client(simulator)
        found: set[str] = set()
        while len(found) < 5:
            found.add(client.v2("GET", f"projects/{told['project_hash']}").json["lastEditedAt"])
        items = client.v1("labelrowmetadata/GET", None, {}).json["response"]
        client.close()
    world = World(WorldSpec(rows=40))
    for _ in range(3000):
        if [json.loads(item) for item in listing(world)] == items:
            break
        world.edit_at_random()
    else:
        pytest.fail("the listing is that of no number of edits")
    assert items != [json.loads(item) for item in World(WorldSpec(rows=40)).listing()]


def test_the_documented_edits_can_be_made(tmp_path: Path) -> None:
    """Each as it stands, to the address that the command prints; and its table names what can be edited."""
    bodies = re.findall(r"^edit '(.*?)'", PAGE, re.M)
    assert len(bodies) == 4
    with simulate("--rows", 20, "--dir", tmp_path) as told:
        assert told["edit_url"] == f"{told['url']}/_simulator/edit"
        assert told["faults_url"] == f"{told['url']}/_simulator/faults"
        with urllib3.PoolManager(ca_certs=told["ca_file"]) as http:
            for body in bodies:
                answer = http.request("POST", told["edit_url"], body=body.encode())
                assert answer.status == 200
                assert answer.json().keys() == {"rows", "removed", "added", "moved", "at"}
            refused = http.request("POST", told["edit_url"], body=b'{"paint": "red"}')
            assert (refused.status, "paint" in refused.json()["message"]) == (400, True)
    table = PAGE.split("| key of an edit | |")[1].split("\n\n")[0]
    named = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|", 2)[1] if line else "")
    }
    assert named == set(Edits.__struct_fields__) - {"at", "renamed"}


@pytest.mark.parametrize("time", ["0s", "soon"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    """Exit 2, and one line."""
    done = subprocess.run(
        [HARVESTER, "simulate", "--edit-every", time],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("harvester: ")


def test_an_edit_that_makes_no_sense_is_refused() -> None:
    """In Python as over HTTP: by name, and with nothing changed."""
    world = World(SPEC)
    before = listing(world)
    for changes, message in (
        ({"row": ["x"]}, "row"),
        ({"rows": 7}, "rows"),
        ({"stages": {"x": "Attic"}}, "Attic"),
    ):
        with pytest.raises(ValueError, match=message):
            world.edit(**changes, added=3)
    assert listing(world) == before
