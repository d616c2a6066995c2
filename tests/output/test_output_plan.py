"""The frozen plan: the same whatever comes, read in pieces, refused for another export."""

import tracemalloc
from itertools import islice
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import CannotFinishNow, TargetRefused
from harvester.output import planfile
from harvester.output.export_spec import ExportSpec, Project
from harvester.output.layout import FORMAT
from harvester.output.target import LocalTarget
from harvester.settings import Format, Selection
from tests.output.small import ONTOLOGY, PURPOSE, contents, export, plan, plan_lines

RAW = b'{"title":"a",\n "n":123456789012345678901234567890, "s":"\\u2028"}'


@pytest.fixture
def target(tmp_path: Path) -> LocalTarget:
    return LocalTarget(tmp_path / "out")


def test_rows_come_back_as_they_were_frozen(target: LocalTarget) -> None:
    """Order and fields are kept; a listing item keeps its numbers, though it stands on one line now."""
    rows = [*plan(), msgspec.structs.replace(next(plan()), metadata=msgspec.Raw(RAW))]
    header = planfile.freeze(target, map(msgspec.json.encode, rows), PURPOSE)
    found = list(planfile.rows(target, header))
    assert found[:-1] == rows[:-1]
    assert bytes(found[-1].metadata) == RAW.replace(b"\n", b" ")
    assert (header.rows, header.parts, header.outcomes) == (9, 3, {"filtered": 1, "unlabelled": 2})


@given(size=st.integers(1, 9), rows=st.integers(0, 20), data=st.data())
def test_slices_are_the_plan_cut_in_parts(
    tmp_path_factory: pytest.TempPathFactory, size: int, rows: int, data: st.DataObject
) -> None:
    """Part i is rows [i * K, (i + 1) * K), whichever parts are asked for."""
    target = LocalTarget(tmp_path_factory.mktemp("plan"))
    spec = msgspec.structs.replace(PURPOSE, format=Format(rows_per_part=size))
    header = planfile.freeze(target, plan_lines(rows), spec)
    wanted = data.draw(st.sets(st.integers(0, max(0, header.parts - 1))))
    whole = list(plan(rows))
    expected = {part: whole[part * size : (part + 1) * size] for part in range(header.parts)}
    found = dict(planfile.slices(target, header, wanted))
    assert found == {part: expected[part] for part in expected if part in wanted}


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    """Two plans of the same listing are equal to the byte, over several compressed pieces."""
    for name in ("a", "b"):
        planfile.freeze(LocalTarget(tmp_path / name), plan_lines(30_000), PURPOSE)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_digest_covers_rows_ontology_selection_and_format(tmp_path: Path) -> None:
    """Each of them, and the project, changes the digest; a renamed project does not."""
    others = {
        "rows": (PURPOSE, 7),
        "selection": (msgspec.structs.replace(PURPOSE, selection=Selection()), 8),
        "format": (msgspec.structs.replace(PURPOSE, format=Format()), 8),
        "project": (msgspec.structs.replace(PURPOSE, project=Project("other", "Streets")), 8),
    }
    first = planfile.freeze(LocalTarget(tmp_path / "0"), plan_lines(), PURPOSE).digest
    digests = [
        planfile.freeze(LocalTarget(tmp_path / name), plan_lines(rows), spec).digest
        for name, (spec, rows) in others.items()
    ]
    digests.append(planfile.freeze(LocalTarget(tmp_path / "ontology"), plan_lines(), PURPOSE, b"{}").digest)
    assert len({first, *digests}) == 6
    renamed = msgspec.structs.replace(PURPOSE, project=Project("project-hash", "Renamed"))
    assert planfile.freeze(LocalTarget(tmp_path / "1"), plan_lines(), renamed).digest == first


def test_a_resumed_export_keeps_its_plan(target: LocalTarget) -> None:
    """What the server lists by then is not asked for."""
    found = planfile.take_up(target, PURPOSE)
    assert (found.header, found.known) == (None, frozenset())
    header = planfile.freeze(target, plan_lines(), PURPOSE)
    found = planfile.take_up(target, PURPOSE)
    assert (found.header, found.known) == (header, {header.digest})


