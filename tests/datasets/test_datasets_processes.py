"""Worker processes of a conversion: the same results in the same order, and none outlives its conversion."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.made_export import make_export
from harvester.datasets.convert import convert
from harvester.datasets.in_processes import mapped
from harvester.errors import CannotFinishNow, Unsound
from harvester.process import worker_command
from tests.datasets.exports import files_in
from tests.datasets.in_workers import (
    dies,
    dies_at_once,
    does_not_start,
    has_a_bug,
    is_asked_to_end,
    process_id,
    refuses,
    times,
)
from tests.e2e.conftest import Command, children_of, wait_for
from tests.patience import LONG


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_the_order_of_the_items(count: int, processes: int) -> None:
    assert list(mapped(times, (3,), range(count), processes)) == [number * 3 for number in range(count)]


def test_a_single_item_needs_no_process_and_several_get_their_own() -> None:
    assert list(mapped(process_id, (), [1], 4)) == [os.getpid()]
    found = list(mapped(process_id, (), range(6), 2))
    assert len(set(found)) == 2
    assert found[:2] == found[2:4] == found[4:]
    assert os.getpid() not in found


def test_an_error_comes_as_it_was_raised_after_the_results_before_it() -> None:
    results = mapped(refuses, (2,), range(9), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(Unsound, match=r"^no 2$"):
        next(results)


def test_a_worker_that_was_killed_is_told() -> None:
    with pytest.raises(
        CannotFinishNow, match=r"killed by signal 9 \(Killed\): is there too little memory\?$"
    ):
        list(mapped(dies, (), range(3), 2))


@pytest.mark.parametrize("size", [1, 100_000, 10_000_000])
def test_so_is_one_that_was_killed_before_it_had_all_of_its_item(size: int) -> None:
    """Whatever is left in the pipe's buffer."""
    with pytest.raises(CannotFinishNow, match="killed by signal 9"):
        list(mapped(dies_at_once, (), [bytes(size)] * 3, 2))


def test_an_error_at_the_start_of_a_worker_comes_as_it_was_raised() -> None:
    with pytest.raises(Unsound, match=r"^not today$"):
        list(mapped(does_not_start, (), [bytes(10_000_000)] * 3, 2))


def test_an_error_says_where_in_the_worker_it_was_raised() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        list(mapped(has_a_bug, (), range(3), 2))
    assert "in <lambda>" in raised.value.__notes__[0]


