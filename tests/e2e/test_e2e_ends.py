"""How the installed command ends: by signal, out of time, on bad input, in trouble."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import Command, command_for, parts, wait_for
from tests.forked import ForkedCommand
from tests.patience import LONG, patience

Ended = subprocess.CompletedProcess[str]

PROJECT = "Demo street scenes"
SMALL_PARTS = ("--rows-per-part", "20", "--bundle-size", "5", "--concurrency", "4")


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=240)) as running:
        yield running


@pytest.fixture(scope="module")
def command(server: Simulator) -> Command:
    return command_for(server)


@pytest.fixture(scope="module")
def whole(command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of an export that nobody disturbed."""
    target = tmp_path_factory.mktemp("whole") / "out"
    command.export(target, PROJECT, *SMALL_PARTS[:2])
    return parts(target)


@pytest.fixture
def halted(server: Simulator) -> Iterator[Simulator]:
    """The server in the middle of an export: it answers no more until other faults are set."""
    # Four parts of twenty rows are open at most: after 120 rows two others are committed.
    server.set_faults(hold_after=120)
    yield server
    server.set_faults()


def start(command: Command, target: Path, *flags: str) -> ForkedCommand:
    """An export under way: two of its parts are committed."""
    running = command.start("export", PROJECT, "-o", target, *SMALL_PARTS, *flags, stderr=subprocess.PIPE)
    wait_for(running, lambda: two_parts(target))
    return running


def two_parts(target: Path) -> bool:
    return len(list(target.glob(".harvester/commits/*.json"))) >= 2


@pytest.mark.parametrize(
    ("number", "code", "processes"), [(signal.SIGINT, 130, "1"), (signal.SIGTERM, 143, "2")]
)
def test_fault_16_a_signal_keeps_what_is_done(
    command: Command,
    whole: dict[str, bytes],
    halted: Simulator,
    tmp_path: Path,
    number: int,
    code: int,
    processes: str,
) -> None:
    """Open parts are committed, the command to go on is printed, and it leads to the same bytes."""
    flags = (*SMALL_PARTS, "--processes", processes)
    running = command.start_installed(
        "export", PROJECT, "-o", tmp_path / "out", *flags, stderr=subprocess.PIPE, start_new_session=True
    )
    wait_for(running, lambda: two_parts(tmp_path / "out"))
    os.killpg(running.pid, number)  # as a terminal does
    halted.set_faults()
    _, told = running.communicate(timeout=LONG)
    assert running.returncode == code
    assert f"to go on: harvester export '{PROJECT}' -o {tmp_path / 'out'}" in told.decode()
    assert "Traceback" not in told.decode()
    assert not list((tmp_path / "out").rglob("*.tmp"))
    command.export(tmp_path / "out", PROJECT, *SMALL_PARTS[:2])
    assert parts(tmp_path / "out") == whole


def test_fault_15_a_kill_in_the_middle_loses_nothing(
    command: Command, whole: dict[str, bytes], halted: Simulator, tmp_path: Path
) -> None:
    """SIGKILL, then the same command: the bytes of a run that was never killed, and no leftovers; even if
    the project's ontology has changed in between."""
    assert any(b'"name":"Weather"' in lines for lines in whole.values())
    running = start(command, tmp_path / "out", "--processes", "2")
    running.kill()
    running.communicate()
    halted.set_faults()
    halted.edit(renamed={"Weather": "Sky"})
    command.export(tmp_path / "out", PROJECT, *SMALL_PARTS[:2], "--processes", "2")
    halted.edit(renamed={})
    assert parts(tmp_path / "out") == whole
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_worker_that_is_killed_ends_the_export_resumable(
    command: Command, whole: dict[str, bytes], halted: Simulator, tmp_path: Path
) -> None:
    """Out of memory, say: exit 5, and the same command goes on."""
    running = start(command, tmp_path / "out", "--processes", "2")
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, told = running.communicate(timeout=patience(50))  # an answer that hangs takes a minute
    assert running.returncode == 5
    assert "a worker process was killed by signal 9" in told.decode()
    halted.set_faults()
    command.export(tmp_path / "out", PROJECT, *SMALL_PARTS[:2])
    assert parts(tmp_path / "out") == whole


def test_fault_18_the_second_one_on_a_target_is_told_who_works_there(
    command: Command, halted: Simulator, tmp_path: Path
) -> None:
    """Exit 6 for the second; the first is not disturbed."""
    running = start(command, tmp_path / "out")
    second = command("export", PROJECT, "-o", tmp_path / "out", *SMALL_PARTS)
    assert second.returncode == 6
    assert f"process {running.pid}" in second.stderr
    halted.set_faults()
    running.communicate(timeout=LONG)
    assert running.returncode == 0


