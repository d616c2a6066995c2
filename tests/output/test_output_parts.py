"""Part files, commit records and the manifest: what they say, and what makes a part exist."""

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import cast

import msgspec
import pytest

from harvester.errors import Unsound
from harvester.fetch.pool import FailedRow
from harvester.labels.notes import Note
from harvester.output import planfile
from harvester.output.commit import KindCounts, PartFile, drop_part, read_commits, write_commit
from harvester.output.layout import is_own, parse_part, possible_names
from harvester.output.manifest import build_manifest, read_manifest
from harvester.output.merging import failed_in, merge_part, part_with_failures
from harvester.output.ndjson import PartWriter
from harvester.output.repair import discard_parts, repair
from harvester.output.scratch_files import ScratchFiles
from harvester.output.target import LocalTarget
from harvester.plan.drift import Drift
from harvester.settings import Compression
from tests.output.faulty import Recording
from tests.output.small import PURPOSE, contents, export, plan, plan_lines, written


@pytest.fixture
def target(tmp_path: Path) -> LocalTarget:
    return LocalTarget(tmp_path / "out")


def test_a_part_is_counted_and_hashed_on_the_way(target: LocalTarget, tmp_path: Path) -> None:
    """`rows` counts the rows with lines, `records` the lines; a kind without lines has no file."""
    writer = PartWriter(target, 7)
    writer.write("objects", [b"1\n2\n"], 2, 1)
    writer.write("objects", [b"3\n"], 1, 1)
    assert writer.close() == [
        PartFile(
            name="objects-00007.ndjson",
            kind="objects",
            rows=2,
            records=3,
            bytes=6,
            sha256=hashlib.sha256(b"1\n2\n3\n").hexdigest(),
        )
    ]
    assert contents(tmp_path / "out") == {"objects-00007.ndjson": b"1\n2\n3\n"}


def test_failed_rows_are_listed_one_a_line(target: LocalTarget, tmp_path: Path) -> None:
    """Label hash, branch, title, why, message, attempts, trace id; titles never become names."""
    writer = PartWriter(target, 0)
    writer.fail(FailedRow("label", "main", "../../etc\n", "gone", "deleted", 3))
    writer.close()
    [line] = (tmp_path / "out" / "failed-00000.ndjson").read_bytes().splitlines()
    assert list(json.loads(line).items()) == [
        ("label_hash", "label"),
        ("branch_name", "main"),
        ("data_title", "../../etc\n"),
        ("error", "gone"),
        ("message", "deleted"),
        ("attempts", 3),
        ("trace_id", None),
    ]


def test_many_small_rows_are_few_writes(tmp_path: Path) -> None:
    """10,000 rows of 300 bytes take a write a megabyte."""
    disk = Recording()
    writer = PartWriter(LocalTarget(tmp_path, files=disk), 0)
    for _ in range(10_000):
        writer.write("objects", [b"x" * 299 + b"\n"], 1, 1)
    [file] = writer.close()
    assert file.bytes == 3_000_000
    assert [operation.name for operation in disk.done].count("write") == 3


def test_a_write_that_fills_the_buffer_is_known_beforehand(target: LocalTarget) -> None:
    """A megabyte of each kind, so that it is done where blocking is expected."""
    writer, whole = PartWriter(target, 0), 1024**2
    assert [writer.would_flush("objects", size) for size in (whole - 1, whole)] == [False, True]
    writer.write("objects", [b"x" * 9, b"\n"], 1, 1)
    assert [writer.would_flush("objects", size) for size in (whole - 11, whole - 10)] == [False, True]
    assert not writer.would_flush("rows", whole - 1)
    writer.write("objects", [b"x" * (whole - 11) + b"\n"], 1, 1)
    assert not writer.would_flush("objects", whole - 1), "it has been emptied"
    writer.discard()


def test_notes_are_counted_by_kind_and_by_row(target: LocalTarget, tmp_path: Path) -> None:
    """Those that turned out to mean nothing are left out, and without any there is no file."""
    writer = PartWriter(target, 0)
    writer.note([Note("b", "B", "stale", "1"), Note("a", "A", "stale", "2")])
    writer.note([Note("a", "A", "surrogates_replaced", "3")])
    assert writer.notes() == {"stale": 2, "surrogates_replaced": 1}
    [file] = writer.close()
    assert (file.name, file.rows, file.records) == ("notes-00000.ndjson", 2, 3)
    lines = list(map(json.loads, (tmp_path / "out" / file.name).read_bytes().splitlines()))
    assert [(line["label_hash"], line["note"]) for line in lines] == [
        ("b", "stale"), ("a", "stale"), ("a", "surrogates_replaced")
    ]  # fmt: skip
    without = PartWriter(target, 1)
    without.note([Note("a", "A", "stale", "2")])
    assert without.notes(without=("stale",)) == {}
    assert without.close() == []