@pytest.mark.parametrize("python", ["", "/no/such/python", __file__])  # "": Python within a program
def test_a_worker_that_cannot_be_started_is_told(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(CannotFinishNow, match=f"cannot be started: .*: {python or 'Python'}$"):
        list(mapped(times, (3,), range(3), 2))


def test_workers_leave_signals_to_the_command() -> None:
    """A service manager sends SIGTERM to all processes of a service."""
    assert list(mapped(is_asked_to_end, (), range(5), 2)) == list(range(5))


@pytest.mark.parametrize("worker", ["harvester.datasets.in_processes", "harvester.engines.worker"])
@pytest.mark.parametrize("is_added", [False, True])
def test_a_worker_imports_nothing_of_the_working_directory_that_was_imported_before(
    worker: str, is_added: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the directory was put at the beginning of the import path, for modules that only it has."""
    for module in ("pickle", "json", "platform", *(() if is_added else ("harvester", "msgspec"))):
        (tmp_path / f"{module}.py").write_text("raise SystemExit(77)")
    if is_added:
        monkeypatch.syspath_prepend(tmp_path)
    done = subprocess.run(worker_command(worker), cwd=tmp_path, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == (1 if "engines" in worker else 0)


def test_items_are_read_as_results_are_taken() -> None:
    """So memory stays flat: there is one item in each worker."""
    items = iter(range(100))
    results = mapped(times, (1,), items, 2)
    assert next(results) == 0
    assert next(items) <= 4
    results.close()


def test_workers_end_when_the_conversion_is_killed(tmp_path: Path) -> None:
    """Their standard input ends with it."""
    program = """
        from tests.datasets.in_workers import process_id
        from harvester.datasets.in_processes import mapped
        results = mapped(process_id, (), iter(lambda: 0, 1), 2)
        print(next(results), next(results), flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        workers = [int(number) for number in parent.stdout.readline().split()]
        watched = [os.pidfd_open(worker) for worker in workers]
        parent.kill()
        for descriptor in watched:
            assert select.select([descriptor], [], [], 30)[0]
            os.close(descriptor)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14,000 objects: four chunks."""
    return make_export(tmp_path_factory.mktemp("exports") / "out", 700)


def test_the_files_are_the_same_with_any_number_of_processes(export: Path, tmp_path: Path) -> None:
    """And so is what conversion.json says of them, so each replaces the other."""
    for processes in (1, 2):
        convert(export, tmp_path / str(processes), to="parquet", processes=processes)
    one, two = files_in(tmp_path / "1"), files_in(tmp_path / "2")
    assert len(one) > 5
    assert one == two


def run_script(program: str, *arguments: str | Path) -> str:
    """Run a script as a user has it, without ``if __name__ == "__main__"``, and return what it prints."""
    script = Path(arguments[-1], "script.py")
    script.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=LONG
    )
    return done.stdout


def test_a_script_converts_with_processes_also_in_threads_of_an_event_loop(
    export: Path, tmp_path: Path
) -> None:
    program = """
        import asyncio, sys, harvester

        def convert(name):
            done = harvester.convert(sys.argv[1], f"{sys.argv[2]}/{name}", to="parquet", processes=2)
            return done.records["objects"].written

        async def both():
            return await asyncio.gather(*(asyncio.to_thread(convert, name) for name in "ab"))

        print(convert("c"), *asyncio.run(both()))
    """
    assert run_script(program, export, tmp_path) == "14000 14000 14000\n"


def test_no_worker_is_left_by_a_conversion_that_failed_even_if_its_error_is_kept(
    export: Path, tmp_path: Path
) -> None:
    """As a notebook keeps the last one. Here no file may be longer than 10 KB."""
    program = """
        import os, resource, sys, harvester

        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            harvester.convert(sys.argv[1], f"{sys.argv[2]}/set", to="parquet", processes=2)
        except harvester.CannotFinishNow as error:
            kept = error
        with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as children:
            print(kept.message.rpartition(": ")[2], children.read().split(), os.listdir(sys.argv[2]))
    """
    assert run_script(program, export, tmp_path) == "File too large [] ['script.py']\n"


@pytest.fixture
def command() -> Command:
    """Without a server: a conversion asks none."""
    return Command({"PATH": "/usr/bin:/bin", "ENCORD_DOMAIN": "https://127.0.0.1:1"})


@pytest.mark.parametrize(
    ("whom", "number", "code", "said"),
    [
        ("command", signal.SIGINT, 130, "harvester: interrupted"),
        ("command", signal.SIGTERM, 143, "harvester: interrupted"),
        ("all", signal.SIGTERM, 143, "harvester: interrupted"),
        ("worker", signal.SIGKILL, 5, "harvester: a worker process was killed by signal 9"),
        ("command", signal.SIGKILL, -9, ""),
    ],
)
def test_a_signal_leaves_no_half_data_set_and_no_worker(
    command: Command, export: Path, tmp_path: Path, whom: str, number: signal.Signals, code: int, said: str
) -> None:
    """It comes while the first two chunks are with the workers, and the next ones are not read yet."""
    with command.start_installed(
        "convert", export, "-o", tmp_path / "set", "--to", "parquet", "--processes", "2",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        wait_for(running, lambda: len(children_of(running.pid)) == 2)
        workers = children_of(running.pid)
        watched = [os.pidfd_open(worker) for worker in workers]
        for process in {"all": [*workers, running.pid], "worker": workers[:1]}.get(whom, [running.pid]):
            os.kill(process, number)
        _, told = running.communicate(timeout=LONG)
    for descriptor in watched:
        assert select.select([descriptor], [], [], LONG)[0]
        os.close(descriptor)
    assert running.returncode == code
    assert "Traceback" not in told.decode()
    assert (told.decode().splitlines() or [""])[-1].startswith(said)
    assert not (tmp_path / "set").exists()
    assert (tmp_path / ".set.converting").exists() == (whom == "command" and number == signal.SIGKILL)
