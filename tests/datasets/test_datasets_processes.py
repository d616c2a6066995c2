"""Worker processes of a conversion: the same results in the same order, and none outlives its conversion."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from harvester.datasets.convert import convert
from harvester.datasets.in_processes import mapped
from harvester.errors import CannotFinishNow, Unsound
from tests.datasets.exports import exported
from tests.sync.worlds import LiveWorld


def times(factor: int) -> Callable[[int], int]:
    return lambda number: number * factor


def process_id() -> Callable[[int], int]:
    return lambda _: os.getpid()


def refuses(number: int) -> Callable[[int], int]:
    def refuse(given: int) -> int:
        if given == number:
            raise Unsound(f"no {given}")
        sys.stdout.write("what is printed is no result\n")
        return given

    return refuse


def dies() -> Callable[[int], int]:
    return lambda _: os.kill(os.getpid(), signal.SIGKILL) or 0


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
    with pytest.raises(CannotFinishNow, match="exit code -9"):
        list(mapped(dies, (), range(3), 2))


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
        from tests.datasets.test_datasets_processes import process_id
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


def test_the_files_are_the_same_with_any_number_of_processes(tmp_path: Path) -> None:
    """And so is what conversion.json says of them, so each replaces the other."""
    export = exported(tmp_path / "out", LiveWorld(rows=60, seed=4, reviews=0.3))
    for processes in (1, 2):
        convert(export, tmp_path / str(processes), to="parquet", processes=processes)
    names = [
        path.relative_to(tmp_path / "1") for path in sorted((tmp_path / "1").rglob("*")) if path.is_file()
    ]
    assert len(names) > 5
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