OWN = (
    "manifest.json", "ontology.json", "listing.ndjson.zst", ".harvester/plan.json",
    ".harvester/plan-settled.ndjson.zst", ".harvester/listed.json", ".harvester/changed.json",
    "objects-00000.ndjson", "failed-123456789.ndjson.gz", "changes-00000.ndjson", "notes-00001.ndjson.zst",
    ".harvester/commits/00000.json", ".harvester/commits/123456789.json",
)  # fmt: skip
NOT_OWN = (
    "changes-00001.ndjson", "objects-0000.ndjson", "objects-1234567890.ndjson", "objects-00000.ndjson.bz2",
    "things-00000.ndjson", "commits/00000.json", ".harvester/commits/0000.json", "plan.json",
    ".harvester/commits/1234567890.json", ".harvester/commits/00000.json.tmp", "../objects-00000.ndjson",
)  # fmt: skip


def test_only_names_of_the_layout_are_ours() -> None:
    """Numbers have five to nine digits; a change feed has but one file."""
    assert [name for name in OWN if not is_own(name)] == []
    assert [name for name in NOT_OWN if is_own(name)] == []
    assert parse_part("objects-00012.ndjson.gz") == ("objects", 12)
    assert set(map(parse_part, possible_names(7))) == {
        (kind, 7) for kind in ("objects", "classifications", "units", "rows", "failed", "notes")
    }
    assert len(possible_names(7)) == 18


@pytest.mark.parametrize("compress", [None, "zstd"])
@pytest.mark.parametrize("still", [(), ("label-2",), ("label-0", "label-2", "label-6")])
def test_rows_that_are_fetched_again_are_merged_into_their_part(
    tmp_path: Path, still: tuple[str, ...], compress: Compression | None
) -> None:
    """The part is then, byte for byte, the one in which only those failed that fail still."""
    format_ = msgspec.structs.replace(PURPOSE.format, rows_per_part=8, compress=compress)
    spec = msgspec.structs.replace(PURPOSE, format=format_)
    target, other, beside = LocalTarget(tmp_path / "out"), LocalTarget(tmp_path / "other"), ScratchFiles()
    header, rows, counted = planfile.freeze(target, plan_lines(), spec), list(plan()), {"shapes": 2}
    planfile.freeze(other, plan_lines(), spec)
    failed = ("label-0", "label-2", "label-6")
    write_commit(target, written(PartWriter(target, 0, compress), header, 0, rows, failed))
    former = part_with_failures(target, header.digest, 0)
    assert former is not None
    assert failed_in(target, former) == set(failed)
    again = [row for row in rows if row.label_hash in failed]
    fresh = written(PartWriter(cast(LocalTarget, beside), 0), header, 0, again, still)
    with closing(beside):
        merged = merge_part(target, former, rows, beside=beside, fresh=fresh, compression=compress)
    straight = written(PartWriter(other, 0, compress), header, 0, rows, still)
    records = straight.records["objects"]
    straight.records["objects"] = KindCounts(records.seen + 1, records.written, counted)
    write_commit(other, straight)
    assert merged == straight
    assert contents(tmp_path / "out") == contents(tmp_path / "other")
    assert (part_with_failures(target, header.digest, 0) is None) == (not still)


def test_what_is_discarded_leaves_nothing(target: LocalTarget, tmp_path: Path) -> None:
    """Not even a temporary file."""
    writer = PartWriter(target, 0)
    writer.write("objects", [b"x\n" * 1_000_000], 1_000_000, 1)
    writer.discard()
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("name", ["objects-00002.ndjson", ".harvester/commits/00002.json"])
def test_a_part_with_a_file_missing_or_of_another_size_does_not_exist(
    target: LocalTarget, tmp_path: Path, name: str
) -> None:
    """Neither does one whose record is damaged, or of another plan."""
    digest = export(target).plan
    assert list(read_commits(target, digest)) == [0, 1, 2]
    assert read_commits(target, "another plan") == {}
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:-1] + b"xx")
    assert list(read_commits(target, digest)) == [0, 1]
    path.unlink()
    assert list(read_commits(target, digest)) == [0, 1]