def test_a_plan_none_of_whose_parts_is_there_yet_is_made_anew_for_another_selection(
    target: LocalTarget, tmp_path: Path
) -> None:
    """Of the same project; one of another project is refused, and so is one that has a part."""
    other = msgspec.structs.replace(PURPOSE, selection=Selection())
    header = planfile.freeze(target, plan_lines(), PURPOSE)
    target.put("manifest.json", b"{}")
    assert not planfile.is_free_for(target, header, PURPOSE), "it is the same"
    assert not planfile.is_free_for(target, header, other), "nothing is known of the manifest"
    target.put("manifest.json", b'{"plan": "", "generations": [{}]}')
    assert not planfile.is_free_for(target, header, other), "it was synced"
    target.put("manifest.json", b'{"plan": "", "generations": []}')
    assert planfile.is_free_for(target, header, other)
    elsewhere = msgspec.structs.replace(other, project=Project("other", "Streets"))
    assert not planfile.is_free_for(target, header, elsewhere)
    with pytest.raises(TargetRefused):
        planfile.take_up(target, elsewhere)
    found = planfile.take_up(target, other)
    assert (found.header, found.known) == (None, set())
    assert target.read("manifest.json") is None
    target.put(".harvester/commits/00000.json", b"{}")
    with pytest.raises(TargetRefused, match="shapes=polygon"):
        planfile.take_up(target, other)


def test_the_rows_of_a_plan_are_replaced_at_once(target: LocalTarget, tmp_path: Path) -> None:
    """They go into another file, so that the header switches to them; the former one is deleted."""
    header = planfile.freeze(target, plan_lines(8), PURPOSE, ONTOLOGY)
    for rows, name in (
        (7, "plan-settled.ndjson.zst"),
        (6, "plan.ndjson.zst"),
        (5, "plan-settled.ndjson.zst"),
    ):
        header = planfile.replace_rows(target, header, islice(planfile.lines(target, header), rows))
        assert header.rows_file == f".harvester/{name}"
        assert {path.name for path in (tmp_path / "out" / ".harvester").iterdir()} == {name, "plan.json"}
        assert list(planfile.rows(target, header)) == list(plan(rows))
        assert planfile.take_up(target, PURPOSE).header == header
        assert planfile.read_ontology(target, header) == ONTOLOGY


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        (
            ExportSpec(
                project=PURPOSE.project,
                selection=Selection(shapes=("bounding_box",)),
                format=PURPOSE.format,
            ),
            "of project Streets with shapes=polygon, not shapes=bounding_box; choose another directory",
        ),
        (
            ExportSpec(project=PURPOSE.project, selection=Selection(), format=PURPOSE.format),
            "of project Streets with shapes=polygon, not shapes=(none); choose another directory",
        ),
        (
            ExportSpec(project=PURPOSE.project, selection=PURPOSE.selection, format=Format(emit=("rows",))),
            "of project Streets with emit=objects,rows, not emit=rows; choose another directory",
        ),
        (
            ExportSpec(
                project=Project("other", "\x1b[31mStreets\n"), selection=Selection(), format=PURPOSE.format
            ),
            "of project Streets (project-hash), not of Streets (other); choose another directory",
        ),
    ],
)  # fmt: skip
def test_a_target_of_another_export_is_refused_with_the_difference_named(
    target: LocalTarget, tmp_path: Path, wanted: ExportSpec, difference: str
) -> None:
    """One line says in what it differs; the target stays as it is."""
    export(target)
    before = contents(tmp_path)
    with pytest.raises(TargetRefused) as refused:
        export(target, wanted)
    assert refused.value.message == f"{target.name} holds an export {difference}"
    assert contents(tmp_path) == before


def test_parts_without_a_plan_are_not_ours(target: LocalTarget, tmp_path: Path) -> None:
    """A directory with somebody else's parts, and no state of ours, is refused and left alone."""
    target.put("objects-00000.ndjson", b"somebody else's")
    before = contents(tmp_path)
    with pytest.raises(TargetRefused, match=r"holds objects-00000\.ndjson but no plan"):
        export(target)
    assert {name: data for name, data in contents(tmp_path).items() if "lock" not in name} == before


