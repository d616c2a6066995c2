"""An export from plan to manifest, on a platform in memory."""

import json
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, CannotFinishNow, TargetRefused
from harvester.events import Counters
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.plan.drift import compared
from harvester.settings import Format, Limits, Selection
from tests.export.platform import Platform, files, manifest
from tests.output.faulty import Stall, stopped_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by one with each comparison of a listing with the plan."""
    made: list[object] = []

    def counted(*sides: Any) -> Any:
        made.append(sides)
        return compared(*sides)

    monkeypatch.setattr("harvester.run.compared", counted)
    return made


async def test_every_listed_row_is_accounted_for(tmp_path: Path) -> None:
    """listed = harvested + unlabelled + filtered + failed: in summary, manifest and counters."""
    platform, counters = Platform(50), Counters()
    platform.broken = {"label-0003"}
    done = await platform.export(tmp_path, counters=counters)
    counts = {"listed": 50, "harvested": 39, "unlabelled": 10, "filtered": 0, "failed": 1}
    assert done.counts == manifest(tmp_path)["counts"] == counts
    assert {name: getattr(counters, name) for name in counts} == counts
    assert done.exit_code == 3
    assert json.loads(files(tmp_path)["failed-00000.ndjson"])["label_hash"] == "label-0003"
    assert verify(LocalTarget(tmp_path)).ok


async def test_a_filter_that_does_not_import_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """Nothing is listed for it, and no target is left behind."""
    with pytest.raises(BadInput, match="does not import"):
        await Platform().export(tmp_path / "out", selection=Selection(filters=("no.such:thing",)))
    assert not (tmp_path / "out").exists()


async def test_rows_ruled_out_by_the_listing_are_never_asked_for(tmp_path: Path) -> None:
    """A data type that no row has: all rows are filtered and no call is made."""
    platform = Platform()
    done = await platform.export(tmp_path, selection=Selection(data_types=("video",)))
    assert done.counts["filtered"] == 50
    assert platform.asked == []


async def test_an_empty_project_is_complete(tmp_path: Path) -> None:
    """No rows, no parts, a manifest that says so."""
    done = await Platform(0).export(tmp_path)
    assert set(done.counts.values()) == {0}
    assert manifest(tmp_path)["parts"] == []


async def test_a_finished_target_is_left_alone(tmp_path: Path) -> None:
    """The second run neither lists nor fetches, and gives the same summary."""
    platform = Platform()
    first = await platform.export(tmp_path)
    before, asked, listings = files(tmp_path), len(platform.asked), platform.listings
    second = await platform.export(tmp_path)
    assert second.already_complete
    assert second.counts == first.counts
    assert (files(tmp_path), len(platform.asked), platform.listings) == (before, asked, listings)


async def test_another_selection_is_refused(tmp_path: Path) -> None:
    """The target keeps what it has; the message names the difference."""
    platform = Platform()
    await platform.export(tmp_path)
    with pytest.raises(TargetRefused, match="shapes"):
        await platform.export(tmp_path, selection=Selection(shapes=("polygon",)))


async def test_a_run_asked_to_stop_keeps_what_is_done_and_goes_on(tmp_path: Path) -> None:
    """Stopped after the first part: the parts under way are kept, the next run brings the rest."""
    platform, stopping = Platform(200), anyio.Event()
    limits = Limits(bundle_size=2, concurrency=2)

    def on_event(event: str, fields: Any) -> None:
        if event == "part.committed":
            stopping.set()

    with pytest.raises(CannotFinishNow, match=r"stopped: \d+ of 20 parts are kept"):
        await platform.export(tmp_path / "a", stopping=stopping, on_event=on_event, limits=limits)
    asked = len(platform.asked)
    done = await platform.export(tmp_path / "a")
    assert done.resumed
    assert len(platform.asked) == 160, "no row was asked for twice"
    assert asked < 160
    await platform.export(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert manifest(tmp_path / "a")["digest"] == manifest(tmp_path / "b")["digest"]


async def test_a_run_stopped_while_it_lists_leaves_nothing(tmp_path: Path) -> None:
    """Asked to stop before anything was listed: no plan, no parts; the next run begins anew."""
    platform, stopping = Platform(), anyio.Event()
    stopping.set()
    with pytest.raises(CannotFinishNow, match="stopped"):
        await platform.export(tmp_path, stopping=stopping)
    assert not (tmp_path / ".harvester" / "plan.json").exists()
    assert (await platform.export(tmp_path)).counts["harvested"] == 40
    assert LocalTarget(tmp_path).leftovers() == []


async def test_max_duration_ends_resumable(tmp_path: Path) -> None:
    """A run out of time says so, and the next one completes it."""
    platform = Platform()
    with pytest.raises(CannotFinishNow, match="as asked"):
        await platform.export(tmp_path, limits=Limits(max_duration=0.001))
    assert (await platform.export(tmp_path)).counts["harvested"] == 40


@pytest.mark.parametrize("grace", [15.0, 0.0])
async def test_who_has_all_parts_in_the_grace_ends_in_it(
    tmp_path: Path, grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked to stop when the last part is committed: the manifest is written, unless the grace is over."""
    monkeypatch.setattr("harvester.run.GRACE", grace)
    platform, stopping, committed = Platform(50), anyio.Event(), set[int]()

    def on_event(event: str, fields: Any) -> None:
        if event == "part.committed":
            committed.add(fields["part"])
            if len(committed) == 5:
                stopping.set()

    with pytest.raises(CannotFinishNow, match="stopped") if not grace else nullcontext():
        await platform.export(tmp_path, stopping=stopping, on_event=on_event)
    assert (tmp_path / "manifest.json").exists() == bool(grace)
    assert len(platform.asked) == 40
    await platform.export(tmp_path)
    assert len(platform.asked) == 40, "nothing was left to fetch"
    assert verify(LocalTarget(tmp_path)).ok


