"""Each file of a synced export in turn is lost, cut or has a bit flipped: what names it, and what mends it.

`OUTCOMES` says for each file of the layout what `verify` advises. What it advises must work: then the target
is sound and the live records are what they were. Else both say in one line that a new export is needed.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, count
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.cli import main
from harvester.errors import BadInput, TargetRefused, Unsound
from harvester.output.target import LocalTarget, open_target
from harvester.output.verify import Report
from harvester.output.verify import verify as check
from harvester.settings import Format, Selection
from tests.output.stores import BUCKET, S3, reach, s3_server
from tests.output.test_output_plan import spoil
from tests.sync.worlds import LiveWorld, contents, live

Place = Path | str

EXPORT = "run its export again to repair it"
NEW = "a new export is needed, into another directory"
NEEDED = "a new export is needed"
HARMLESS = ""  # nothing reads it but to name who works here

OUTCOMES = {
    r"manifest\.json": EXPORT,
    r"ontology\.json": EXPORT,
    r"listing\.ndjson\.zst": EXPORT,
    r"(objects|classifications|units|rows|failed|notes)-\d+\.ndjson(\.zst)?": EXPORT,
    r"changes-00000\.ndjson(\.zst)?": NEW,
    r"\.harvester/plan\.json": EXPORT,
    r"\.harvester/plan\.ndjson\.zst": EXPORT,
    r"\.harvester/commits/\d+\.json": EXPORT,
    r"\.harvester/changed\.json": EXPORT,
    r"\.harvester/listed\.json": EXPORT,
    r"\.harvester/listed\.ndjson\.zst": EXPORT,
    r"\.harvester/lock": HARMLESS,
}

DAMAGE = ("deleted", "flipped", "truncated")


def advised(name: str) -> str:
    """What the table says of a file of the export, or of a generation."""
    (found,) = (
        advice for pattern, advice in OUTCOMES.items() if re.fullmatch(rf"(generations/\d+/)?{pattern}", name)
    )
    return found


class Synced:
    """A project that has changed before each of the syncs of its export; not since the last one."""

    def __init__(
        self, folder: Path, *, syncs: int, rows: int = 30, ontology: bool = False, **options: Any
    ) -> None:
        self.world = LiveWorld(rows, seed=3, unlabelled=0.1)
        self._folder, self.whole, self._options = folder, folder / "whole", options
        labels = self.world.labels()
        self.world.broken, self.world.stale = {labels[0]}, {labels[1]}
        anyio.run(self._export, self.whole)
        for number in range(syncs):
            labels = self.world.labels()
            changes = [{"do": "rename", "node": "Weather", "to": f"Sky {number}"}] if ontology else []
            edited, removed = labels[2 + number : 6 + number], [labels[10 + number]]
            self.world.world.edit(rows=edited, removed=removed, added=1, ontology=changes)
            self.world.move(labels[8], ["Review", "Complete", "Annotate"][number])
            self.world.broken = {labels[0], labels[3 + number]}
            anyio.run(self.world.sync, self.whole)
        self.live = live(self.whole)
        assert check(LocalTarget(self.whole)).ok

    async def _export(self, out: Place) -> None:
        await self.world.export(out, **self._options)

    def export(self, out: Place) -> None:
        anyio.run(self._export, out)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.whole)) for path in self.whole.rglob("*") if path.is_file())

    def damaged(self, *names: str, damage: str = "deleted") -> Path:
        """A copy of the export with that damage."""
        out = self._folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.whole, out)
        for name in names:
            spoil(out / name, damage)
        return out

    def mends(self, out: Place) -> None:
        """The same export again leaves a sound target with the same live records."""
        self.export(out)
        assert verify(out).problems == []
        assert live(out) == self.live

    def reads_nothing_else(self, out: Place) -> None:
        """What is damaged gives the live records as they were, or is told. There is no third."""
        try:
            found = live(out)
        except Unsound:
            return
        except BadInput:
            assert not verify(out).ok
            return
        assert found == self.live


def verify(out: Place) -> Report:
    return check(open_target(out))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    return Synced(tmp_path_factory.mktemp("twice"), syncs=2)


def directory(out: Path) -> Place:
    """Where the damaged copy is."""
    return out


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    """A smaller one, with one generation."""
    return Synced(tmp_path_factory.mktemp("once"), syncs=1, rows=16)


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_verify_advises_mends_any_file_or_both_say_that_a_new_export_is_needed(
    twice: Synced, damage: str
) -> None:
    """With two generations, before each of which the project has changed. Live records are right, or told."""
    damage_each_file(twice, damage, directory)


@pytest.mark.parametrize("shift", range(3))
def test_what_verify_advises_mends_any_object_of_a_bucket(
    once: Synced, shift: int, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, with one generation. Each damage to a third of the objects: to all it takes minutes."""
    reach(server, monkeypatch)
    number = count()

    def bucket(out: Path) -> Place:
        prefix = f"{shift}-{next(number)}"
        for path in (path for path in out.rglob("*") if path.is_file()):
            server.put(f"{prefix}/{path.relative_to(out)}", path.read_bytes())
        return f"s3://{BUCKET}/{prefix}"

    names = [name for name in once.names() if not name.endswith(("-00001.ndjson", "00001.json"))]
    damage_each_file(once, DAMAGE[shift], bucket, names[shift::3])


