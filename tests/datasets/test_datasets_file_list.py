"""The list of a data set's files is kept on disk, read as a stream, and not trusted."""

import os
import tracemalloc
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from harvester.datasets.conversion import verify_conversion
from harvester.datasets.convert import convert
from harvester.datasets.file_list import FILES, FileTotals, WrittenFile, compared, file_list, listed_files
from harvester.datasets.written import Output, output_in
from harvester.errors import TargetRefused, Unsound
from harvester.output.target import LocalTarget
from tests.datasets.exports import exported, files_in
from tests.sync.worlds import LiveWorld

MANY = 40_000
MOST_BYTES = 6_000_000  # of Python's own; the list itself takes 18 MB as objects


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=12))


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """While they are noted, listed, read back, and compared with those that are there."""
    names = [f"labels/{sha256(b'%d' % number).hexdigest()}.txt" for number in range(MANY)]
    tracemalloc.start()
    try:
        with file_list() as files:
            for number, name in enumerate(names):
                files.add(WrittenFile(name, number, "0" * 64))
            totals = Output(LocalTarget(tmp_path), files, tmp_path).put_list()
        read = sum(file.bytes for file in listed_files(LocalTarget(tmp_path), totals))
        others = list(compared(_OTHERS, there=iter(names), known=iter(names[:-1])))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert totals.number == MANY
    assert read == totals.bytes == sum(range(MANY))
    assert others == names[-1:]
    assert peak < MOST_BYTES


_OTHERS = "SELECT name FROM there EXCEPT SELECT name FROM known"


def test_files_are_listed_by_name_and_once(tmp_path: Path) -> None:
    """Of one that was written twice, what was written last."""
    with output_in(tmp_path) as output:
        for name, data in (("b", b"1"), ("a/c", b"22"), ("b", b"333"), ("a.c", b"4444")):
            output.put(name, data)
        totals = output.put_list()
    found = list(listed_files(LocalTarget(tmp_path), totals))
    assert [(file.name, file.bytes) for file in found] == [("a.c", 4), ("a/c", 2), ("b", 3)]
    assert (totals.number, totals.bytes) == (3, 9)
    assert totals.sha256 == sha256((tmp_path / FILES).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["../outside", ".harvester/lock", "a//b", "/a", ""])
def test_a_name_that_is_of_no_data_set_is_damage(tmp_path: Path, name: str) -> None:
    """Whoever can write there may have made the list, and its checksum."""
    listed = msgspec.json.encode(WrittenFile(name, 1, "")) + b"\n"
    (tmp_path / FILES).write_bytes(listed)
    with pytest.raises(Unsound, match="which can be no file of a data set"):
        list(listed_files(LocalTarget(tmp_path), FileTotals(1, 1, sha256(listed).hexdigest())))


@pytest.mark.parametrize("damage", ["cut", "flipped", "no JSON", "gone"])
def test_a_damaged_list_is_found_and_mended(export: Path, tmp_path: Path, damage: str) -> None:
    """`verify` names it, and the same conversion again writes it anew; no file of the user is deleted."""
    out = tmp_path / "set"
    convert(export, out, to="yolo")
    before = files_in(out)
    listed = before[FILES]
    match damage:
        case "cut":
            (out / FILES).write_bytes(listed[:-100])
        case "gone":
            (out / FILES).unlink()
        case "flipped":
            (out / FILES).write_bytes(listed.replace(b'"bytes":', b'"bytes":1', 1))
        case _:
            (out / FILES).write_bytes(b"{" + listed)
    report = verify_conversion(out)
    assert [problem.name for problem in report.problems] == [FILES]
    assert report.advice == "convert its export again"
    (out / "labels" / "mine.txt").write_text("mine")
    with pytest.raises(TargetRefused, match=r"labels/mine\.txt, which is not of its data set"):
        convert(export, out, to="yolo")
    (out / "labels" / "mine.txt").unlink()
    convert(export, out, to="yolo")
    assert files_in(out) == before


@pytest.mark.parametrize("name", [b"labels/\xff.txt", b"labels/linked", b"deeper/and/deeper/file"])
def test_no_entry_of_the_user_is_deleted(export: Path, tmp_path: Path, name: bytes) -> None:
    """Whatever it is called, a link to a directory, too."""
    out = tmp_path / "set"
    convert(export, out, to="yolo")
    mine = os.path.join(os.fsencode(out), name)
    os.makedirs(os.path.dirname(mine), exist_ok=True)
    if name.endswith(b"linked"):
        os.symlink(tmp_path, mine)
    else:
        Path(os.fsdecode(mine)).write_text("mine")
    with pytest.raises(TargetRefused, match="which is not of its data set"):
        convert(export, out, to="yolo")
    assert os.path.lexists(mine)
