"""`verify` names what is wrong, and the next export mends it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harvester.errors import BadInput
from harvester.output.commit import Commit, KindCounts, parse_commit_record, write_commit
from harvester.output.layout import commit_name
from harvester.output.lines import check_file
from harvester.output.manifest import Manifest, manifest_digest, read_manifest, write_manifest
from harvester.output.ndjson import PartWriter
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from tests.output.small import contents, export
from tests.output.test_output_plan import spoil


@pytest.fixture
def out(tmp_path: Path) -> Path:
    export(LocalTarget(tmp_path / "out"))
    return tmp_path / "out"


def problems(out: Path) -> list[str]:
    return [str(problem) for problem in verify(LocalTarget(out)).problems]


def test_a_whole_export_is_sound(out: Path) -> None:
    """Failed, filtered and unlabelled rows and rows without records are no problems; nothing is written."""
    before = contents(out)
    report = verify(LocalTarget(out))
    assert report.ok
    assert report.problems == []
    assert contents(out) == before


FILES = [
    "manifest.json",
    "objects-00000.ndjson",
    "rows-00001.ndjson",
    "failed-00000.ndjson",
    "listing.ndjson.zst",
    ".harvester/plan.json",
    ".harvester/plan.ndjson.zst",
    "ontology.json",
    ".harvester/commits/00002.json",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped"])
def test_what_is_damaged_is_named_and_the_next_export_mends_it(out: Path, name: str, damage: str) -> None:
    """Whichever file is deleted, cut in half, or has one bit flipped; afterwards the bytes are as before."""
    whole = contents(out)
    spoil(out / name, damage)
    assert any(problem.startswith(f"{name}: ") for problem in problems(out))
    export(LocalTarget(out))
    assert contents(out) == whole
    assert problems(out) == []


def test_the_manifest_lists_the_ontology(out: Path) -> None:
    """Name, size and digest of the file beside it; a manifest that lists another is named."""
    fields = json.loads((out / "manifest.json").read_bytes())
    sent = (out / "ontology.json").read_bytes()
    listed = {"name": "ontology.json", "bytes": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}
    assert fields["ontology"] == listed
    fields["ontology"] = listed | {"bytes": 1}
    fields["digest"] = manifest_digest(fields)
    (out / "manifest.json").write_text(json.dumps(fields))
    assert "manifest.json: its ontology is not the plan's" in problems(out)


def test_every_flipped_bit_of_a_part_is_found(out: Path) -> None:
    """Each byte of a part, a failed list and a commit record, one bit flipped at a time."""
    for name in ("rows-00001.ndjson", "failed-00000.ndjson", ".harvester/commits/00001.json"):
        data = (out / name).read_bytes()
        for i in range(len(data)):
            (out / name).write_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])
            assert problems(out), f"byte {i} of {name}"
        (out / name).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("objects-00001.ndjson", b"{}\n", "no commit record names it"),
        ("objects-00009.ndjson", b"", "no commit record names it"),
        (".harvester/commits/00009.json", b"{}", "damaged"),
        (".objects-00001.ndjson.0123456789abcdef.tmp", b"", "left over from a run that was killed"),
    ],
)
def test_what_does_not_belong_there_is_named_and_the_next_export_deletes_it(
    out: Path, name: str, data: bytes, what: str
) -> None:
    """Parts that no record names, records that the plan has no part for, leftovers."""
    whole = contents(out)
    (out / name).write_bytes(data)
    assert problems(out) == [f"{name}: {what}"]
    export(LocalTarget(out))
    assert contents(out) == whole


def test_an_export_that_has_not_ended_is_not_sound(tmp_path: Path) -> None:
    """Its manifest and its missing parts are named."""
    target = LocalTarget(tmp_path / "out")
    export(target)
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / ".harvester" / "commits" / "00001.json").unlink()
    assert problems(tmp_path / "out") == [
        "manifest.json: missing: the export is not finished",
        ".harvester/commits/00001.json: missing: the part is not harvested",
        "rows-00001.ndjson: no commit record names it",
    ]


def test_a_directory_without_an_export_is_bad_input(tmp_path: Path) -> None:
    """An empty directory, and one that is not there."""
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match="holds no export"):
            verify(LocalTarget(path))


def drop_row(commit: Commit) -> Commit:
    return msgspec.structs.replace(commit, rows=commit.rows | {"harvested": commit.rows["harvested"] - 1})


def other_rows(commit: Commit) -> Commit:
    return msgspec.structs.replace(commit, harvested_ids="0" * 64)


def more_records(commit: Commit) -> Commit:
    first = commit.files[0]
    more = msgspec.structs.replace(first, records=first.records + 1)
    return msgspec.structs.replace(commit, files=[more, *commit.files[1:]])


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (drop_row, "2.json: 0 rows harvested, not 1 as the plan has it"),
        (other_rows, "2.json: the rows harvested are not those of the plan"),
        (more_records, "objects-00002.ndjson: 2 lines, not 3"),
    ],
)
def test_a_record_that_does_not_fit_the_plan_is_named(
    out: Path, wrong: Callable[[Commit], Commit], what: str
) -> None:
    """A commit record, sound in itself, that counts or names other rows or records than there are."""
    target = LocalTarget(out)
    commit = parse_commit_record(target.read(commit_name(2)) or b"")
    assert commit is not None
    write_commit(target, wrong(commit))
    assert any(problem.endswith(what) for problem in problems(out)), problems(out)


MANIFESTS: dict[str, tuple[Callable[[Manifest], dict[str, Any]], list[str]]] = {
    "row counts": (
        lambda manifest: {"counts": manifest.counts | {"harvested": 9}},
        ["manifest.json: its row counts are not the sum of the parts'"],
    ),
    "record counts": (
        lambda manifest: {"records": manifest.records | {"rows": KindCounts(5, 4)}},
        ["manifest.json: its record counts are not the sum of the parts'"],
    ),
    "notes": (
        lambda manifest: {"notes": {"stale": 1}},
        ["manifest.json: its counts of notes are not the sum of the parts'"],
    ),
    "plan": (lambda manifest: {"plan": "0" * 64}, ["manifest.json: it is of another plan"]),
    "a file twice": (
        lambda manifest: {"parts": [*manifest.parts, manifest.parts[0]]},
        ["manifest.json: it lists a file twice"],
    ),
    "a file less": (
        lambda manifest: {"parts": manifest.parts[1:]},
        ["failed-00000.ndjson: the manifest and the commit record differ"],
    ),
    "another file": (
        lambda manifest: {
            "parts": [msgspec.structs.replace(manifest.parts[0], bytes=1), *manifest.parts[1:]]
        },
        ["failed-00000.ndjson: the manifest and the commit record differ"],
    ),
}


@pytest.mark.parametrize(("wrong", "what"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_does_not_fit_the_parts_is_named_and_written_anew(
    out: Path, wrong: Callable[[Manifest], dict[str, Any]], what: list[str]
) -> None:
    """Sound in itself, but with other counts than the parts', or with other files."""
    target = LocalTarget(out)
    whole = contents(out)
    manifest = read_manifest(target)
    assert manifest is not None
    other = msgspec.structs.replace(manifest, **wrong(manifest))
    sealed = msgspec.structs.replace(other, digest=manifest_digest(msgspec.to_builtins(other)))
    write_manifest(target, sealed)
    assert problems(out) == what
    export(target)
    assert contents(out) == whole


