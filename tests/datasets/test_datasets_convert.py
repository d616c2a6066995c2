"""A conversion is whole or not there, says what it holds, and replaces nothing but itself."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.dataset_options import ConvertOptions
from harvester.datasets.conversion import CONVERSION, is_data_set, read_conversion, verify_conversion
from harvester.datasets.convert import convert, convert_export
from harvester.datasets.file_list import FILES
from harvester.errors import BadInput, CannotFinishNow, TargetRefused, Unsound
from harvester.events import Counters
from harvester.media.index import MEDIA_INDEX, MEDIA_MANIFEST
from harvester.output.manifest import manifest_digest
from harvester.output.target import LocalTarget
from harvester.settings import Format, Selection
from tests.datasets.exports import exported, files_in, records_of, synced
from tests.sync.worlds import LiveWorld

PARQUET = ConvertOptions(to="parquet")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("exports") / "out")


def test_a_conversion_says_what_it_is_of_and_what_is_in_it(export: Path, tmp_path: Path) -> None:
    """Format, export, counts that add up, and each file with its size and checksum."""
    objects = records_of(export, "objects")
    shape = objects[0]["shape"]
    chosen = sum((record["object"].get("shape") or record["shape"]) == shape for record in objects)
    assert 0 < chosen < len(objects)
    done = convert(export, tmp_path / "set", to="parquet", selection=Selection(shapes=shape))
    manifest = json.loads((export / "manifest.json").read_bytes())
    assert done == read_conversion(LocalTarget(tmp_path / "set"))
    assert done.to == "parquet"
    assert (done.export.digest, done.export.counts) == (manifest["digest"], manifest["counts"])
    assert done.selection == {"shapes": [shape]}
    counts = done.records["objects"]
    assert (counts.read, counts.written) == (len(objects), chosen)
    assert counts.left_out == {"shape": len(objects) - chosen}
    assert done.records["units"].written == len(records_of(export, "units"))
    files = files_in(tmp_path / "set")
    del files["conversion.json"]
    listed = files.pop(FILES).splitlines()
    assert [json.loads(line) for line in listed] == [
        {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    assert (done.files.number, done.files.bytes) == (len(files), sum(map(len, files.values())))
    assert verify_conversion(tmp_path / "set").ok


def test_the_same_export_gives_the_same_bytes(export: Path, tmp_path: Path) -> None:
    """Wherever the export and the data set stand, and also over an earlier one."""
    shutil.copytree(export, tmp_path / "copy")
    convert(export, tmp_path / "one", to="parquet")
    convert(tmp_path / "copy", tmp_path / "elsewhere" / "two", to="parquet")
    found = files_in(tmp_path / "one")
    assert found == files_in(tmp_path / "elsewhere" / "two")
    convert(export, tmp_path / "one", to="parquet")
    assert found == files_in(tmp_path / "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "elsewhere", "one"]


def test_an_export_that_was_synced_converts_as_a_new_one_does(tmp_path: Path) -> None:
    """The records, the listing and the ontology are those of the last sync."""
    world = LiveWorld(rows=40)
    exported(tmp_path / "kept", world)
    labels = world.labels()
    world.world.edit(rows=labels[5:9], removed=labels[20:22], added=3)
    synced(tmp_path / "kept", world)
    exported(tmp_path / "fresh", world)
    convert(tmp_path / "kept", tmp_path / "a", to="parquet")
    convert(tmp_path / "fresh", tmp_path / "b", to="parquet")
    kept, fresh = files_in(tmp_path / "a"), files_in(tmp_path / "b")
    del kept["conversion.json"], fresh["conversion.json"]
    assert kept == fresh


def test_filters_keep_what_an_export_with_them_keeps(tmp_path: Path) -> None:
    """Built-in ones, an expression, and a function."""
    world = LiveWorld(rows=60, reviews=0.5)
    whole = exported(tmp_path / "whole", world, selection=Selection(include_reviews=True))
    for number, chosen in enumerate(
        (
            {"shapes": ("polygon", "bounding_box"), "min_confidence": 0.5},
            {"names": ("Car", "Quality"), "manual": True},
            {"authors": ("ann@example.com",), "approved": True},
            {"where": "name.startsWith('P')"},
        )
    ):
        selection: Any = Selection(include_reviews=True, **chosen)
        filtered = exported(tmp_path / f"filtered{number}", world, selection=selection)
        convert(filtered, tmp_path / f"a{number}", to="parquet")
        done = convert(whole, tmp_path / f"b{number}", to="parquet", selection=Selection(**chosen))
        wanted, found = files_in(tmp_path / f"a{number}"), files_in(tmp_path / f"b{number}")
        for kind in ("objects", "classifications"):
            assert found[f"{kind}/00000.parquet"] == wanted[f"{kind}/00000.parquet"]
            assert done.records[kind].written == len(records_of(filtered, kind))


def test_a_function_chooses_records(export: Path, tmp_path: Path) -> None:
    """It is counted by its name."""
    done = convert(export, tmp_path / "set", to="parquet", filters=first_frame_only)
    objects = records_of(export, "objects")
    kept = sum(record["frame"] == 0 for record in objects)
    name = f"{__name__}:first_frame_only"
    assert done.records["objects"].left_out == {name: len(objects) - kept}
    assert done.selection == {"filters": [name]}


def first_frame_only(record: dict[str, Any]) -> bool:
    return record["frame"] == 0


def test_what_is_no_earlier_conversion_of_the_same_is_never_overwritten(export: Path, tmp_path: Path) -> None:
    """Files of the user, other options, another project, a file added to it; each is named."""
    out = tmp_path / "set"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(TargetRefused, match="no data set of ours"):
        convert(export, out, to="parquet")
    (out / "notes.txt").unlink()
    convert(export, out, to="parquet")
    before = files_in(out)
    with pytest.raises(TargetRefused, match="another filter shapes"):
        convert(export, out, to="parquet", selection=Selection(shapes="polygon"))
    other = exported(tmp_path / "other", LiveWorld(rows=5, seed=2))
    with pytest.raises(TargetRefused, match="of project"):
        convert(other, out, to="parquet")
    assert files_in(out) == before
    (out / "objects" / "mine.txt").write_text("mine")
    with pytest.raises(TargetRefused, match=r"objects/mine\.txt, which is not of its data set"):
        convert(export, out, to="parquet")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"a":' * 10_000, None])
def test_a_damaged_manifest_is_mended_by_the_same_conversion(
    export: Path, tmp_path: Path, content: bytes | None
) -> None:
    """`verify` says to convert again. A file that the new data set does not have is still never deleted."""
    out = tmp_path / "set"
    convert(export, out, to="parquet")
    before = files_in(out)
    (out / "conversion.json").write_bytes(before["conversion.json"][:-9] if content is None else content)
    assert [problem.name for problem in verify_conversion(out).problems] == ["conversion.json"]
    (out / "objects" / "mine.txt").write_text("mine")
    with pytest.raises(TargetRefused, match=r"objects/mine\.txt, which is not of its data set"):
        convert(export, out, to="parquet")
    (out / "objects" / "mine.txt").unlink()
    convert(export, out, to="parquet")
    assert files_in(out) == before


@pytest.mark.parametrize("name", [CONVERSION, MEDIA_MANIFEST, MEDIA_INDEX])
def test_no_export_begins_among_files_of_a_data_set_or_media(tmp_path: Path, name: str) -> None:
    """`verify` and `convert` would take the one for the other."""
    (tmp_path / name).write_text("{}")
    with pytest.raises(TargetRefused, match=f"holds {name} but no plan"):
        exported(tmp_path, LiveWorld(rows=2))
    assert [path.name for path in tmp_path.glob("[!.]*")] == [name]


def test_no_answer_is_known_by_its_checksum_alone(export: Path, tmp_path: Path) -> None:
    """A record that fits the manifest, but was never written by harvester, is one line, and no bug."""
    out = Path(shutil.copytree(export, tmp_path / "out"))
    path = out / "objects-00000.ndjson"
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if json.loads(line)["attributes"])
    record = json.loads(lines[place])
    record["attributes"][0]["name"] = 0
    lines[place] = json.dumps(record).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    fields = json.loads((out / "manifest.json").read_bytes())
    file = next(file for file in fields["parts"] if file["name"] == path.name)
    file |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (out / "manifest.json").write_text(json.dumps(fields | {"digest": manifest_digest(fields)}))
    with pytest.raises(Unsound, match="a new export is needed"):
        convert(out, tmp_path / "set", to="coco")
    assert not (tmp_path / "set").exists()


def test_an_export_is_never_overwritten(export: Path) -> None:
    """Not even by a conversion of itself."""
    before = files_in(export)
    with pytest.raises(TargetRefused):
        convert(export, export, to="parquet")
    assert files_in(export) == before


class Stopped(Exception):
    """The user stops it."""


def test_one_that_is_stopped_leaves_what_was_there(export: Path, tmp_path: Path) -> None:
    """At each of its first label rows. What it had begun is gone."""
    out = tmp_path / "set"
    convert(export, out, to="parquet")
    before = files_in(out)
    for stop_at in (1, 2, 3):
        calls = 0

        def keep_on() -> None:
            nonlocal calls
            calls += 1
            if calls == stop_at:  # noqa: B023  # called within this turn
                raise Stopped

        with pytest.raises(Stopped):
            convert_export(export, out, PARQUET, keep_on=keep_on)
        assert files_in(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("moved", [False, True])
def test_what_a_killed_one_left_is_cleaned(export: Path, tmp_path: Path, moved: bool) -> None:
    """Also if it was killed between moving the earlier one away and giving the new one its name."""
    out, work = tmp_path / "set", tmp_path / ".set.converting"
    convert(export, out, to="parquet")
    before = files_in(out)
    (work / "new" / "objects").mkdir(parents=True)
    (work / "new" / "objects" / "00000.parquet").write_text("half")
    if moved:
        out.rename(work / "old")
        with pytest.raises(TargetRefused):  # it fails, and the earlier one is back
            convert(export, out, to="parquet", selection=Selection(shapes="polygon"))
        assert files_in(out) == before
    convert(export, out, to="parquet")
    assert files_in(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_only_one_process_makes_a_data_set(export: Path, tmp_path: Path) -> None:
    """The second one is refused."""
    work = LocalTarget(tmp_path / ".set.converting")
    work.ensure()
    with work.lock(), pytest.raises(TargetRefused, match="in use"):
        convert(export, tmp_path / "set", to="parquet")
    convert(export, tmp_path / "set", to="parquet")


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "manifest"])
def test_damage_is_found(export: Path, tmp_path: Path, damage: str) -> None:
    """The file is named, and what to do."""
    out = tmp_path / "set"
    convert(export, out, to="parquet")
    name = "conversion.json" if damage == "manifest" else "objects/00000.parquet"
    data = (out / name).read_bytes()
    match damage:
        case "cut":
            (out / name).write_bytes(data[:-1])
        case "gone":
            (out / name).unlink()
        case "flipped":
            (out / name).write_bytes(data[:-9] + b"?" + data[-8:])
        case _:
            (out / name).write_bytes(data.replace(b'"written": ', b'"written": 1', 1))
    report = verify_conversion(out)
    assert [problem.name for problem in report.problems] == [name]
    assert report.advice == "convert its export again"


def nothing(path: Path) -> None:
    """Makes nothing in its place."""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero"), nothing])
@pytest.mark.parametrize("name", [CONVERSION, FILES, "objects/00000.parquet"])
def test_what_is_no_file_is_found_and_replaced(export: Path, tmp_path: Path, name: str, make: Any) -> None:
    """A directory, a FIFO, a link, or nothing: named, never read, and gone after the next conversion."""
    out = tmp_path / "set"
    convert(export, out, to="parquet")
    before = files_in(out)
    (out / name).unlink()
    make(out / name)
    assert is_data_set(str(out))
    assert [problem.name for problem in verify_conversion(out).problems] == [name]
    convert(export, out, to="parquet")
    assert files_in(out) == before


def test_a_damaged_export_is_not_converted(tmp_path: Path) -> None:
    """A line changed, with all sizes as they were: nothing is made of it."""
    target = exported(tmp_path / "out", LiveWorld(rows=10))
    path = next(target.glob("objects-*"))
    path.write_bytes(path.read_bytes().replace(b'"kind":"object"', b'"kind":"objecT"', 1))
    with pytest.raises(Unsound, match=r"damaged|no record"):
        convert(target, tmp_path / "set", to="parquet")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("key", [b'"label_hash":"', b'"kind":', b',"object":{"', b'"space_id":'])
def test_a_damaged_file_is_named_wherever_the_damage_is(tmp_path: Path, key: bytes) -> None:
    """Also where the line is none any more, or seems to be of another row."""
    target = exported(tmp_path / "out", LiveWorld(rows=40))
    file = target / "objects-00001.ndjson"
    data = bytearray(file.read_bytes())
    data[data.index(key, len(data) // 2) + len(key)] ^= 1
    file.write_bytes(data)
    with pytest.raises(Unsound, match=r"objects-00001\.ndjson is missing or damaged"):
        convert(target, tmp_path / "set", to="coco")


def test_an_export_that_is_compacted_while_it_is_read_is_not_called_damaged(tmp_path: Path) -> None:
    """Its files go: the same command reads the new ones."""
    world, target = LiveWorld(rows=30), tmp_path / "out"
    exported(target, world)
    world.world.edit(rows=world.labels()[:5])
    synced(target, world)
    options, rows = ConvertOptions(to="coco", include_unlabelled=True), iter(range(100))

    def keep_on() -> None:
        if next(rows) == 1:
            harvester.compact(target)

    with pytest.raises(CannotFinishNow, match="has been synced, compacted or mended meanwhile: run it again"):
        convert_export(target, tmp_path / "set", options, keep_on=keep_on)
    assert convert_export(target, tmp_path / "set", options).files


def test_a_damaged_plan_is_unsound(tmp_path: Path) -> None:
    """Running again would not help."""
    target = exported(tmp_path / "out", LiveWorld(rows=20))
    (target / ".harvester" / "plan.ndjson.zst").write_bytes(b"damaged")
    with pytest.raises(Unsound, match=r"plan\.ndjson\.zst is damaged.*see harvester verify"):
        convert(target, tmp_path / "set", to="coco")


@pytest.mark.parametrize("place", [".harvester/set", "generations/00001", "generations"])
def test_no_data_set_goes_where_the_export_has_its_own_files(tmp_path: Path, place: str) -> None:
    """A sync would find it there; beside them it may be."""
    target = exported(tmp_path / "out", LiveWorld(rows=10))
    with pytest.raises(BadInput, match="is of the export itself"):
        convert(target, target / place, to="parquet")
    assert convert(target, target / "set", to="parquet").files.number


def test_kinds_that_were_not_exported_are_named(tmp_path: Path) -> None:
    """The tables are there all the same, without rows."""
    target = exported(tmp_path / "out", LiveWorld(rows=10), format=Format(emit="objects"))
    done = convert(target, tmp_path / "set", to="parquet")
    assert done.not_exported == ["units", "classifications"]
    assert {"units/00000.parquet", "classifications/00000.parquet"} < files_in(tmp_path / "set").keys()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": ""}, "name the format with --to"),
        ({"to": "xml"}, "unknown format 'xml'"),
        ({"to": "parquet", "task": "detect"}, "--to parquet does not take --task"),
        (
            {"to": "parquet", "selection": Selection(approved=True)},
            "no reviews: export with --include-reviews",
        ),
        ({"to": "parquet", "selection": Selection(datasets="x")}, "--dataset is for export"),
        ({"to": "parquet", "split_seed": -1}, "split seed must be from 0"),
        ({"to": "parquet", "split_seed": "x"}, "wrong option of convert: .*split_seed"),
        ({"to": "coco", "split": 0.8}, "wrong option of convert: .*split"),
        ({"to": "coco", "classes": 5}, "wrong option of convert: .*classes"),
        ({"to": "coco", "colour": 1}, "wrong option of convert: .*colour"),
        ({"to": "coco", "classes": "nowhere.txt"}, "nowhere.txt cannot be read"),
        ({"to": "coco", "media": "nowhere"}, "nowhere is no directory"),
    ],
)
def test_wrong_options_are_named(export: Path, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    """In one line, before anything is written."""
    with pytest.raises(BadInput, match=said):
        convert(export, tmp_path / "set", **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["a file", "ftp://bucket/prefix", "/", "\0"])
def test_a_place_that_can_be_no_directory_is_refused(export: Path, tmp_path: Path, out: str) -> None:
    """With one line."""
    if out == "a file":
        (tmp_path / out).write_text("mine")
        out = str(tmp_path / out)
    with pytest.raises(BadInput):
        convert(export, out, to="parquet")


def test_what_is_no_finished_export_is_not_converted(tmp_path: Path) -> None:
    """The directory is named."""
    with pytest.raises(BadInput, match="holds no finished export"):
        convert(tmp_path / "nothing", tmp_path / "set", to="parquet")


def test_a_file_is_no_export(tmp_path: Path) -> None:
    """Nor will it be one later."""
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="file is a file: name a directory"):
        convert(tmp_path / "file", tmp_path / "set", to="parquet")


def test_progress_ends_at_all_rows(export: Path, tmp_path: Path) -> None:
    """Rows and records, for the bar."""
    counters = Counters()
    done = convert_export(export, tmp_path / "set", PARQUET, counters=counters)
    assert (counters.listed, counters.harvested) == (done.export.counts["harvested"],) * 2
    assert counters.objects == done.records["objects"].read
