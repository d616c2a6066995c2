"""The Python API, on a platform in memory."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import harvester
from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, CannotFinishNow, SkipRow
from tests.export.platform import PROJECT, Platform, files


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
    assert list(files(tmp_path / "out")) == ["objects-00000.ndjson"]
    with pytest.raises(harvester.HarvesterError, match="filters"):
        harvester.export("p", tmp_path / "out")


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
        answered.wait(10)
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