def test_a_commit_record_of_another_part_or_plan_is_none(out: Path, tmp_path: Path) -> None:
    """It is named, and its part is harvested again."""
    whole, commits = contents(out), out / ".harvester" / "commits"
    export(LocalTarget(tmp_path / "other"), rows=9)
    of_other_plan = (tmp_path / "other" / ".harvester" / "commits" / "00001.json").read_bytes()
    for data, what in (
        ((commits / "00002.json").read_bytes(), "damaged"),
        (of_other_plan, "it is of another plan"),
    ):
        (commits / "00001.json").write_bytes(data)
        assert problems(out)[0] == f".harvester/commits/00001.json: {what}"
        export(LocalTarget(out))
        assert contents(out) == whole
    (commits / "00003.json").write_bytes((commits / "00002.json").read_bytes())
    assert problems(out)[0] == ".harvester/commits/00003.json: damaged"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"kind":"row","metadata":12345678901234567890123456789,"row":{"label_hash":"label-4"}}\n', None),
        (b'{"kind":"row","metadata":{},"row":{"label_hash":"label-4","s":"\\ud800"}}\n', None),
        (b'{"kind":"row","metadata":{},"row":{"label_hash":"label-4","a":1,"a":2}}\n', None),
        (b'{"kind":"row","metadata":{},"row":{"label_hash":"label-4"}}', "cut off"),
        (b'{"kind":"row","row":{"label_hash":"label-4"},"metadata":{}}\n', "its keys are not"),
        (b'{"kind":"object","metadata":{},"row":{"label_hash":"label-4"}}\n', "a record of another kind"),
        (b'{"kind":"row","metadata":{},"row":{"label_hash":"label-5"}}\n', "of a row that is not"),
        (b'{"kind":"row","metadata":{},"row":{"label_hash":null}}\n', "of a row that is not"),
        (b'{"kind":"row","metadata":NaN,"row":{"label_hash":"label-4"}}\n', "no valid JSON"),
        (b'{"kind":"row","metadata":"\xff","row":{"label_hash":"label-4"}}\n', "no valid JSON"),
        (b'{"kind":"row","metadata":{},"row":{"label_hash":"lab\n', "no valid JSON"),
        (b"[]\n", "no valid JSON"),
        (b"\n", "no valid JSON"),
    ],
)  # fmt: skip
def test_every_line_must_be_a_record_of_its_kind_and_of_a_row_of_its_part(
    tmp_path: Path, line: bytes, what: str | None
) -> None:
    """Valid JSON in the widest sense passes: long integers, lone surrogates, repeated keys; nothing else."""
    found = checked(tmp_path, line)
    if what is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(f"line 1: {what}")


def test_long_lines_are_checked_like_short_ones(tmp_path: Path) -> None:
    """A character across two pieces, a byte that is no UTF-8 far inside, and nesting without end."""
    start, end = b'{"kind":"row","metadata":', b',"row":{"label_hash":"label-4"}}\n'
    piece = 1024**2
    accent = b'"' + b"x" * (piece - len(start) - 2) + "é".encode() + b'"'
    assert (start + accent).index("é".encode()) == piece - 1
    assert checked(tmp_path, start + accent + end) is None
    for metadata in (b'"' + b"x" * 2 * piece + b'\xff"', b"[" * 100_000 + b"]" * 100_000):
        assert (checked(tmp_path, start + metadata + end) or "").startswith("line 1: no valid JSON")


def checked(path: Path, line: bytes) -> str | None:
    """What is wrong with a part that has this one line, of the row label-4."""
    target = LocalTarget(path)
    writer = PartWriter(target, 1)
    writer.write("rows", [line], 1, 1)
    [file] = writer.close()
    return check_file(target, file, lambda label_hash: label_hash == "label-4")