async def test_failed_rows_are_harvested_again_when_asked(tmp_path: Path) -> None:
    """`retry_failed` asks for them and for no others."""
    platform = Platform(50)
    platform.broken = {"label-0012", "label-0016"}
    assert (await platform.export(tmp_path)).counts["failed"] == 2
    platform.broken, platform.asked = set(), []
    done = await platform.export(tmp_path, retry_failed=True)
    assert (done.counts["failed"], done.exit_code) == (0, 0)
    assert sorted(platform.asked) == ["label-0012", "label-0016"]
    assert "failed-00001.ndjson" not in files(tmp_path)
    await Platform(50).export(tmp_path.with_name("clean"))
    assert files(tmp_path) == files(tmp_path.with_name("clean"))


async def test_rows_changed_meanwhile_are_counted_and_named(tmp_path: Path) -> None:
    """One row edited, one added, one removed while the export runs: all three stand in the manifest."""
    platform = Platform(50)

    def change(event: str, fields: Any) -> None:
        if event == "plan.frozen":
            platform.edited["data-0002"] = "2024-02-02"
            platform.edited["data-0105"] = "2024-02-02"
            del platform.edited["data-0049"]

    done = await platform.export(tmp_path, on_event=change)
    assert done.counts["harvested"] == 40
    assert manifest(tmp_path)["drift"] == {
        "edited": 1,
        "added": 1,
        "removed": 1,
        "named": {"edited": ["label-0002"], "added": ["label-0105"], "removed": ["data-0049"]},
    }


async def test_a_listing_that_is_the_same_to_the_byte_is_not_compared(
    tmp_path: Path, comparisons: list[object]
) -> None:
    """Nothing has drifted then, and the manifest says so in the words that a comparison would use."""
    platform = Platform(50)
    done = await platform.export(tmp_path)
    assert (platform.listings, comparisons) == (2, [])
    nothing = {"edited": 0, "added": 0, "removed": 0, "named": {"edited": [], "added": [], "removed": []}}
    assert manifest(tmp_path)["drift"] == nothing
    await platform.export(tmp_path, settle=True)
    assert len(comparisons) == 1
    assert manifest(tmp_path)["drift"] == nothing
    assert done.drift == (await platform.export(tmp_path)).drift