def test_a_dropped_part_loses_its_record_first(target: LocalTarget, tmp_path: Path) -> None:
    """So that there is no moment at which a record names files that are gone."""
    export(target)
    disk = Recording()
    drop_part(LocalTarget(tmp_path / "out", files=disk), 0)
    deleted = [operation.path.name for operation in disk.done if operation.name == "delete"]
    assert deleted[0] == "00000.json"
    assert not [name for name in contents(tmp_path / "out") if "00000" in name]


def test_reopened_parts_are_harvested_again(target: LocalTarget, tmp_path: Path) -> None:
    """The manifest goes first, the other parts stay, and the export ends as before."""
    export(target)
    whole = contents(tmp_path)
    discard_parts(target, [0])
    assert read_manifest(target) is None
    header = planfile.read_header(target)
    assert header is not None
    assert list(repair(target, header).commits) == [1, 2]
    export(target)
    assert contents(tmp_path) == whole


def test_a_finished_export_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written, renamed or deleted but the lock and what is looked for and not there."""
    first = export(LocalTarget(tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*json*")}
    assert export(LocalTarget(tmp_path / "out")) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*json*")} == before


def test_the_manifest_says_what_there_is(target: LocalTarget, tmp_path: Path) -> None:
    """Counts that add up, every file in the order of the plan, in the order of the design's keys."""
    export(target)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert list(manifest) == [
        "format", "harvester", "sdk", "project", "selection", "options", "plan", "ontology",
        "counts", "records", "notes", "drift", "parts", "listing", "run", "base", "generations",
        "digest",
    ]  # fmt: skip
    assert manifest["counts"] == {"listed": 8, "harvested": 4, "unlabelled": 2, "filtered": 1, "failed": 1}
    assert manifest["records"] == {
        "objects": {"seen": 9, "written": 6, "dropped": {"shapes": 3}},
        "rows": {"seen": 4, "written": 4, "dropped": {}},
    }
    assert [file["name"] for file in manifest["parts"]] == [
        "failed-00000.ndjson",
        "objects-00000.ndjson",
        "rows-00000.ndjson",
        "rows-00001.ndjson",
        "objects-00002.ndjson",
        "rows-00002.ndjson",
    ]
    for file in manifest["parts"]:
        data = (tmp_path / "out" / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_digest_leaves_out_what_varies_from_run_to_run(target: LocalTarget) -> None:
    """Times, and the attempts and trace ids in the lists of failed rows; a change of records shows."""
    first = export(target)
    header = planfile.read_header(target)
    assert header is not None
    commits = repair(target, header).commits

    def digest(part: int, kind: str, run: dict[str, int], **change: int) -> str:
        files = [
            msgspec.structs.replace(file, **change) if file.kind == kind else file
            for file in commits[part].files
        ]
        changed = commits | {part: msgspec.structs.replace(commits[part], files=files)}
        return build_manifest(header, changed, harvester="0", sdk="0", drift=None, run=run).digest

    assert digest(0, "failed", {"seconds": 5}, bytes=1) == first.digest
    assert digest(0, "objects", {}, bytes=1) != first.digest


def test_a_manifest_that_was_changed_is_not_trusted(target: LocalTarget, tmp_path: Path) -> None:
    """Neither a changed number nor a changed key passes."""
    export(target)
    path = tmp_path / "out" / "manifest.json"
    text = path.read_text()
    for old, new in (('"listed": 8', '"listed": 9'), ('"approved"', '"apprwved"'), ('"parts"', '"parus"')):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(Unsound):
            read_manifest(target)


def test_an_empty_project_has_an_export_too(target: LocalTarget) -> None:
    """No parts, all counts zero, every kind of record named."""
    header = planfile.freeze(target, plan_lines(0), PURPOSE)
    manifest = build_manifest(header, {}, harvester="0", sdk="0", drift=Drift(added=1), run={})
    assert manifest.parts == []
    assert set(manifest.counts.values()) == {0}
    assert manifest.records == {"objects": KindCounts(), "rows": KindCounts()}
