"""Links and odd files planted in an export's directory: nothing is read, written or deleted through them."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from harvester.errors import BadInput, first_of
from harvester.live import live_records
from harvester.output.manifest import read_manifest, with_generations, write_manifest
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import command_for
from tests.output.small import contents, export
from tests.security.scene import VERBS, Scene

RANDOM = "0123456789abcdef"
OWN = (
    ".harvester", ".harvester/commits", ".harvester/commits/00000.json", ".harvester/plan.json",
    ".harvester/plan.ndjson.zst", ".harvester/plan-settled.ndjson.zst", "ontology.json",
    "manifest.json", "objects-00000.ndjson", "classifications-00001.ndjson", "failed-00001.ndjson.gz",
    f".objects-00000.ndjson.{RANDOM}.tmp", f".harvester/.plan.json.{RANDOM}.tmp",
)  # fmt: skip
OF_A_SYNC = (
    *OWN, ".harvester/changed.json", ".harvester/listed.json", ".harvester/listed.ndjson.zst",
    "changes-00000.ndjson",
)  # fmt: skip
LOCK = (".harvester/lock",)
FOLDERS = ("generations", "generations/00001", "generations/00002")
PLACES = (
    *OWN, *LOCK, *FOLDERS,
    *(f"{folder}/{name}" for folder in FOLDERS[1:] for name in OF_A_SYNC),
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("links"))


FILES = [place for place in OWN if not place.endswith(".tmp")]
# What each verb must look at, and so refuses. What it has no need to look at it leaves as it is.
LOOKED_AT: dict[str, set[str]] = {
    "export": {*OWN, *LOCK, *FOLDERS[:2], *(f"generations/00001/{name}" for name in OF_A_SYNC)},
    "sync": {
        ".harvester", "manifest.json", ".harvester/plan.json", *LOCK, *FOLDERS,
        *(f"generations/00002/{name}" for name in OF_A_SYNC),
    },
    "verify": {*FILES, *FOLDERS, *(f"generations/00001/{name}" for name in FILES)},
    "live_records": {"manifest.json", *FOLDERS[:2], "objects-00000.ndjson"},
    "report": {"manifest.json", *FOLDERS[:2], "objects-00000.ndjson"},
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", LOOKED_AT)
def test_a_planted_link_is_refused_or_not_touched(
    scene: Scene, tmp_path: Path, verb: str, place: str
) -> None:
    """What stood there is moved to where the link leads: all would go well if it were followed."""
    out = scene.begin(tmp_path / "out", synced=True)
    run_over_a_link(scene, verb, out, place, must_refuse=place in LOOKED_AT[verb])


@pytest.mark.parametrize("place", [*OWN, *LOCK, *FOLDERS[:2]])
def test_retrying_failed_rows_follows_no_link(scene: Scene, tmp_path: Path, place: str) -> None:
    """That drops parts and writes them anew."""
    out = scene.begin(tmp_path / "out", synced=False)
    run_over_a_link(scene, "export --retry-failed", out, place, must_refuse=True)


@pytest.mark.parametrize("place", [*OWN, *LOCK])
def test_a_new_export_follows_no_link(scene: Scene, tmp_path: Path, place: str) -> None:
    """There is nothing but the link. The one file that it neither reads nor writes may be one."""
    must_refuse = place != ".harvester/plan-settled.ndjson.zst"
    run_over_a_link(scene, "export", tmp_path / "out", place, must_refuse=must_refuse)


def run_over_a_link(scene: Scene, verb: str, out: Path, place: str, *, must_refuse: bool) -> None:
    planted, victim = out / place, out.parent / "victim"
    planted.parent.mkdir(parents=True, exist_ok=True)
    if planted.exists():
        planted.rename(victim)
    elif "." in planted.name:
        victim.write_bytes(b"mine")
    else:
        (victim / ".harvester" / "commits").mkdir(parents=True)
        for name in ("manifest.json", "thesis.txt", "objects-00000.ndjson", ".harvester/commits/00000.json"):
            (victim / name).write_bytes(b"mine")
    planted.symlink_to(victim)
    before = everything(victim)
    message = refusal(lambda: VERBS[verb](scene, out))
    assert everything(victim) == before
    assert planted.readlink() == victim
    if message or must_refuse:
        assert message == f"{planted} is a symbolic link: nothing below an export is reached through one"


def refusal(call: Callable[[], object]) -> str | None:
    """What `call` is refused with, as bad input (exit code 2); None where it goes well."""
    try:
        call()
    except BaseException as error:
        ended = first_of(error)
        assert isinstance(ended, BadInput), repr(ended)
        return ended.message
    return None


def everything(path: Path) -> object:
    """Names, kinds, times and bytes of what is at `path`."""
    files = [path, *path.rglob("*")]
    return {(each, each.stat().st_mtime_ns): each.is_file() and each.read_bytes() for each in files}


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
@pytest.mark.parametrize("place", [place for place in FILES if "." in Path(place).name[1:]])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, place: str, kind: str) -> None:
    """Opening a FIFO that nobody writes to would wait for ever."""
    out = tmp_path / "out"
    export(LocalTarget(out))
    (out / place).unlink(missing_ok=True)
    put_odd_file(out / place, kind)
    told = f"{out / place} is not a regular file"
    assert refusal(lambda: export(LocalTarget(out))) == told
    assert refusal(lambda: verify(LocalTarget(out))) == told


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "hard link"])
def test_a_lock_that_is_no_file_of_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    """A lock is written in place: through a hard link that would empty another file."""
    lock, victim = tmp_path / "out" / ".harvester" / "lock", tmp_path / "victim"
    lock.parent.mkdir(parents=True)
    victim.write_bytes(b"mine")
    if kind == "hard link":
        lock.hardlink_to(victim)
    else:
        put_odd_file(lock, kind)
    message = refusal(lambda: export(LocalTarget(tmp_path / "out")))
    assert message is not None
    assert message.startswith(f"{lock} is ")
    assert victim.read_bytes() == b"mine"


def put_odd_file(path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            before = Path.cwd()
            os.chdir(path.parent)  # a socket's path may be a hundred bytes long
            try:
                server.bind(path.name)
            finally:
                os.chdir(before)


def test_a_folder_that_becomes_a_link_while_a_file_is_written_gets_nothing(tmp_path: Path) -> None:
    """What is open stays in the folder where it was begun."""
    victim, folder = tmp_path / "victim", tmp_path / "out" / "generations" / "00001"
    victim.mkdir()
    target = LocalTarget(tmp_path / "out").within("generations/00001")
    draft = target.create("objects-00000.ndjson")
    folder.rename(tmp_path / "moved")
    folder.symlink_to(victim)
    draft.write(b"{}")
    draft.commit()
    assert contents(tmp_path / "moved") == {"objects-00000.ndjson": b"{}"}
    assert contents(victim) == {}


def test_the_directory_itself_may_be_a_link(scene: Scene, tmp_path: Path) -> None:
    """So may one above it: the user names it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    out = scene.begin(tmp_path / "real" / "there", synced=False)
    (tmp_path / "real" / "out").symlink_to("there")
    linked = tmp_path / "link" / "out"
    for verb in ("export", "sync", "verify", "live_records", "report"):
        assert refusal(lambda verb=verb: VERBS[verb](scene, linked)) is None
    assert (out / "generations" / "00001" / "manifest.json").is_file()


