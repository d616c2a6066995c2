"""The Python API, on a platform in memory."""

import asyncio
import inspect
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import harvester
from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, CannotFinishNow, SkipRow
from harvester.output.target import LocalTarget
from tests.export.platform import PROJECT, Platform, files
from tests.output.faulty import Recording, Stall, all_that_can_happen
from tests.patience import LONG


class Served(Platform):
    """The platform as a session finds it."""

    closed = 0

    def find_project(self, wanted: str) -> ProjectInfo:
        return PROJECT

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    served = Served(50)
    monkeypatch.setattr("harvester.api.open_session", lambda connection: served)
    yield served
    assert served.closed, "the session was closed"


@pytest.fixture
def sigint_interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt. It would not in a background job of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def odd(record: dict[str, Any]) -> bool:
    return int(record["label_hash"][-1]) % 2 == 1


def test_records_come_in_the_order_of_the_plan(platform: Served) -> None:
    """One box a labelled row, in plain code."""
    found = [record["label_hash"] for record in harvester.records("p")]
    assert found == [f"label-{i:04}" for i in range(50) if i % 5 != 4]


def test_a_filter_may_be_a_function_or_a_path(platform: Served) -> None:
    """Any function of a record, a lambda too, and one named by its module."""
    found = harvester.records(
        "p", filters=[f"{__name__}:odd", lambda record: record["label_hash"] < "label-0010"]
    )
    assert [record["label_hash"][-1] for record in found] == ["1", "3", "5", "7"]


def test_leaving_the_loop_ends_the_requests(platform: Served) -> None:
    """Who takes one record closes the session by it."""
    for _ in harvester.records("p"):
        break
    assert platform.closed == 1


def test_failed_rows_are_told_after_all_others(platform: Served) -> None:
    """Nothing is left out silently."""
    platform.broken = {"label-0003", "label-0006"}
    found = []
    with pytest.raises(SkipRow, match=r"2 label rows failed, .* label-0003: the row is corrupt"):
        found.extend(harvester.records("p"))
    assert len(found) == 38


def test_failed_rows_go_to_who_asked_for_them(platform: Served) -> None:
    """`on_failed` takes note, and nothing is raised."""
    platform.broken, failed = {"label-0003"}, []
    assert len(list(harvester.records("p", on_failed=failed.append))) == 39
    assert [row.label_hash for row in failed] == ["label-0003"]


def test_what_ends_the_run_is_raised_as_itself(platform: Served) -> None:
    """A filter that fails names itself and the row."""
    with pytest.raises(BadInput, match=r"filter '.*' failed on .* of row label-0000: ZeroDivisionError"):
        list(harvester.records("p", filters=[lambda record: 1 / 0]))


def test_stream_is_records_for_async_code(platform: Served) -> None:
    """The same records; and a loop that is left early, without closing anything, does no harm."""

    async def main() -> list[dict[str, Any]]:
        async for _ in harvester.stream("p"):
            break
        return [record async for record in harvester.stream("p")]

    assert anyio.run(main) == list(harvester.records("p"))


def test_export_writes_what_the_command_would(platform: Served, tmp_path: Path) -> None:
    """In plain code; the filter's name stands in the plan, so that another one is refused."""
    done = harvester.export("p", tmp_path / "out", filters=[odd])
    assert done.counts["harvested"] == 40
    assert done.records["objects"] == {"seen": 40, "written": 20, "dropped": {f"{__name__}:odd": 20}}
    assert list(files(tmp_path / "out")) == ["objects-00000.ndjson", "units-00000.ndjson"]
    with pytest.raises(harvester.HarvesterError, match="filters"):
        harvester.export("p", tmp_path / "out")


