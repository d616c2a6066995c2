"""Keys that need something of their user: a passphrase, a home directory, a file that is there."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_ssh_private_key

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import Command, command_for
from tests.patience import LONG

LOCKED = "is locked with a passphrase, and none was given: set HARVESTER_SSH_KEY_PASSPHRASE to it"
# Runs the command in this process, and says at the end whether it has imported the SDK.
WITHOUT_SDK = """
import sys
from harvester import cli
code = cli.main(sys.argv[1:])
print("encord" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    with Simulator(WorldSpec(rows=5, branches=())) as running:
        yield command_for(running)


@pytest.fixture
def locked(command: Command, tmp_path: Path) -> Command:
    """The same with its key locked."""
    key = load_ssh_private_key(Path(command.environment["ENCORD_SSH_KEY_FILE"]).read_bytes(), None)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    path = tmp_path / "locked"
    path.touch(0o600)
    path.write_bytes(text)
    return Command(command.environment | {"ENCORD_SSH_KEY_FILE": str(path)})


@pytest.mark.parametrize(
    "words", [("projects",), ("status", "p"), ("plan", "p"), ("export", "p", "-o", "out"), ("bench", "p")]
)
def test_a_key_that_cannot_be_used_is_told_before_the_sdk_is_imported(
    locked: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """A missing file, a home directory that nobody knows, a lock: exit 4 and one line, with the remedy."""
    for file, said in (
        (str(tmp_path / "absent"), "does not exist"),
        ("~nobody-of-that-name/key", "~nobody-of-that-name stands for no home directory; set HOME, or give"),
        (locked.environment["ENCORD_SSH_KEY_FILE"], LOCKED),
    ):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_SDK, *words],
            env=locked.environment | {"ENCORD_SSH_KEY_FILE": file},
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        message, imported = done.stderr.splitlines()
        assert (done.returncode, imported) == (4, "False")
        assert said in message


def test_the_passphrase_comes_from_its_variable(locked: Command) -> None:
    """Where nobody can be asked."""
    assert locked("projects", HARVESTER_SSH_KEY_PASSPHRASE="open sesame").returncode == 0
    assert locked("projects", HARVESTER_SSH_KEY_PASSPHRASE="sesame").returncode == 4


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"open sesame\n", 0, ""),
        (b"sesame\n", 4, "the passphrase does not open the key file"),
        (b"\x04", 4, LOCKED),
    ],
    ids=["right", "wrong", "none"],
)
@pytest.mark.parametrize(
    "words", [("projects",), ("export", "Demo street scenes", "-o", "-")], ids=["look", "export"]
)
def test_a_user_at_a_terminal_is_asked(
    locked: Command, typed: bytes, code: int, said: str, words: tuple[str, ...]
) -> None:
    """Nothing of what is typed is shown, and standard output stays for data."""
    ours, theirs = pty.openpty()
    running = locked.start_installed(
        *words, "--quiet", stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    while not shown.endswith(b"Passphrase of the key: "):
        shown += os.read(ours, 1024)
    os.write(ours, typed)
    data, _ = running.communicate(timeout=LONG)
    assert running.returncode == code
    answer = os.read(ours, 4096).decode()
    os.close(ours)
    assert said in answer
    assert "sesame" not in answer
    assert b"Passphrase" not in data
    assert bool(data) == (code == 0)
