"""What the command's standard streams cannot take: another encoding, no room, nobody who reads."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import HARVESTER, Command, command_for
from tests.patience import LONG

TITLE = "Straße → 漢字"
LATIN = {"PYTHONIOENCODING": "iso-8859-1", "PYTHONUTF8": "0"}
NO_ROOM = "standard output: No space left on device"


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    with Simulator(WorldSpec(rows=30, title=TITLE, branches=())) as running:
        yield command_for(running)


@pytest.fixture(scope="module")
def exported(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("outputs") / "out"
    command.export(target, TITLE)
    return target


def run(command: Command, redirected: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Runs the command with its streams redirected as a shell does it.

    It is the installed one where a stream is closed, as the interpreter has to start with that.
    """
    if "&-" not in redirected:
        return _forked(command, redirected, *arguments)
    words = ["sh", "-c", f'exec "$@" {redirected}', "sh", HARVESTER, *map(str, arguments)]
    return subprocess.run(words, env=command.environment, capture_output=True, timeout=LONG, check=False)


def _forked(command: Command, redirected: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    with open("/dev/full", "wb") as full:
        out, err = {"": (PIPE, PIPE), ">/dev/full": (full, PIPE), "2>/dev/full": (PIPE, full)}[redirected]
        running = command.start(*arguments, stdout=out, stderr=err)
        said = running.communicate(timeout=LONG)
    return subprocess.CompletedProcess(running.args, running.wait(), *said)


def in_latin(command: Command, *arguments: str | Path) -> bytes:
    """What the command writes to a terminal of ISO-8859-1, where nothing must go wrong."""
    done = subprocess.run(
        [HARVESTER, *map(str, arguments)],
        env=command.environment | LATIN, capture_output=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("verb", ["projects", "status", "plan"])
def test_a_table_shows_what_the_terminal_can(command: Command, verb: str) -> None:
    """What it cannot show is replaced by as many cells, so that the columns stay."""
    shown = in_latin(command, verb, *([] if verb == "projects" else [TITLE])).decode("iso-8859-1")
    assert "Straße ? ????" in shown
    if verb == "status":
        assert "####" in shown  # the bars


def test_json_and_data_are_utf_8_in_every_locale(command: Command, exported: Path) -> None:
    """Results, summaries and records alike."""

    def said(*arguments: str | Path) -> str:
        done = command(*arguments, **LATIN)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert TITLE in [one["title"] for one in json.loads(said("projects", "--json"))]
    for verb in ("status", "plan"):
        assert json.loads(said(verb, TITLE, "--json"))["project"]["title"] == TITLE
    assert json.loads(said("report", exported, "--json"))["project"]["title"] == TITLE
    assert json.loads(said("sync", exported, "--json"))["project"] == TITLE
    assert f"<title>{TITLE}" in said("report", exported, "-o", "-")
    records = said("export", TITLE, "-o", "-", "--emit", "objects")
    assert records.encode() == (exported / "objects-00000.ndjson").read_bytes()
    assert in_latin(command, "projects", "--json").decode() == said("projects", "--json")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", ">&-", ">/dev/full", "<&- >&- 2>&-"])
def test_what_nobody_hears_changes_no_exit_code(command: Command, exported: Path, redirected: str) -> None:
    """Of work that is done and summed up; a summary without room is told to be lost."""
    for words in (("export", TITLE, "-o", exported), ("sync", exported), ("verify", exported)):
        done = run(command, redirected, *words, "--json")
        assert done.returncode == 0, done.stderr
        assert (NO_ROOM in done.stderr.decode()) == (redirected == ">/dev/full")
    (missing := exported.parent / "missing").mkdir(exist_ok=True)
    assert run(command, redirected, "verify", missing, "--json").returncode == 2


def test_closed_standard_error_lends_its_number_to_no_file(command: Command, tmp_path: Path) -> None:
    """What would be said there ends up in no file of the export."""
    done = run(command, "2>&- >&-", "export", TITLE, "-o", tmp_path / "out", "--log-level", "debug")
    assert done.returncode == 0
    assert run(command, "", "verify", tmp_path / "out").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("export", TITLE, "-o", "-"),
        ("projects",),
        ("status", TITLE, "--json"),
        ("report", "TARGET", "-o", "-"),
        ("report", "TARGET", "--json"),
    ],
)
def test_data_without_room_is_an_error_and_without_a_reader_none(
    command: Command, exported: Path, words: tuple[str, ...]
) -> None:
    """Full: exit 5, and what is full is named. Closed: not a word."""
    given = [str(exported) if word == "TARGET" else word for word in words]
    full = run(command, ">/dev/full", *given, "--quiet")
    assert (full.returncode, full.stderr.decode()) == (5, f"harvester: {NO_ROOM}\n")
    closed = run(command, ">&-", *given, "--quiet")
    assert (closed.returncode, closed.stderr) == (141, b"")


def test_help_without_room_is_no_bug(command: Command) -> None:
    """Nor one without a reader."""
    assert run(command, ">/dev/full", "--help").returncode == 5
    assert run(command, ">&-", "--help").returncode == 141


def test_an_argument_that_is_no_text_is_bad_input(command: Command) -> None:
    """Of the command line and of the environment; one line, exit 2."""
    for arguments, variables in (
        ([b"status", b"\xff\xfe"], {}),
        ([b"status", b"p"], {b"HARVESTER_TASK_STATUS": b"\xff"}),
        ([b"projects"], {b"ENCORD_SSH_KEY_FILE": b"", b"ENCORD_SSH_KEY": b"CANARY\xff"}),
    ):
        kept = {name.encode(): value.encode() for name, value in command.environment.items()}
        done = subprocess.run([HARVESTER, *arguments], env=kept | variables, capture_output=True, check=False)
        assert done.returncode == 2
        assert b"no text" in done.stderr
        assert done.stderr.count(b"\n") == 1
        assert b"CANARY" not in done.stderr