def test_out_of_time_is_resumable(command: Command, halted: Simulator, tmp_path: Path) -> None:
    """`--max-duration`: exit 5, and the command to go on."""
    halted.set_faults(latency=0.2)  # fifty requests, four at a time: more than two seconds
    done = command("export", PROJECT, "-o", tmp_path / "out", *SMALL_PARTS, "--max-duration", "0.5s")
    assert done.returncode == 5
    assert "stopped after 0.5 s, as asked" in done.stderr
    assert "to go on: harvester export" in done.stderr


def test_fault_20_edited_rows_are_settled_and_verified(tmp_path: Path) -> None:
    """`verify --server` names a row edited since; `--settle` harvests it again; then nothing has changed."""
    with Simulator(WorldSpec(rows=100)) as simulator:
        command = command_for(simulator)
        command.export(tmp_path / "out", PROJECT)
        before = parts(tmp_path / "out")
        edited = json.loads(before["objects-00000.ndjson"].splitlines()[0])["label_hash"]
        simulator.edit(rows=[edited])
        drift = json.loads(command("verify", tmp_path / "out", "--server", "--json").stdout)["drift"]
        assert (drift["edited"], drift["named"]["edited"]) == (1, [edited])
        command.export(tmp_path / "out", PROJECT, "--settle")
        assert parts(tmp_path / "out") != before
        assert "nothing has changed" in command("verify", tmp_path / "out", "--server").stderr


BAD_INPUT = {
    "no key": ({"ENCORD_SSH_KEY_FILE": ""}, (), 4, "no credentials"),
    "no such key": ({"ENCORD_SSH_KEY_FILE": "/nowhere"}, (), 4, "/nowhere does not exist"),
    "no key at all": ({"ENCORD_SSH_KEY_FILE": "", "ENCORD_SSH_KEY": "CANARY"}, (), 4, "key"),
    "a token that is refused": ({"HARVESTER_BEARER_TOKEN": "CANARY", "ENCORD_SSH_KEY_FILE": ""}, (), 4, ""),
    "nobody listens": ({"ENCORD_DOMAIN": "https://127.0.0.1:9"}, (), 5, "127.0.0.1:9"),
    "unknown authority": ({"REQUESTS_CA_BUNDLE": ""}, (), 4, "ertificate"),
    "a filter that does not import": ({}, ("--filter", "no.such:thing"), 2, "does not import"),
    "an unknown project": ({}, ("PROJECT", "Nonsense"), 2, "Nonsense"),
    "an ambiguous title": ({}, ("PROJECT", "Archive"), 2, "c0446945"),
    "no place to write": ({}, ("OUTPUT", "/proc/out"), 2, "/proc"),
}


@pytest.fixture(scope="module")
def ended_badly(command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Each of the bad inputs, run; two at a time, as most of it is start-up."""
    out = tmp_path_factory.mktemp("bad") / "out"

    def run(case: tuple[dict[str, str], tuple[str, ...], int, str]) -> Ended:
        variables, flags, _, _ = case
        special = dict([flags]) if flags[:1] in (("PROJECT",), ("OUTPUT",)) else {}
        project, output = special.get("PROJECT", PROJECT), special.get("OUTPUT", str(out))
        return command("export", project, "-o", output, "--quiet", *(() if special else flags), **variables)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BAD_INPUT, pool.map(run, BAD_INPUT.values()), strict=True))


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_line(ended_badly: dict[str, Ended], case: str) -> None:
    """What is wrong and what to do, the right exit code, no traceback, no secret."""
    _, _, code, said = BAD_INPUT[case]
    done = ended_badly[case]
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "CANARY" not in done.stderr + done.stdout


def test_a_key_that_others_can_read_is_refused(command: Command, tmp_path: Path) -> None:
    """With the command that mends it; the key's text is nowhere."""
    key = tmp_path / "key"
    key.write_bytes(Path(command.environment["ENCORD_SSH_KEY_FILE"]).read_bytes())
    key.chmod(0o644)
    done = command("projects", ENCORD_SSH_KEY_FILE=str(key))
    assert done.returncode == 4
    assert f"chmod 600 {key}" in done.stderr
    assert key.read_text().splitlines()[1] not in done.stderr


def test_a_target_that_is_a_file_is_refused(command: Command, tmp_path: Path) -> None:
    """Exit 2; the file stays."""
    (tmp_path / "out").write_text("mine")
    done = command("export", PROJECT, "-o", tmp_path / "out", "--quiet")
    assert (done.returncode, (tmp_path / "out").read_text()) == (2, "mine")
    assert "is a file" in done.stderr


def test_files_are_for_the_user_alone(command: Command, tmp_path: Path) -> None:
    """Files 0600 and directories 0700, whatever the umask."""
    command.export(tmp_path / "out", PROJECT, "--data-title-like", "%1%")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]}
    assert modes == {0o600, 0o700}