def damage_each_file(
    synced: Synced, damage: str, place: Callable[[Path], Place], names: Iterable[str] | None = None
) -> None:
    """In a copy of its own each, which `place` puts where it is to be."""
    for name in names or synced.names():
        if advised(name) == HARMLESS and damage != "deleted":
            continue  # it is empty, once the run has ended
        out = place(synced.damaged(name, damage=damage))
        report = verify(out)
        if advised(name) == HARMLESS:
            assert report.ok, name
            continue
        synced.reads_nothing_else(out)
        said = [str(problem) for problem in report.problems]
        assert any(name.rpartition("/")[2].partition(".")[0] in problem for problem in said), (name, said)
        if advised(name) == NEW:
            assert report.advice.startswith(f"{NEW}: {name}: "), (name, report.advice)
            for command in (synced.export, lambda out: anyio.run(synced.world.sync, out)):
                with pytest.raises(Unsound, match=f"{NEW}: {name} is lost or damaged") as refused:
                    command(out)
                assert refused.value.exit_code
            with pytest.raises(Unsound, match="see harvester verify"):
                live(out)
        else:
            assert report.advice == EXPORT, (name, report.advice)
            synced.mends(out)


def test_verify_prints_what_it_advises_as_its_last_line(
    twice: Synced, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 3; for machines, each problem has its remedy."""
    feed, plan = "generations/00001/changes-00000.ndjson", "generations/00001/.harvester/plan.json"
    for names, advice in (((plan,), EXPORT), ((feed, plan), f"{NEW}: {feed}: missing")):
        out = twice.damaged(*names)
        assert main(["verify", str(out)]) == 3
        number = "1 problem" if len(names) == 1 else "2 problems"
        assert capsys.readouterr().err.splitlines()[-1] == f"harvester: {out}: {number}; {advice}"
        assert main(["verify", str(out), "--json"]) == 3
        problems = json.loads(capsys.readouterr().out)["problems"]
        assert {problem["name"]: problem["remedy"] for problem in problems} == {
            name: "new export" if name == feed else "export" for name in names
        }


def test_every_line_of_the_table_is_of_a_file_that_was_damaged(twice: Synced) -> None:
    """Of the export or of a generation."""
    names = twice.names()
    for pattern in OUTCOMES:
        assert any(re.fullmatch(rf"(generations/\d+/)?{pattern}", name) for name in names), pattern


STATE_FILES = ("plan.json", "plan.ndjson.zst", "changed.json", "listed.json", "listed.ndjson.zst")


@pytest.mark.parametrize("syncs", [1, 3])
def test_state_files_are_mended_however_many_syncs_there_were(tmp_path: Path, syncs: int) -> None:
    """And a part that is damaged at the same time, from the plan that was mended first."""
    synced = Synced(tmp_path, syncs=syncs, format=Format(rows_per_part=10, compress="zstd"))
    for name in synced.names():
        if Path(name).name in STATE_FILES:
            synced.mends(synced.damaged(name))
            synced.mends(synced.damaged(name, "objects-00000.ndjson.zst"))


def test_all_state_files_that_are_mended_from_different_ones_may_be_lost_at_once(twice: Synced) -> None:
    """The plans, the frozen listing's header, one `changed.json` and one ontology."""
    names = [name for name in twice.names() if Path(name).name == "plan.json"]
    last = "generations/00002/.harvester"
    out = twice.damaged(*names, f"{last}/listed.json", "generations/00001/.harvester/changed.json")
    twice.mends(out)


def follow(synced: Synced, out: Place) -> tuple[str, ...]:
    """Does what `verify` advises until the target is sound, or somebody says that a new export is needed.

    Returns what was done.
    """
    done: tuple[str, ...] = ()
    while not (report := verify(out)).ok:
        assert len(done) < 2, (done, report.problems)
        command = "sync" if report.advice.startswith("sync") else "export"
        done += (command,)
        try:
            anyio.run(synced.world.sync, out) if command == "sync" else synced.export(out)
        except (TargetRefused, Unsound) as error:
            if NEEDED in error.message:
                return (*done, NEEDED)
            raise
        assert not report.advice.startswith(NEW), "it was mended, though verify thought that it cannot be"
    assert live(out) == synced.live
    return done


TOGETHER = ("manifest.json", "ontology.json", "listing.ndjson.zst", "plan.ndjson.zst", "changed.json")
TOGETHER += ("listed.json", "listed.ndjson.zst")
_LAST = "generations/00001"
NEED_BOTH = {
    (".harvester/plan.ndjson.zst", "listing.ndjson.zst"),
    (".harvester/plan.ndjson.zst", "manifest.json"),
    (f"{_LAST}/.harvester/changed.json", f"{_LAST}/.harvester/listed.json"),
    (f"{_LAST}/.harvester/changed.json", "manifest.json"),
    (f"{_LAST}/.harvester/listed.json", f"{_LAST}/listing.ndjson.zst"),
    (f"{_LAST}/.harvester/listed.json", "manifest.json"),
    (f"{_LAST}/.harvester/listed.ndjson.zst", f"{_LAST}/listing.ndjson.zst"),
    (f"{_LAST}/.harvester/listed.ndjson.zst", "manifest.json"),
}


def test_any_two_state_files_may_be_damaged_at_once(once: Synced) -> None:
    """What `verify` advises leads to a sound target, or to one line that says that a new export is needed."""
    names = [name for name in once.names() if name.rpartition("/")[2] in TOGETHER]
    for_good = set[tuple[str, str]]()
    for pair in combinations(names, 2):
        out = once.damaged(*pair)
        once.reads_nothing_else(out)
        if NEEDED in follow(once, out):
            for_good.add(pair)
    assert for_good == NEED_BOTH


def test_a_sync_mends_the_listing_that_it_compares_with(twice: Synced) -> None:
    """And ends with the bytes of one that found it undamaged."""
    anyio.run(twice.world.sync, out := twice.damaged())
    expected = contents(out)
    for name in ("listed.json", "listed.ndjson.zst"):
        out = twice.damaged(f"generations/00002/.harvester/{name}", damage="flipped")
        anyio.run(twice.world.sync, out)
        assert contents(out) == expected


def test_a_sync_of_an_export_without_its_plan_says_what_mends_it(tmp_path: Path) -> None:
    """Also of one that was not synced yet, whose listing is lost, too."""
    synced = Synced(tmp_path, syncs=0)
    for name in (".harvester/plan.json", ".harvester/plan.ndjson.zst"):
        out = synced.damaged(name, "listing.ndjson.zst", damage="truncated")
        with pytest.raises(Unsound, match="its plan is lost or damaged: run its export again"):
            anyio.run(synced.world.sync, out)
        assert verify(out).advice == EXPORT
        synced.mends(out)


# -- where only an unchanged project could mend ----------------------------------------------------------


def problems(report: Report, name: str) -> Iterable[str]:
    return (problem.what for problem in report.problems if problem.name == name)


@pytest.mark.parametrize("name", [".harvester/plan.json", ".harvester/plan.ndjson.zst"])
def test_a_plan_that_the_listing_does_not_hold_needs_an_unchanged_project(tmp_path: Path, name: str) -> None:
    """With row records the plan has more than the listing; that is said by verify, and then by the export."""
    format = Format(rows_per_part=10, emit=("objects", "rows"))
    synced = Synced(tmp_path, syncs=1, format=format)
    out = synced.damaged(name)
    assert [what.partition(": ")[2] for what in problems(verify(out), name)] == [
        "if the project has changed since, a new export is needed"
    ]
    with pytest.raises(TargetRefused, match="a new export is needed"):
        synced.export(out)
    out = synced.damaged(f"generations/00001/{name}")
    synced.mends(out)


def test_a_frozen_listing_that_the_listing_does_not_hold_needs_a_new_export(tmp_path: Path) -> None:
    """With row records."""
    synced = Synced(tmp_path, syncs=1, format=Format(rows_per_part=10, emit=("objects", "rows")))
    name = "generations/00001/.harvester/listed.json"
    out = synced.damaged(name)
    assert verify(out).advice.startswith(f"{NEW}: {name}: ")
    for command in (synced.export, lambda out: anyio.run(synced.world.sync, out)):
        with pytest.raises(Unsound, match=f"{NEW}: {name} is lost or damaged"):
            command(out)


def test_an_ontology_is_taken_from_another_generation_or_from_an_unchanged_project(tmp_path: Path) -> None:
    """Which it must be is said where no other folder has it."""
    synced = Synced(tmp_path, syncs=1, ontology=True)
    synced.mends(synced.damaged("generations/00001/ontology.json"))  # the project's own
    out = synced.damaged("ontology.json")
    assert list(problems(verify(out), "ontology.json")) == [
        "missing or damaged: if the project's ontology has changed since, a new export is needed"
    ]
    with pytest.raises(TargetRefused, match="a new export is needed"):
        synced.export(out)


def test_an_ontology_that_another_generation_has_is_mended_though_the_project_has_another(
    tmp_path: Path,
) -> None:
    """Without asking for anything."""
    synced = Synced(tmp_path, syncs=1)
    synced.world.world.edit(ontology=[{"do": "rename", "node": "Weather", "to": "Sky"}])
    for name in ("ontology.json", "generations/00001/ontology.json"):
        out = synced.damaged(name)
        assert list(problems(verify(out), name)) == ["missing or damaged"]
        synced.mends(out)


# -- rows that fail while a part is mended ---------------------------------------------------------------


def test_a_row_that_failed_when_its_part_was_mended_is_asked_for_by_the_next_sync(tmp_path: Path) -> None:
    """Else its records would be gone for good."""
    synced = Synced(tmp_path, syncs=1)
    part = next(name for name in synced.names() if name.startswith("objects-"))
    out = synced.damaged(part)
    usual, synced.world.broken = synced.world.broken, set(synced.world.labels())
    synced.export(out)
    assert live(out) != synced.live
    synced.world.broken = usual
    anyio.run(synced.world.sync, out)
    assert live(out) == synced.live
    assert verify(out).ok


def test_an_export_for_something_else_mends_nothing(twice: Synced) -> None:
    """It is refused before anything is written."""
    out = twice.damaged("generations/00001/.harvester/changed.json")
    with pytest.raises(TargetRefused):
        anyio.run(lambda: twice.world.export(out, selection=Selection(shapes=("polygon",))))
    assert not (out / "generations/00001/.harvester/changed.json").exists()
