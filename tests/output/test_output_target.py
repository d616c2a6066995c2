"""Local targets: what any target promises, the lock, and what cannot be a target."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.errors import BadInput, CannotFinishNow, TargetRefused
from harvester.output.target import LocalTarget
from tests.conformance import check_target
from tests.output.faulty import Operation, Recording
from tests.output.small import contents, export


def test_a_local_directory_is_a_target(tmp_path: Path) -> None:
    """It keeps every promise of the protocol, as the shipped conformance check has them."""
    check_target(lambda: LocalTarget(tmp_path / "out"))


def test_a_second_process_is_told_who_holds_the_target(tmp_path: Path) -> None:
    """The second one is refused with the first one's process number and host; nothing is touched."""
    target = LocalTarget(tmp_path / "out")
    with lock_owner(tmp_path / "out") as process:
        before = contents(tmp_path)
        with pytest.raises(TargetRefused) as refused:
            export(target)
        assert f"process {process.pid} on {socket.gethostname()} since 20" in refused.value.message
        assert contents(tmp_path) == before


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    """SIGKILL leaves what the lock says, and the next process takes it all the same."""
    with lock_owner(tmp_path / "out") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert str(process.pid) in (tmp_path / "out" / ".harvester" / "lock").read_text()
    with LocalTarget(tmp_path / "out").lock():
        pass


def test_the_lock_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line in it is redacted."""
    monkeypatch.setattr(sys, "argv", ["harvester", "export", "--domain", "https://me:hunter2@host/?sig=abc"])
    with LocalTarget(tmp_path).lock():
        written = (tmp_path / ".harvester" / "lock").read_text()
    assert "harvester export" in written
    assert "hunter2" not in written
    assert "abc" not in written


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("file", "is a file: name a directory"),
        ("file/below", "file is a file: name a directory"),
        ("nul\0byte", "Invalid argument"),
        ("x" * 300, "File name too long"),
        ("loop", "Not a directory"),
    ],
)
def test_what_cannot_be_a_directory_is_bad_input(tmp_path: Path, path: str, reason: str) -> None:
    """One line says why, and that is exit code 2."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInput) as refused:
        export(LocalTarget(tmp_path / path))
    assert refused.value.message.endswith(reason)
    assert refused.value.exit_code == 2


def test_what_is_read_from_a_file_as_if_it_were_a_directory_is_bad_input(tmp_path: Path) -> None:
    """Running again would not help, whichever command it is."""
    (tmp_path / "file").touch()
    target = LocalTarget(tmp_path / "file")
    for ask in (target.read, target.size_of, target.open):
        with pytest.raises(BadInput, match="file is a file: name a directory"):
            ask("manifest.json")


def test_a_directory_that_may_not_be_written_is_bad_input(tmp_path: Path) -> None:
    """Permission denied, before anything is asked of the server."""
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nothing is forbidden to root
    try:
        with pytest.raises(BadInput, match="Permission denied"):
            LocalTarget(tmp_path / "out").ensure()
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_a_file_system_that_is_read_only_is_bad_input(tmp_path: Path) -> None:
    """Another run would not help: no command to go on is printed."""

    def read_only(_: int, operation: Operation) -> None:
        raise OSError(errno.EROFS, "read-only")

    target = LocalTarget(tmp_path / "out", files=Recording(read_only))
    with pytest.raises(BadInput, match="Read-only file system"):
        target.ensure()
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="Read-only file system"), target.lock():
        pass


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    """An export among a user's own files touches none of them, whatever they look like."""
    own = {".notes.tmp": b"1", "objects.ndjson": b"2", "objects-00000.csv": b"3", ".x.0123.tmp": b"4"}
    for name, data in own.items():
        (tmp_path / name).write_bytes(data)
    export(LocalTarget(tmp_path))
    found = contents(tmp_path)
    assert {name: found[name] for name in own} == own