def test_an_ontology_without_a_plan_is_not_ours(target: LocalTarget, tmp_path: Path) -> None:
    """Somebody else's ontology.json is not written over; that of a run that was killed is."""
    target.put("ontology.json", b"somebody else's")
    with pytest.raises(TargetRefused, match=r"holds ontology\.json but no plan"):
        export(target)
    assert (tmp_path / "out" / "ontology.json").read_bytes() == b"somebody else's"
    target.put(".harvester/plan.ndjson.zst", b"of a run that was killed")
    export(target)
    assert (tmp_path / "out" / "ontology.json").read_bytes() == ONTOLOGY


@pytest.mark.parametrize("name", ["plan.json", "plan.ndjson.zst"])
@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped"])
def test_a_damaged_plan_is_listed_again_and_must_be_the_same(
    target: LocalTarget, tmp_path: Path, name: str, damage: str
) -> None:
    """It is repaired where the server lists the same rows, and refused where it lists others."""
    export(target)
    whole = contents(tmp_path)
    spoil(tmp_path / "out" / ".harvester" / name, damage)
    spoilt = contents(tmp_path)
    with pytest.raises(TargetRefused, match="its plan is lost, and what the server lists now differs"):
        export(target, rows=9)
    assert contents(tmp_path) == spoilt
    export(target)
    assert contents(tmp_path) == whole


def test_the_ontology_is_the_one_that_was_frozen(target: LocalTarget, tmp_path: Path) -> None:
    """One that has changed since counts for nothing, not even where the plan's header is lost; and where
    the frozen one is lost, the export is refused, and nothing is touched."""
    export(target)
    whole, state = contents(tmp_path), tmp_path / "out" / ".harvester"
    (state / "plan.json").unlink()
    export(target, ontology=b"{}")
    assert contents(tmp_path) == whole
    (tmp_path / "out" / "ontology.json").unlink()
    with pytest.raises(TargetRefused, match=r"ontology\.json is lost or damaged, and the project's"):
        export(target, ontology=b"{}")
    export(target)
    assert contents(tmp_path) == whole


def test_a_plan_that_spoils_while_it_is_read_stops_the_export(target: LocalTarget, tmp_path: Path) -> None:
    """A row that cannot be decoded, or rows missing at the end, are never taken for the plan."""
    header = planfile.freeze(target, plan_lines(), PURPOSE)
    path = tmp_path / "out" / ".harvester" / "plan.ndjson.zst"
    for data in (path.read_bytes()[:-9], b"no zstd", zstandard.compress(b"{}\n")):
        path.write_bytes(data)
        with pytest.raises(CannotFinishNow, match=r"plan\.ndjson\.zst is damaged"):
            list(planfile.rows(target, header))
        with pytest.raises(CannotFinishNow, match=r"plan\.ndjson\.zst is damaged"):
            list(planfile.slices(target, header, {0, 1, 2}))


@pytest.mark.parametrize(("version", "which"), [(FORMAT - 1, "an older"), (FORMAT + 1, "a newer")])
def test_a_target_of_another_format_is_refused(target: LocalTarget, version: int, which: str) -> None:
    """It is neither read wrongly nor repaired."""
    target.put(".harvester/plan.json", b'{"version": %d, "more": []}' % version)
    with pytest.raises(TargetRefused, match=rf"{which} harvester \(format {version}\)"):
        export(target)


def test_freezing_and_reading_take_no_memory_for_the_rows(target: LocalTarget) -> None:
    """50,000 rows, 10 MB of JSON, are frozen, checked and cut in parts in less than 4 MB."""
    spec = msgspec.structs.replace(PURPOSE, format=Format())
    tracemalloc.start()
    try:
        header = planfile.freeze(target, plan_lines(50_000), spec)
        assert planfile.intact(target, header)
        assert sum(len(rows) for _, rows in planfile.slices(target, header, range(header.parts))) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def spoil(path: Path, damage: str) -> None:
    """Deletes, truncates or flips one bit of a file."""
    data = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