def test_a_task_that_asyncio_cancels_waits_for_the_disk(
    platform: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is cancelled again and again; the next export in this process completes."""
    stall = Stall()
    disk = Recording(stall.at(lambda _, done: done.name == "sync" and "plan.ndjson" in done.path.name))

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr("harvester.api.open_target", lambda name: LocalTarget(name, files=disk))
            export = asyncio.create_task(harvester.export_async("p", tmp_path / "out"))
            await asyncio.to_thread(stall.reached.wait)
        for _ in range(3):
            export.cancel()
            await all_that_can_happen()
        early = export.done()
        stall.released.set()
        with pytest.raises(asyncio.CancelledError):
            await export
        assert not early, "its thread goes on writing"
        written = len(disk.done)
        assert (await harvester.export_async("p", tmp_path / "out")).counts["harvested"] == 40
        assert len(disk.done) == written

    asyncio.run(main())


def test_a_program_goes_on_with_its_own_function_and_is_refused_with_another(
    platform: Served, tmp_path: Path
) -> None:
    """A lambda is told from another by what it does, in `export` and in `sync`."""

    def above(limit: int) -> Callable[[dict[str, Any]], bool]:
        return lambda record: int(record["label_hash"][-4:]) > limit

    done = harvester.export("p", tmp_path / "out", filters=[above(20)])
    assert done.records["objects"]["written"] == 23
    assert harvester.export("p", tmp_path / "out", filters=above(20)).counts == done.counts
    with pytest.raises(harvester.TargetRefused, match=r"with filters=lambda-\w+, not filters=lambda-\w+;"):
        harvester.export("p", tmp_path / "out", filters=[above(21)])
    platform.edited["data-0041"] = "2024-02-02"
    with pytest.raises(BadInput, match="run that program again"):
        harvester.sync(tmp_path / "out")
    assert harvester.sync(tmp_path / "out", filters=above(20)).changes["edited"] == 1


def test_what_cannot_be_told_apart_is_refused_where_it_would_be_stored(
    platform: Served, tmp_path: Path
) -> None:
    """Nothing is asked for or made. Records that are not kept take any function."""
    seen: list[str] = []

    def first(record: dict[str, Any]) -> bool:
        seen.append(record["label_hash"])
        return True

    with pytest.raises(BadInput, match="the captured variable seen is of type list"):
        harvester.export("p", tmp_path / "out", filters=[first])
    assert not (tmp_path / "out").exists()
    assert not platform.listings
    assert len(list(harvester.records("p", filters=[first]))) == len(seen) == 40


def test_filters_are_called_in_other_threads(platform: Served) -> None:
    """As documented: not in the thread that iterates."""
    threads: set[int] = set()

    def noted(record: dict[str, Any]) -> bool:
        threads.add(threading.get_ident())
        return True

    assert len(list(harvester.records("p", filters=noted))) == 40
    assert threads
    assert threading.get_ident() not in threads


def test_export_and_sync_work_where_a_loop_is_running(platform: Served, tmp_path: Path) -> None:
    """As in a notebook, whose cells run in one; `records` does, too."""

    async def cell() -> list[Any]:
        done = harvester.export("p", tmp_path / "out", filters=[odd], format=harvester.Format(emit="objects"))
        platform.edited["data-0001"] = "2024-02-02"
        synced = harvester.sync(tmp_path / "out", filters=[odd])
        return [done.counts["harvested"], synced.changes["edited"], len(list(harvester.records("p")))]

    assert asyncio.run(cell()) == [40, 1, 40]


@pytest.mark.parametrize(("plain", "awaited"), [("export", "export_async"), ("sync", "sync_async")])
def test_plain_functions_take_what_the_async_ones_take(plain: str, awaited: str) -> None:
    """By name, with the same defaults and types; and they document themselves."""
    ours, theirs = getattr(harvester, plain), getattr(harvester, awaited)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert inspect.getdoc(ours)
    assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(ours).parameters.values())


@pytest.mark.usefixtures("sigint_interrupts")
@pytest.mark.parametrize("inside", [False, True], ids=["in plain code", "in a running loop"])
def test_an_interrupt_ends_an_export_in_good_order(platform: Served, tmp_path: Path, inside: bool) -> None:
    """Its lock is given up and what is committed is kept: the same call goes on, to the same bytes."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    one_by_one = harvester.Format(rows_per_part=1)

    def interrupt() -> None:
        platform.before_answer = lambda: None
        signal.pthread_kill(main_thread, signal.SIGINT)

    def call() -> None:
        harvester.export("p", tmp_path / "out", format=one_by_one, limits=harvester.Limits(concurrency=1))

    async def cell() -> None:
        call()

    def notebook() -> None:  # unlike asyncio.run, it leaves SIGINT to Python
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(cell())
        finally:
            loop.close()

    platform.before_answer = interrupt
    with pytest.raises(KeyboardInterrupt) as raised:
        notebook() if inside else call()
    assert isinstance(raised.value.__cause__, CannotFinishNow)
    kept = len(files(tmp_path / "out"))
    assert 0 < kept < 40
    platform.asked.clear()
    call()
    assert 0 < len(platform.asked) < 40, "the rest only"
    harvester.export("p", tmp_path / "whole", format=one_by_one)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.usefixtures("sigint_interrupts")
def test_a_second_interrupt_ends_an_export_at_once(platform: Served, tmp_path: Path) -> None:
    """The first one leaves it time for an answer that is outstanding."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    stopping, ended, waited = anyio.Event(), threading.Event(), queue.Queue[bool]()

    def never_answer() -> None:
        signal.pthread_kill(main_thread, signal.SIGINT)
        while not stopping.is_set():
            ended.wait(0.01)
        signal.pthread_kill(main_thread, signal.SIGINT)
        waited.put(ended.wait(LONG))

    platform.before_answer = never_answer
    limits = harvester.Limits(concurrency=1)
    with pytest.raises(KeyboardInterrupt):
        harvester.export("p", tmp_path / "out", limits=limits, stopping=stopping)
    ended.set()
    assert waited.get(timeout=LONG), "it did not wait for the answer"


def test_other_processes_take_no_function_that_they_cannot_import(platform: Served, tmp_path: Path) -> None:
    """Said at once, before anything is fetched."""
    platform.closed = 1
    limits = harvester.Limits(processes=2)
    with pytest.raises(BadInput, match="other processes"):
        harvester.export("p", tmp_path / "out", filters=[lambda record: True], limits=limits)


def test_stopping_ends_an_export_from_outside(platform: Served, tmp_path: Path) -> None:
    """Resumable, as the command's interruption."""

    async def main() -> None:
        stopping = anyio.Event()
        loop = asyncio.get_running_loop()
        platform.before_answer = lambda: loop.call_soon_threadsafe(stopping.set)
        await harvester.export_async(
            "p", tmp_path, stopping=stopping, format=harvester.Format(rows_per_part=1)
        )

    with pytest.raises(CannotFinishNow, match="stopped"):
        anyio.run(main)


def test_stopping_ends_the_wait_for_a_server_that_does_not_answer(platform: Served, tmp_path: Path) -> None:
    """Its thread is left behind; nothing has been made."""
    answered = threading.Event()

    def find_project(wanted: str) -> ProjectInfo:
        answered.wait(LONG)
        return PROJECT

    async def main() -> None:
        stopping = anyio.Event()
        stopping.set()
        try:
            await harvester.export_async("p", tmp_path / "out", stopping=stopping)
        finally:
            answered.set()

    platform.find_project = find_project  # type: ignore[method-assign]
    platform.closed = 1
    with pytest.raises(CannotFinishNow, match="stopped"):
        anyio.run(main)
    assert not (tmp_path / "out").exists()


def test_what_a_selection_names_is_checked_before_anything_is_made(
    platform: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By all four ways to begin, as bad input that says what is close."""
    monkeypatch.setattr(Served, "stages", lambda self, project: ["Review"], raising=False)
    selection = harvester.Selection(workflow_graph_node_title_eq="Revew")

    async def stream() -> None:
        async for _ in harvester.stream("p", selection=selection):
            pass

    async def export() -> None:
        await harvester.export_async("p", tmp_path / "out", selection=selection)

    for begin in (
        lambda: list(harvester.records("p", selection=selection)),
        lambda: harvester.export("p", tmp_path / "out", selection=selection),
        lambda: anyio.run(stream),
        lambda: anyio.run(export),
    ):
        with pytest.raises(BadInput, match=r"unknown workflow stage 'Revew' \(did you mean 'Review'\?\)"):
            begin()
    assert list(tmp_path.iterdir()) == []