def test_a_symbolic_link_is_never_written_through(tmp_path: Path) -> None:
    """A link under the name of a part is refused, more of them in tests/security/test_security_links.py."""
    victim, planted = tmp_path / "victim", tmp_path / "out" / "objects-00000.ndjson"
    victim.write_bytes(b"mine")
    export(LocalTarget(tmp_path / "out"))
    planted.unlink()
    planted.symlink_to(victim)
    with pytest.raises(BadInput, match="is a symbolic link"):
        export(LocalTarget(tmp_path / "out"))
    assert victim.read_bytes() == b"mine"


FACTS, PICTURE = b'{"of": "a file"}', bytes(range(256)) * 10_000


def begun(out: Path, data: bytes) -> Path:
    """A partial file with this in it, as a run that was stopped leaves it; its facts."""
    partial = LocalTarget(out).partial("picture")
    partial.begin(FACTS)
    partial.write(data)
    partial.close()
    partial.discard()
    return out / ".picture.part.json"


def test_a_partial_file_is_gone_on_with_by_a_later_run(tmp_path: Path) -> None:
    """With what is said of it, it is there to be read; it gets its name when it is whole."""
    target = LocalTarget(tmp_path)
    begun(tmp_path, PICTURE[:2_000_000])
    assert target.size_of("picture") is None
    partial = target.partial("picture")
    assert partial.kept() == (FACTS, 2_000_000)
    assert b"".join(partial.pieces()) == PICTURE[:2_000_000]
    partial.write(PICTURE[2_000_000:])
    assert b"".join(partial.pieces()) == PICTURE
    partial.commit()
    assert contents(tmp_path) == {"picture": PICTURE}
    assert target.partial("picture").kept() is None


def test_a_partial_file_that_is_begun_anew_is_empty(tmp_path: Path) -> None:
    """What an earlier run has left is gone, and one that is discarded leaves nothing."""
    begun(tmp_path, b"old")
    partial = LocalTarget(tmp_path).partial("picture")
    assert partial.kept() == (FACTS, 3)
    partial.begin(b"other")
    partial.write(b"new")
    partial.close()
    partial = LocalTarget(tmp_path).partial("picture")
    assert partial.kept() == (b"other", 3)
    assert list(partial.pieces()) == [b"new"]
    partial.discard()
    assert contents(tmp_path) == {}


def test_a_partial_file_that_cannot_be_made_durable_is_deleted(tmp_path: Path) -> None:
    """After a failed fsync the kernel may have dropped its data, and a second fsync would succeed."""

    def fail(number: int, operation: Operation) -> None:
        if operation.name == "sync":
            raise OSError(errno.EIO, "cannot be written")

    partial = LocalTarget(tmp_path, files=Recording(fail)).partial("picture")
    partial.begin(FACTS)
    partial.write(PICTURE)
    with pytest.raises(CannotFinishNow):
        partial.commit()
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("what", ["no facts", "facts of nothing", "another boot", "a second name"])
def test_a_partial_file_that_may_not_be_what_it_seems_is_of_no_use(tmp_path: Path, what: str) -> None:
    """Its facts are missing, the machine went down since, or it may be a file of the user's own."""
    facts = begun(tmp_path, b"old")
    boot, _, rest = facts.read_bytes().partition(b"\n")
    if what == "no facts":
        facts.unlink()
    elif what == "a second name":
        os.link(tmp_path / ".picture.part", tmp_path / "mine")
    else:
        facts.write_bytes(boot + b"\n" if what == "facts of nothing" else b"x" + boot + b"\n" + rest)
    assert LocalTarget(tmp_path).partial("picture").kept() is None


class lock_owner:  # noqa: N801 - a context manager
    """Another process that holds the lock of a target."""

    def __init__(self, path: Path) -> None:
        program = (
            "import sys; from harvester.output.target import LocalTarget\n"
            "with LocalTarget(sys.argv[1]).lock(): print(flush=True); sys.stdin.read()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "subprocess.Popen[bytes]":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
