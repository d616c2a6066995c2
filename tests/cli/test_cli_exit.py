"""How a command ends: one line for the user, and the exit code that says what to do next."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harvester import cli
from harvester.cli.failed import RowsFailed
from harvester.cli.interrupt import Interrupted
from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    RateLimited,
    TargetRefused,
    Unavailable,
    unwrapped,
)
from harvester.summary import Summary
from harvester.sync import SyncSummary

ARGV = ["export", "p", "-o", "out dir"]
TO_GO_ON = "to go on: harvester export p -o 'out dir'"

ENDS: dict[str, tuple[BaseException, int, str]] = {
    "bad input": (BadInput("no such project"), 2, "no such project"),
    "credentials": (CredentialsRefused("the key is not known"), 4, "the key is not known"),
    "server down": (CannotFinishNow("the server is down"), 5, TO_GO_ON),
    "a retry that nobody made": (Unavailable("503"), 5, TO_GO_ON),
    "rate limit": (RateLimited("429"), 5, TO_GO_ON),
    "target": (TargetRefused("in use"), 6, "in use"),
    "disk full": (OSError(errno.ENOSPC, "No space left", "/out/x"), 5, "/out/x: No space left"),
    "no such file": (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 2, "/x: No such file"),
    "out of memory": (MemoryError(), 5, "--max-memory"),
    "no thread left": (RuntimeError("can't start new thread"), 5, TO_GO_ON),
    "interrupted": (Interrupted(2), 130, TO_GO_ON),
    "terminated": (
        Interrupted(15, "stopped: 3 of 9 parts are kept"),
        143,
        "3 of 9 parts are kept; " + TO_GO_ON,
    ),
    "interrupted early": (KeyboardInterrupt(), 130, "interrupted"),
    "reader gone": (BrokenPipeError(), 141, ""),
    "a group": (BaseExceptionGroup("g", [Interrupted(2), TargetRefused("in use")]), 6, "in use"),
    "a group with failed rows": (
        BaseExceptionGroup("g", [Interrupted(2), RowsFailed(2, "out dir", synced=False)]),
        3,
        "2 rows failed",
    ),
    "a bug beside failed rows": (
        BaseExceptionGroup("g", [RowsFailed(2, "out dir", synced=False), ZeroDivisionError("by nothing")]),
        1,
        "bug in harvester: ExceptionGroup",
    ),
    "a bug": (ZeroDivisionError("by nothing"), 1, "bug in harvester: ZeroDivisionError: by nothing"),
    "a secret in a bug": (ValueError("Authorization: CANARY"), 1, "[redacted]"),
}


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Callable[[BaseException], int]:
    """Runs the export verb, which ends with an error."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def end(error: BaseException) -> int:
        def run(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("harvester.cli.export.run", run)
        return cli.main(ARGV)

    return end


@pytest.mark.parametrize(("error", "code", "said"), ENDS.values(), ids=ENDS.keys())
def test_each_end_has_its_code_and_one_line(
    ends: Callable[[BaseException], int],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    """The code of the design, one line on standard error, no traceback, no secret."""
    assert ends(error) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert len(told.err.splitlines()) == (1 if said else 0)
    assert "Traceback" not in told.err
    assert "CANARY" not in told.err


WRONG = {
    "no such verb": (["explore"], "No such command"),
    "no such flag": (["export", "p", "-o", "x", "--fast"], "No such option"),
    "no output": (["export", "p"], "Missing option"),
    "no project": (["status"], "Missing argument"),
    "unknown shape": (["export", "p", "-o", "x", "--shape", "box"], "unknown shape 'box'"),
    "dates swapped": (
        ["status", "p", "--edited-after", "2024-02-01", "--edited-before", "2024-01-01"],
        "swap them",
    ),
    "not a number": (["export", "p", "-o", "x", "--concurrency", "many"], "valid integer"),
    "json on standard output twice": (["export", "p", "-o", "-", "--json"], "both want standard output"),
    "processes on standard output": (["export", "p", "-o", "-", "--processes", "2"], "needs a directory"),
    "plain http": (["projects", "--domain", "http://api.encord.com"], "must be https"),
}


@pytest.mark.parametrize(("argv", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    """Exit 2, and what to change."""
    assert cli.main(argv) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


def test_the_command_to_go_on_hides_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An argument that looks like a secret is not repeated on the terminal."""

    def run(*_: object, **__: object) -> None:
        raise CannotFinishNow("the server is down")

    monkeypatch.setattr("harvester.cli.export.run", run)
    assert cli.main([*ARGV, "--name", "token=CANARY"]) == 5
    told = capsys.readouterr().err
    assert "run the same command again" in told
    assert "CANARY" not in told


SUMMARY = Summary(
    target="out dir",
    project="p",
    counts={"listed": 9, "harvested": 7, "unlabelled": 0, "filtered": 0, "failed": 2},
    records={},
    notes={},
    drift=None,
    run={},
)
FAILED: dict[str, tuple[list[str], bool, str]] = {
    "kept": (
        ARGV,
        False,
        ", listed in out dir; to try again: harvester export --retry-failed p -o 'out dir'",
    ),
    "again": (
        [*ARGV, "--retry-failed"],
        False,
        ", listed in out dir; to try again: harvester export p -o 'out dir' --retry-failed",
    ),
    "synced": (ARGV, True, ", listed in out dir; to try again: harvester sync 'out dir'"),
    "synced, with flags": (
        [
            *ARGV,
            "--domain=https://d",
            "--name",
            "Car",
            "--rows-per-part",
            "9",
            "--ssh-key-file",
            "my key",
            "--processes",
            "2",
            "--quiet",
        ],
        True,
        ", listed in out dir; to try again: harvester sync 'out dir' --domain https://d"
        " --ssh-key-file 'my key' --processes 2 --quiet",
    ),
    "synced, with filters": (
        [*ARGV, "--filter", "mine:large", "--filter=mine:near"],
        True,
        ", listed in out dir; to try again: harvester sync 'out dir' --filter mine:large --filter mine:near",
    ),
    "synced, secret not for a sync": (
        [*ARGV, "--name", "token=CANARY"],
        True,
        ", listed in out dir; to try again: harvester sync 'out dir'",
    ),
    "synced, secret": (
        [*ARGV, "--ssh-key-file", "token=CANARY"],
        True,
        ", listed in out dir; run harvester sync on it to try again",
    ),
    "secret": (
        [*ARGV, "--name", "token=CANARY"],
        False,
        ", listed in out dir; run the same command again with --retry-failed to try again",
    ),
    "not kept": (["export", "p", "-o", "-"], False, ""),
}


@pytest.mark.parametrize(("argv", "synced", "said"), FAILED.values(), ids=FAILED.keys())
def test_who_has_failed_rows_is_told_how_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    synced: bool,
    said: str,
) -> None:
    """Exit 3, and as the last line the command that asks for them again."""
    done = msgspec.structs.replace(SUMMARY, target=argv[3], synced=synced)
    monkeypatch.setattr("harvester.cli.export.run", lambda *_, **__: done)
    assert cli.main(argv) == 3
    assert capsys.readouterr().err == f"harvester: 2 rows failed{said}\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "to try again: harvester sync 'out dir' --quiet"),
        (["--domain", "https://d"], "to try again: harvester sync 'out dir' --quiet --domain https://d"),
        (["--ssh-key-file", "token=CANARY"], "run the same command again to try again"),
    ],
)
def test_a_sync_with_failed_rows_says_so_however_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    """Exit 3 and one line, that of an export; a nightly job has no other."""

    async def sync(target: str, **_: object) -> SyncSummary:
        counts = SUMMARY.counts
        return SyncSummary(
            target=target,
            project="p",
            generation=1,
            changes={},
            counts=counts,
            records={},
            notes={},
            drift=None,
            run={},
        )

    monkeypatch.setattr("harvester.api.sync_async", sync)
    assert cli.main(["sync", "out dir", "--quiet", *flags]) == 3
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"harvester: 2 rows failed, listed in out dir; {said}\n")


def test_help_is_given_without_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """`harvester` alone shows what there is."""
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_on_a_verb_is_asked_for_in_three_ways(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """`VERB --help`, `VERB -h`, `help VERB`."""
    told = []
    for argv in ([verb, "--help"], [verb, "-h"], ["help", verb]):
        assert cli.main(argv) == 0
        told.append(capsys.readouterr().out)
    assert told[0].startswith(f"Usage: harvester {verb} ")
    assert told == [told[0]] * 3


def test_help_on_nothing_is_help_on_all(capsys: pytest.CaptureFixture[str]) -> None:
    """And what is no verb is wrong usage."""
    for argv in ([], ["-h"], ["help"]):
        assert cli.main(argv) == 0
        assert capsys.readouterr().out.startswith("Usage: harvester [OPTIONS] COMMAND")
    assert cli.main(["help", "explore"]) == 2
    assert "No such command 'explore'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "completed"),
    [("harvester ex", "export"), ("harvester export p --max-m", "--max-memory"), ("harvester sync --x", "")],
)
def test_a_shell_completes_verbs_and_flags(words: str, completed: str) -> None:
    """With what `--show-completion` prints; `--install-completion` puts that where the shell reads it."""
    script = f"""
        eval "$(harvester --show-completion bash)"
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _harvester_completion harvester
        echo "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == (completed, "")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`harvester --version`."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("harvester 0.")


def test_help_does_not_import_the_sdk() -> None:
    """The SDK takes a second to import: `--help` and mistakes are answered without it."""
    code = """if True:
        import sys, harvester.cli
        harvester.cli.main(["export", "--help"])
        harvester.cli.main(["export", "p", "-o", "x", "--shape", "box"])
        sys.exit("encord" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_an_error_out_of_a_group_keeps_its_cause() -> None:
    """What a task group wraps is raised as itself, and what led to it can still be seen."""
    cause, error = OSError("reset"), CannotFinishNow("the server is down")
    error.__cause__ = cause
    with pytest.raises(CannotFinishNow) as caught, unwrapped():
        raise BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [error])])
    assert caught.value is error
    assert caught.value.__cause__ is cause


def test_debug_shows_the_chain_of_any_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a user's mistake as of a bug: what was raised, and what it came from, without secrets."""

    def fail(*_: object, **__: object) -> None:
        try:
            raise OSError("Authorization: CANARY")
        except OSError as error:
            raise BadInput("no such project") from error

    monkeypatch.setattr("harvester.cli.export.run", fail)
    assert cli.main([*ARGV, "--debug"]) == 2
    said = capsys.readouterr().err
    assert "OSError: Authorization: [redacted]" in said
    assert "direct cause" in said
    assert said.endswith("harvester: no such project\n")
    assert cli.main(ARGV) == 2
    assert capsys.readouterr().err == "harvester: no such project\n"
