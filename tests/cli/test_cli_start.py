"""What a process sets for itself at its start, and what it leaves undone."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harvester.encord.opening import open_session
from harvester.process import importing
from harvester.settings import Connection


def said_by(code: str, **environment: str) -> str:
    """What a new process prints."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def collecting() -> Iterator[None]:
    """Collection as it is by default, whatever a test does with it."""
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize(("given", "kept"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_the_sdk_starts_no_threads_but_those_that_the_user_wants(given: dict[str, str], kept: str) -> None:
    """It is set before numpy is there, and not over what is set."""
    code = """if True:
        import os, sys, harvester.cli, harvester.engines.worker
        from harvester.process import set_up
        assert "numpy" not in sys.modules
        set_up()
        print(os.environ["OPENBLAS_NUM_THREADS"])
    """
    assert said_by(code, **given) == kept


@pytest.mark.usefixtures("collecting")
def test_what_is_imported_counts_as_old() -> None:
    """Nothing is collected meanwhile, and nothing is young afterwards; nor is it lost to collection."""
    with importing("not there yet"):
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    young = {id(found) for generation in (0, 1) for found in gc.get_objects(generation)}
    assert not young & set(map(id, made))


@pytest.mark.usefixtures("collecting")
def test_a_session_ages_nothing_where_the_sdk_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a host program has just made stays young, however many sessions it opens."""
    from harvester.encord.session import Session

    monkeypatch.setattr(Session, "open", lambda connection, credentials: connection)
    gc.collect()
    made = [[] for _ in range(100)]
    open_session(Connection(bearer_token="t"))
    young = {id(found) for generation in (0, 1) for found in gc.get_objects(generation)}
    assert set(map(id, made)) <= young


@pytest.mark.usefixtures("collecting")
def test_who_collects_by_himself_goes_on_to() -> None:
    """Collection stays off, and what was left out of it stays out."""
    gc.disable()
    with importing("not there yet"):
        pass
    assert not gc.isenabled()
    gc.enable()
    gc.freeze()
    with importing("not there yet"):
        assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_verb_is_imported_without_the_others() -> None:
    """Who exports needs no bench."""
    code = """if True:
        import sys
        from harvester import cli
        cli.main(["export", "no such flag", "--no-such-flag"])
        print(*sorted(name for name in set(cli.VERBS.values()) if f"harvester.cli.{name}" in sys.modules))
    """
    assert said_by(code) == "export"


def test_who_says_nothing_needs_no_words() -> None:
    """What a line is made with is imported for the first line that is not below the level."""
    code = """if True:
        import io, sys
        from harvester import events
        told = io.StringIO()
        events.configure("warning", told, False)
        events.say("plan.frozen", {"rows": 7})
        assert "structlog" not in sys.modules
        events.say("row.failed", {"row": "r1"})
        print(*told.getvalue().split()[1:])
    """
    assert said_by(code) == "[warning] row.failed row=r1"


def ended(code: str) -> "subprocess.CompletedProcess[str]":
    """How a new process ends."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_before_the_imports(number: int) -> None:
    """The first process of a container is not sent one that it has no handler for."""
    code = f"""if True:
        import os, signal, sys
        signal.signal({int(number)}, signal.SIG_DFL)  # ignored in the background of a shell
        class Watch:
            def find_spec(self, name, *_):
                if name == "harvester.cli":
                    assert not {{"anyio", "msgspec", "rich", "typer"}} & sys.modules.keys()
                    os.kill(os.getpid(), {int(number)})
        sys.meta_path.insert(0, Watch())
        from harvester.__main__ import main
        main()
    """
    done = ended(code)
    assert (done.returncode, done.stderr) == (128 + number, "harvester: interrupted before it began\n")


def test_windows_is_told_in_one_line() -> None:
    """By the command and by the package, which otherwise miss a module that only Unix has."""
    windows = "import sys; sys.platform = 'win32'; sys.modules['fcntl'] = None"
    done = ended(f"{windows}; from harvester.__main__ import main; sys.exit(main())")
    assert done.returncode == 2
    assert done.stderr.startswith("harvester: harvester runs on Linux and macOS; on Windows, use it in")
    assert done.stderr.count("\n") == 1
    done = ended(f"{windows}; from harvester import export")
    assert done.stderr.splitlines()[-1].startswith("ImportError: harvester runs on Linux and macOS")


def test_the_package_s_functions_are_not_hidden_by_the_modules_of_their_names() -> None:
    """Whatever is imported first, and in whichever way."""
    code = """if True:
        import harvester.sync, harvester.api, harvester.export
        import harvester
        assert callable(harvester.export) and callable(harvester.sync)
        from harvester import *
        print(*[name for name in harvester.__all__ if globals()[name] is not getattr(harvester, name)])
    """
    assert said_by(code) == ""


def test_the_command_is_a_module_too() -> None:
    """`python -m harvester`."""
    done = subprocess.run(
        [sys.executable, "-m", "harvester", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("harvester 0.")