@pytest.mark.parametrize("name", ["../secret.ndjson", "/secret.ndjson", "generations/../../secret.ndjson"])
def test_no_name_leads_out_of_the_directory(scene: Scene, tmp_path: Path, name: str) -> None:
    """Names stand in the manifest, which may be anybody's."""
    out = scene.begin(tmp_path / "out", synced=False)
    (tmp_path / "secret.ndjson").write_bytes(b'{"kind": "object", "label_hash": "mine"}\n')
    manifest = read_manifest(LocalTarget(out))
    assert manifest is not None
    name = str(tmp_path / name[1:]) if name[0] == "/" else name
    parts = [msgspec.structs.replace(file, name=name) for file in manifest.parts]
    write_manifest(LocalTarget(out), with_generations(msgspec.structs.replace(manifest, parts=parts), ()))
    message = refusal(lambda: list(live_records(out)))
    assert message is not None
    assert message.endswith("is not a folder of an export")


MINE = (
    "thesis.txt", "generations/00001/thesis.txt", "generations/00001/.harvester/notes.txt",
    "generations/00001/.harvester/commits/notes.json", f".thesis.txt.{RANDOM}.tmp",
    f".harvester/.notes.{RANDOM}.tmp", "generations/00001/objects-00000.ndjson.bak",
)  # fmt: skip


def test_only_what_is_ours_is_deleted(scene: Scene, tmp_path: Path) -> None:
    """A sync that has begun and is dropped, and drafts that are swept: a user's files and links stay."""
    out = scene.begin(tmp_path / "out", synced=False)
    (tmp_path / "victim").mkdir()
    for name in MINE:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"mine")
    ours = ("generations/00001/objects-00007.ndjson.zst", f".objects-00000.ndjson.{RANDOM}.tmp")
    for name in ours:
        (out / name).write_bytes(b"left over")
    (out / "latest").symlink_to(tmp_path / "victim")
    os.mkfifo(out / "pipe")
    VERBS["sync"](scene, out)
    found = contents(out)
    assert {name: found[name] for name in MINE} == dict.fromkeys(MINE, b"mine")
    assert found.keys().isdisjoint(ours)
    assert (out / "latest").is_symlink()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=60)) as running:
        yield running


def test_a_sync_does_not_empty_what_a_planted_link_leads_to(simulator: Simulator, tmp_path: Path) -> None:
    """The installed command: exit code 2, one line, and a user's files are all there."""
    command, out, victim = command_for(simulator), tmp_path / "out", tmp_path / "victim"
    command.export(out, simulator.project_hash)
    (victim / ".harvester").mkdir(parents=True)
    (out / "generations").mkdir()
    for name in ("thesis.txt", "manifest.json", "objects-00000.ndjson", ".harvester/plan.json"):
        (victim / name).write_bytes(b"mine")
    (out / "generations" / "00001").symlink_to(victim)
    before = everything(victim)
    for verb in (("sync", out), ("export", simulator.project_hash, "-o", out), ("verify", out)):
        done = command(*verb)
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines(keepends=True)[-1] == (
            f"harvester: {out}/generations/00001 is a symbolic link: nothing below an export is reached "
            "through one\n"
        )
    assert everything(victim) == before


def test_the_demo_and_the_report_replace_only_what_is_theirs(tmp_path: Path) -> None:
    """The installed command: a second demo leaves a user's files; a page is not written through a link."""
    with Simulator(WorldSpec(rows=1)) as running:
        command = command_for(running)
    out, victim = tmp_path / "out", tmp_path / "victim"
    for _ in range(2):
        done = command("demo", "--rows", "60", "-o", out)
        assert done.returncode == 0, done.stderr
        (out / "thesis.txt").write_bytes(b"mine")
    assert (out / "thesis.txt").read_bytes() == b"mine"
    victim.write_bytes(b"mine")
    (tmp_path / "page.html").symlink_to(victim)
    done = command("report", out, "-o", tmp_path / "page.html")
    assert (done.returncode, victim.read_bytes()) == (2, b"mine")
    assert done.stderr == f"harvester: {tmp_path}/page.html is a symbolic link: name a file\n"