@pytest.mark.parametrize("settle", [False, True])
async def test_what_a_listing_cannot_tell_is_compared(
    tmp_path: Path, comparisons: list[object], settle: bool
) -> None:
    """The plan of another run, and one that was settled: the digest of their listing is not known."""
    platform = Platform(50)

    def edit_and_break(event: str, fields: Any) -> None:
        if event == "plan.frozen":
            platform.edited["data-0002"] = "2024-02-02"
            platform.broken = {"label-0003"}

    assert (await platform.export(tmp_path, settle=settle, on_event=edit_and_break)).counts["failed"] == 1
    assert len(comparisons) == 1
    platform.broken = set()
    resumed = await platform.export(tmp_path, retry_failed=True)
    assert len(comparisons) == 2
    assert resumed.drift is not None
    assert resumed.drift.edited == (0 if settle else 1)


async def test_settle_harvests_edited_rows_again(tmp_path: Path) -> None:
    """The part with the edited row is harvested again, against the plan as it is listed now."""
    platform = Platform(50)
    await platform.export(tmp_path)
    platform.edited["data-0002"] = "2024-02-02"
    platform.asked = []
    done = await platform.export(tmp_path, settle=True)
    assert {name[-4:-1] for name in platform.asked} == {"000"}, "the first part and no other"
    assert b"2024-02-02" in files(tmp_path)["objects-00000.ndjson"]
    assert done.drift is not None
    assert done.drift.edited == 0
    assert verify(LocalTarget(tmp_path)).ok
    platform.asked = []
    assert (await platform.export(tmp_path)).already_complete
    assert platform.asked == []


async def test_settling_twice_changes_nothing(tmp_path: Path) -> None:
    """Nothing edited since: `settle` lists, and finds the export as it should be."""
    platform = Platform(50)
    await platform.export(tmp_path)
    platform.edited["data-0002"] = "2024-02-02"
    await platform.export(tmp_path, settle=True)
    before, platform.asked = files(tmp_path), []
    await platform.export(tmp_path, settle=True)
    assert (files(tmp_path), platform.asked) == (before, [])


@pytest.mark.parametrize("edited", [False, True])
async def test_a_run_that_is_to_stop_settles_nothing(
    tmp_path: Path, edited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while it lists for the last time: all parts stay, and what is complete as it is ends."""
    platform, stall = Platform(50), Stall()

    def change(event: str, fields: Any) -> None:
        if event == "plan.frozen":
            platform.edited["data-0002" if edited else "data-0105"] = "2024-02-02"

    def stalled(*sides: Any) -> Any:
        stall.wait()
        return compared(*sides)

    monkeypatch.setattr("harvester.run.compared", stalled)
    ended = await stopped_in(stall, partial(platform.export, tmp_path, settle=True, on_event=change))
    assert str(ended).startswith("stopped: rows edited" if edited else "None")
    assert len([name for name in files(tmp_path) if name.startswith("objects")]) == 5
    assert (tmp_path / "manifest.json").exists() != edited
    monkeypatch.undo()
    platform.asked = []
    done = await platform.export(tmp_path, settle=True)
    assert {name[-4:-1] for name in platform.asked} == ({"000"} if edited else set())
    assert done.drift is not None
    assert done.drift.edited == 0


async def test_no_two_exports_share_what_they_say(tmp_path: Path) -> None:
    """A caller may do with a summary as he likes: the next export knows nothing of it."""
    first = await Platform().export(tmp_path / "a")
    assert first.drift is not None
    first.drift.named["edited"].append("mine")
    second = await Platform().export(tmp_path / "b")
    assert second.drift is not None
    assert second.drift.named["edited"] == []


async def test_the_rows_of_a_damaged_part_are_harvested_again(tmp_path: Path) -> None:
    """A flipped bit in a finished export is found and mended, and nothing else is asked for."""
    platform = Platform(50)
    await platform.export(tmp_path)
    before = files(tmp_path)
    part = tmp_path / "objects-00002.ndjson"
    part.write_bytes(part.read_bytes().replace(b"Car", b"Cab", 1))
    platform.asked = []
    await platform.export(tmp_path)
    assert files(tmp_path) == before
    assert {name[-4:-1] for name in platform.asked} == {"002"}


async def test_a_kind_that_is_not_emitted_has_no_file(tmp_path: Path) -> None:
    """Only rows: one line a label row, with its listing and all that was sent."""
    await Platform(10).export(tmp_path, format=Format(emit=("rows",)))
    (name,) = files(tmp_path)
    lines = [json.loads(line) for line in files(tmp_path)[name].splitlines()]
    assert name == "rows-00000.ndjson"
    assert [line["metadata"]["label_hash"] for line in lines] == [line["row"]["label_hash"] for line in lines]
    assert len(lines) == 8


async def test_a_target_of_which_nothing_is_kept_takes_a_corrected_selection(tmp_path: Path) -> None:
    """Nothing was listed, or the run was stopped before its first part: the directory is still free."""
    empty = await Platform(0).export(tmp_path)
    assert (empty.counts["listed"], empty.already_complete) == (0, False)
    corrected = Selection(data_types=("video",))
    again = await Platform(50).export(tmp_path, selection=corrected)
    assert (again.counts["listed"], again.resumed) == (50, False)
    assert verify(LocalTarget(tmp_path)).ok
    with pytest.raises(TargetRefused, match="data_types"):
        await Platform(50).export(tmp_path, selection=Selection())


class Staged(Platform):
    """A platform whose workflow has one stage, and whose first ten rows have a field more."""

    stage = "Review"

    def stages(self, project: ProjectInfo) -> list[str]:
        return [self.stage]

    def row(self, label_hash: str) -> bytes:
        more = b'"extra": 1, "objectHash"' if label_hash < "label-0010" else b'"objectHash"'
        return super().row(label_hash).replace(b'"objectHash"', more)


async def test_what_a_selection_names_is_checked_once(tmp_path: Path) -> None:
    """On a first run, before anything is made; a run that goes on keeps to what it began with."""
    platform, target = Staged(50), tmp_path / "a" / "out"
    with pytest.raises(BadInput, match=r"unknown workflow stage 'Revew' \(did you mean 'Review'\?\)"):
        await platform.export(target, selection=Selection(workflow_graph_node_title_eq="Revew"))
    with pytest.raises(BadInput):
        await platform.export(tmp_path, selection=Selection(workflow_graph_node_title_eq="Revew"))
    assert os.listdir(tmp_path) == []
    selection = Selection(workflow_graph_node_title_eq="Review")
    platform.broken = {"label-0023"}
    failed = await platform.export(target, selection=selection)
    platform.stage, platform.broken = "Renamed", set()
    again = await platform.export(target, selection=selection, retry_failed=True)
    assert (failed.counts["failed"], again.counts["harvested"]) == (1, 40)


@pytest.mark.parametrize(("field", "lacking"), [("extra", []), ("none", ["object.none"])])
async def test_a_run_that_goes_on_knows_what_earlier_runs_saw(
    tmp_path: Path, field: str, lacking: list[str]
) -> None:
    """The first part alone has the field; of the others one failed row is fetched again, and then nothing."""
    platform, selection = Staged(50), Selection(where=f"object.{field} == 5.0")
    platform.broken = {"label-0023"}
    first = await platform.export(tmp_path, selection=selection)
    platform.broken, platform.asked = set(), []
    second = await platform.export(tmp_path, selection=selection, retry_failed=True)
    assert platform.asked == ["label-0023"]
    third = await platform.export(tmp_path, selection=selection)
    assert third.already_complete
    for done, dropped in ((first, 39), (second, 40), (third, 40)):
        [found] = done.nothing_left
        assert f"--where 'object.{field} == 5.0' dropped all {dropped}" in found.message
        assert found.lacking == lacking


async def test_a_run_that_goes_on_knows_what_ruled_out_all_rows(tmp_path: Path) -> None:
    """From the rows of the plan."""
    selection = Selection(task_statuses=("COMPLETED",), data_types=("image",), label_statuses=("REVIEWED",))
    for _ in range(2):
        done = await Platform(50).export(tmp_path, selection=selection)
        assert [found.message for found in done.nothing_left] == [
            "no label row is left: --label-status REVIEWED ruled out all 50"
        ]
    assert done.already_complete
